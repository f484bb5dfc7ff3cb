"""What survives a nodelet's restart, in its data directory. Everything is written atomically, readable by root only.

    machine-id           the host's lasting identity, made once
    identity/key.pem     private key        identity/node.pem   certificate chain
    identity/ca.pem      trusted CAs        identity/endpoints  API addresses, one a line
    identity/name        the node's name
    assignments.pb, objects.pb, secrets/   the last assignments (nodelet.state.assignments)
    volumes/UID/NAME     volumes of pods (nodelet.volumes)
    termination/NAME     what a container leaves when it ends (nodelet.runtime.docker.last_words)

All methods block for file I/O: call them at start, or in a thread.
"""

from __future__ import annotations

import datetime
import uuid
from pathlib import Path

from nodelet.state.identity import Identity
from podium.files import make_private_directory, write_atomic


class StateDirectory:
    """See the module."""

    def __init__(self, path: Path) -> None:
        self.path = path
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
