"""Mounts that are only noted, so that volumes can be tried by anybody in a temporary folder."""

from __future__ import annotations

import os
from pathlib import Path


class PlainMounts:
    """Implements `nodelet.volumes.mounts.Mounter`. With `stuck`, nothing can be unmounted."""

    def __init__(self) -> None:
        self.mounted: list[Path] = []
        self.sizes: dict[Path, int] = {}
        self.bound: dict[Path, Path] = {}
        self.stuck = False

    def mounted_below(self, path: Path) -> list[Path]:
        return sorted((p for p in self.mounted if p.is_relative_to(path)), key=lambda p: -len(p.parts))

    def is_mounted(self, path: Path) -> bool:
        return path in self.mounted

    def is_memory(self, path: Path) -> bool:
        return path in self.sizes and path in self.mounted

    def mount_memory(self, path: Path, *, mode: int, size: int = 0) -> None:
        self.mounted.append(path)
        self.sizes[path] = size

    def bind(self, handle: int, path: Path) -> None:
        """A link to what the handle stands for is the nearest thing that anybody may make."""
        self.bound[path] = Path(os.readlink(f"/proc/self/fd/{handle}"))

    def unmount(self, path: Path) -> None:
        if not self.stuck:
            self.mounted.remove(path)
