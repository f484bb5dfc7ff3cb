"""The kernel's mounts, as far as volumes need them.

A volume's place may have something mounted on it. Nothing below is ever deleted through a mount: what is mounted is
unmounted first, and removal stops at the border of a file system.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

_MOUNTINFO = Path("/proc/self/mountinfo")
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8


class Mounter(Protocol):
    """Mounts on this host."""

    def mounted_below(self, path: Path) -> list[Path]:
        """Everything mounted at or below a path, the deepest first."""
        ...

    def unmount(self, path: Path) -> None:
        """Unmount; one in use goes away for everybody else at once, and altogether when it is let go."""
        ...


class LinuxMounter:
    """Implements `Mounter` by system calls; needs CAP_SYS_ADMIN."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def mounted_below(self, path: Path) -> list[Path]:
        """See `Mounter`."""
        return below(_MOUNTINFO.read_bytes().splitlines(), path)

    def unmount(self, path: Path) -> None:
        """See `Mounter`. Raises: OSError."""
        if self._libc.umount2(os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))


def below(mountinfo: Iterable[bytes], path: Path) -> list[Path]:
    """The mount points at or below a path, the deepest first. Pure."""
    points = (Path(os.fsdecode(_unescaped(line.split()[4]))) for line in mountinfo)
    return sorted((point for point in points if point.is_relative_to(path)), key=lambda p: len(p.parts), reverse=True)


def _unescaped(text: bytes) -> bytes:
    """Blanks and the like are written in octal (proc(5))."""
    first, *others = text.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in others)
