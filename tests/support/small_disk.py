"""A real file system that is small, and can be filled up and have room again. Takes root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS = 20
_ALL = "filler"


class SmallDisk:
    """A mounted file system at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def left(self) -> int:
        """Bytes that can still be written."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, *, leave: int = 0) -> None:
        """Take all but so many bytes."""
        filler = self.path / _ALL
        size = filler.stat().st_size if filler.exists() else 0
        with filler.open("ab") as file:
            os.posix_fallocate(file.fileno(), size, max(1, self.left() - leave))

    def make_room(self) -> None:
        """Give back what `fill` took."""
        (self.path / _ALL).unlink()


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[SmallDisk]:
    """A file system of `size` bytes, in memory, where any write beyond it is refused by the kernel (ENOSPC)."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", path], check=True, timeout=_SECONDS)
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", path], check=True, timeout=_SECONDS)
