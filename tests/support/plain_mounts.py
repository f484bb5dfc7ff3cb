"""Mounts that are only noted, so that volumes can be tried by anybody in a temporary folder."""

from __future__ import annotations

from pathlib import Path


class PlainMounts:
    """Implements `nodelet.volumes.mounts.Mounter`. With `stuck`, nothing can be unmounted."""

    def __init__(self) -> None:
        self.mounted: list[Path] = []
        self.stuck = False

    def mounted_below(self, path: Path) -> list[Path]:
        return sorted((p for p in self.mounted if p.is_relative_to(path)), key=lambda p: -len(p.parts))

    def unmount(self, path: Path) -> None:
        if not self.stuck:
            self.mounted.remove(path)
