"""The last assignments, from which a nodelet starts without a master.

    assignments.pb       podium.v1.Assignments: the pods
    objects.pb           the ConfigMaps and so on that they use, and the names of their Secrets; written when they
                         change, not with every status
    secrets/secrets.pb   these Secrets, in memory (nodelet.state.secrets); written when they change

No byte of a Secret goes to the disk. A Secret that has a name in objects.pb and is not in memory, as after a boot, is
withheld: what uses it waits for a master (podium.objects.references.Withheld).

All methods block for file I/O: call them at start, or in a thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from google.protobuf.message import DecodeError

from nodelet.state.secrets import SecretFile
from podium.files import write_atomic
from podium.objects.references import put_secrets, take_objects, take_secrets
from podium.telemetry.log import get_logger
from podium.v1.node_session_pb2 import Assignments

log = get_logger(__name__)

PODS, OBJECTS = "assignments.pb", "objects.pb"


class AssignmentFiles:
    """See the module."""

    def __init__(self, directory: Path, secrets: SecretFile) -> None:
        """`directory` is the nodelet's data directory, held by this process alone."""
        self.path, self._secrets = directory, secrets
        self._written: dict[str, bytes] = {}

    def load(self) -> Assignments | None:
        """The last assignments, or None when there are none that can be read. Secrets that an older nodelet left on the
        disk are moved off it."""
        self._drop_halves()
        try:
            found = self._from_disk()
        except DecodeError:
            log.error("the saved assignments can't be read; waiting for the master's", directory=str(self.path))
            return None
        if found is None:
            return None
        if found.secrets:
            self._move_secrets(found)
        else:
            put_secrets(found, self._from_memory().secrets)
        if found.withheld_secrets:
            log.warning(
                "Secrets were in memory only; pods that use them wait for a master",
                secrets=" ".join(found.withheld_secrets),
            )
        return found

    def save(self, assignments: Assignments) -> None:
        """Keep assignments, whose objects are taken out of the message. What a pod needs is there before the pod is.

        Raises:
            OSError: Not all was kept. All else is, where only Secrets could not be.
        """
        objects = take_objects(assignments)
        secrets = take_secrets(objects)
        failure = None
        try:
            self._write_changed("secrets", secrets, self._secrets.write)
        except OSError as error:
            failure = error
        self._write_changed(OBJECTS, objects, lambda data: write_atomic(self.path / OBJECTS, data))
        write_atomic(self.path / PODS, assignments.SerializeToString())
        if failure is not None:
            raise failure

    def _write_changed(self, name: str, message: Assignments, write: Callable[[bytes], None]) -> None:
        data = message.SerializeToString(deterministic=True)
        digest = hashlib.blake2b(data).digest()
        if self._written.get(name) != digest:
            write(data)
            self._written[name] = digest

    # ------------------------------------------------------------ reading

    def _from_disk(self) -> Assignments | None:
        """Raises: DecodeError."""
        pods, objects = self.path / PODS, self.path / OBJECTS
        if not pods.exists():
            return None
        found = Assignments.FromString(pods.read_bytes())
        if objects.exists():
            _ = found.MergeFromString(objects.read_bytes())
        return found

    def _from_memory(self) -> Assignments:
        try:
            return Assignments.FromString(self._secrets.read())
        except (OSError, DecodeError) as error:
            log.error("the Secrets of the saved assignments can't be read", why=str(error))
            return Assignments()

    def _move_secrets(self, found: Assignments) -> None:
        """Where memory can't hold them they are off the disk all the same, and known to this process."""
        rest = Assignments()
        rest.CopyFrom(found)
        try:
            self.save(rest)
        except OSError as error:
            log.error("could not move all Secrets from the disk into memory", why=str(error), directory=str(self.path))
        else:
            log.info("moved Secrets from the disk into memory", secrets=len(found.secrets))

    def _drop_halves(self) -> None:
        """What a nodelet that died while it wrote left aside; an older one may have had Secrets in it."""
        for name in (PODS, OBJECTS):
            for file in self.path.glob(f".{name}.*"):
                try:
                    file.unlink()
                except OSError as error:
                    log.error("could not remove a file that may have Secrets in it", file=str(file), why=str(error))
