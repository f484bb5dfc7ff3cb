"""What survives a nodelet's restart, in its data directory. Everything is written atomically, readable by root only.

    machine-id           the host's lasting identity, made once
    identity/key.pem     private key        identity/node.pem   certificate chain
    identity/ca.pem      trusted CAs        identity/endpoints  API addresses, one a line
    identity/name        the node's name
    assignments.pb       the last assignments: podium.v1.Assignments
    objects.pb           the Secrets, ConfigMaps and so on of the same; written when they change, not with every status
    volumes/UID/NAME     volumes of pods (nodelet.volumes)
    termination/NAME     what a container leaves when it ends (nodelet.runtime.docker.last_words)

All methods block for file I/O: call them at start, or in a thread.
"""

from __future__ import annotations

import datetime
import hashlib
import uuid
from pathlib import Path

from google.protobuf.message import DecodeError

from nodelet.state.identity import Identity
from podium.files import make_private_directory, write_atomic
from podium.objects.references import take_objects
from podium.telemetry.log import get_logger
from podium.v1.node_session_pb2 import Assignments

log = get_logger(__name__)


class StateDirectory:
    """See the module."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written_objects = b""
        make_private_directory(path)

    def machine_id(self) -> str:
        """The host's identity; made at the first call."""
        file = self.path / "machine-id"
        if not file.exists():
            write_atomic(file, uuid.uuid4().hex.encode())
        return file.read_text().strip()

    def load_identity(self) -> Identity | None:
        """The identity of the last join, or None."""
        directory = self.path / "identity"
        if not (directory / "node.pem").exists():
            return None
        return Identity(
            node_name=(directory / "name").read_text().strip(),
            key=(directory / "key.pem").read_bytes(),
            certificate=(directory / "node.pem").read_bytes(),
            ca=(directory / "ca.pem").read_bytes(),
            endpoints=tuple((directory / "endpoints").read_text().split()),
            validity=_read_validity(directory / "validity"),
        )

    def save_identity(self, identity: Identity) -> None:
        """Keep an identity. The old one stays whole until the new one is: a directory is swapped, not its files."""
        generation = self.path / f"identity-{uuid.uuid4().hex}"
        make_private_directory(generation)
        write_atomic(generation / "key.pem", identity.key)
        write_atomic(generation / "ca.pem", identity.ca)
        write_atomic(generation / "name", identity.node_name.encode())
        write_atomic(generation / "endpoints", "\n".join(identity.endpoints).encode())
        write_atomic(generation / "validity", _validity_text(identity).encode())
        write_atomic(generation / "node.pem", identity.certificate)
        link = self.path / "identity"
        aside = self.path / ".identity.new"
        aside.unlink(missing_ok=True)
        aside.symlink_to(generation.name)
        aside.replace(link)
        self._drop_old_identities(generation)

    def _drop_old_identities(self, current: Path) -> None:
        for directory in self.path.glob("identity-*"):
            if directory != current:
                for file in directory.iterdir():
                    file.unlink()
                directory.rmdir()

    def load_assignments(self) -> Assignments | None:
        """The last assignments, or None when there are none that can be read."""
        file = self.path / "assignments.pb"
        if not file.exists():
            return None
        objects = self.path / "objects.pb"
        try:
            found = Assignments.FromString(file.read_bytes())
            if objects.exists():
                _ = found.MergeFromString(objects.read_bytes())
            return found
        except DecodeError:
            log.error("the saved assignments can't be read; waiting for the master's", file=str(file))
            return None

    def save_assignments(self, assignments: Assignments) -> None:
        """Keep assignments, whose objects are taken out of the message. What a pod needs is there before the pod is."""
        objects = take_objects(assignments).SerializeToString(deterministic=True)
        digest = hashlib.blake2b(objects).digest()
        if digest != self._written_objects:
            write_atomic(self.path / "objects.pb", objects)
            self._written_objects = digest
        write_atomic(self.path / "assignments.pb", assignments.SerializeToString())


def _validity_text(identity: Identity) -> str:
    """Begin and end of the certificate, kept beside it so that reading it needs no cryptography library."""
    try:
        begin, end = identity.life()
    except ValueError:
        return ""
    return f"{begin.isoformat()} {end.isoformat()}"


def _read_validity(file: Path) -> tuple[datetime.datetime, datetime.datetime] | None:
    try:
        begin, end = (datetime.datetime.fromisoformat(word) for word in file.read_text().split())
    except (FileNotFoundError, ValueError):
        return None
    return begin, end
