"""configMap, secret, downwardAPI and projected volumes: files that follow the objects that they come from.

What holds a secret lies on a memory file system of its own, mounted on the volume's place, so that it never reaches a
disk (nor, where the kernel can promise that, swap).
"""

from __future__ import annotations

from collections.abc import Mapping

from nodelet.volumes import atomic
from nodelet.volumes.mounts import Mounter
from nodelet.volumes.payload import holds_secrets, payload
from nodelet.volumes.protocol import Prepared, Request


class Files:
    """Implements `Source`."""

    def __init__(self, mounter: Mounter, allocatable: Mapping[str, str]) -> None:
        """`allocatable`: what pods of this node may have in all, for files that show limits."""
        self._mounter, self._allocatable = mounter, allocatable

    def set_up(self, request: Request) -> Prepared:
        """Write the files as they should be now, all at once."""
        files = payload(request.pod, request.volume, request.objects, self._allocatable)
        place = request.place
        place.mkdir(exist_ok=True)
        if holds_secrets(request.volume) and not self._mounter.is_mounted(place):
            self._mounter.mount_memory(place, mode=atomic.FOLDER_MODE)
        place.chmod(atomic.FOLDER_MODE)
        atomic.write(place, files, group=request.fs_group)
        return Prepared(path=place, read_only=True)
