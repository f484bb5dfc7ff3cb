"""The kernel's mounts, as far as volumes need them.

A volume's place may have something mounted on it. Nothing below is ever deleted through a mount: what is mounted is
unmounted first. The engine must see what is mounted here, so the nodelet has to live in the host's mount namespace.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

_MOUNTINFO = Path("/proc/self/mountinfo")
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_NOSUID, _NODEV, _BIND, _PRIVATE, _RECURSIVE = 2, 4, 1 << 12, 1 << 18, 1 << 14


class Mounter(Protocol):
    """Mounts on this host. All methods block, and raise OSError."""

    def mounted_below(self, path: Path) -> list[Path]:
        """Everything mounted at or below a path, the deepest first."""
        ...

    def is_mounted(self, path: Path) -> bool:
        """Whether something is mounted at a path."""
        ...

    def is_memory(self, path: Path) -> bool:
        """Whether what is mounted at a path, and seen there, is a file system in memory."""
        ...

    def mount_memory(self, path: Path, *, mode: int, size: int = 0) -> None:
        """Mount an empty file system in memory, of `size` bytes (0: the kernel's own bound)."""
        ...

    def bind(self, handle: int, path: Path) -> None:
        """Mount what an open handle stands for at a path."""
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

    def is_mounted(self, path: Path) -> bool:
        """See `Mounter`."""
        return path in self.mounted_below(path)

    def is_memory(self, path: Path) -> bool:
        """See `Mounter`."""
        return kind_at(_MOUNTINFO.read_bytes().splitlines(), path) == "tmpfs"

    def mount_memory(self, path: Path, *, mode: int, size: int = 0) -> None:
        """See `Mounter`. Never swapped out where the kernel can promise that (6.4 and newer)."""
        options = f"mode={mode:o}" + (f",size={size}" if size else "")
        try:
            self._mount("tmpfs", path, "tmpfs", _NOSUID | _NODEV, f"{options},noswap")
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._mount("tmpfs", path, "tmpfs", _NOSUID | _NODEV, options)

    def bind(self, handle: int, path: Path) -> None:
        """See `Mounter`."""
        self._mount(f"/proc/self/fd/{handle}", path, "", _BIND, "")
        self._mount("", path, "", _PRIVATE | _RECURSIVE, "")

    def unmount(self, path: Path) -> None:
        """See `Mounter`."""
        self._check(self._libc.umount2(os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW), path)

    def _mount(self, source: str, path: Path, kind: str, flags: int, options: str) -> None:
        arguments = source.encode() or None, os.fsencode(path), kind.encode() or None
        result = self._libc.mount(*arguments, ctypes.c_ulong(flags), options.encode() or None)
        self._check(result, path)

    @staticmethod
    def _check(result: int, path: Path) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))


def below(mountinfo: Iterable[bytes], path: Path) -> list[Path]:
    """The mount points at or below a path, the deepest first; one mounted over is named as often. Pure."""
    points = (Path(os.fsdecode(_unescaped(line.split()[4]))) for line in mountinfo)
    return sorted((point for point in points if point.is_relative_to(path)), key=lambda p: len(p.parts), reverse=True)


def kind_at(mountinfo: Iterable[bytes], path: Path) -> str:
    """The type of the file system that was mounted at a path last; empty when none is. Pure."""
    wanted, kind = os.fsencode(path), ""
    for line in mountinfo:
        mount, _, system = line.partition(b" - ")
        if _unescaped(mount.split()[4]) == wanted:
            kind = system.split()[0].decode()
    return kind


def _unescaped(text: bytes) -> bytes:
    """Blanks and the like are written in octal (proc(5))."""
    first, *others = text.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in others)
