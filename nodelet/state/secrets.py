"""A file that is never on a disk: it lies in a folder of its own on which a file system in memory is mounted.

That mount is the kernel's, not the process's: it outlives a nodelet that is killed, and is gone when the host boots.
Nothing is ever written, or read, where it is not mounted. All methods block for I/O.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from podium.files import make_private_directory, write_atomic

FOLDER = "secrets"
NAME = "secrets.pb"


class Memory(Protocol):
    """File systems in memory (nodelet.volumes.mounts). All methods block, and raise OSError."""

    def is_memory(self, path: Path) -> bool:
        """Whether what is mounted at a path, and seen there, is a file system in memory."""
        ...

    def mount_memory(self, path: Path, *, mode: int) -> None:
        """Mount an empty one."""
        ...


class SecretFile:
    """See the module."""

    def __init__(self, directory: Path, memory: Memory) -> None:
        """`directory` is the nodelet's data directory; nothing is mounted before something is to be kept."""
        # Links resolved, as the kernel names mount points.
        self._folder, self._memory = directory.resolve() / FOLDER, memory

    @property
    def held(self) -> bool:
        """Whether there is memory to read from."""
        return self._memory.is_memory(self._folder)

    def read(self) -> bytes:
        """What was written last since the host booted; nothing when that is gone.

        Raises:
            OSError: It can't be read.
        """
        file = self._folder / NAME
        return file.read_bytes() if self.held and file.exists() else b""

    def write(self, data: bytes) -> None:
        """Replace the content.

        Raises:
            OSError: It is not kept: there is no memory, or nothing can be mounted here.
        """
        if not self.held:
            if not data:
                return
            make_private_directory(self._folder)
            self._memory.mount_memory(self._folder, mode=0o700)
        write_atomic(self._folder / NAME, data)
