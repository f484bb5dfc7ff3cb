"""emptyDir: a folder of the pod's own, which begins empty, outlives its containers and ends with it.

In memory it is a file system of the size limit (or of what the pod may use of memory at all, if that is less). On disk
the limit is watched from outside, by `nodelet.pods.size_limits`.
"""

from __future__ import annotations

import os

from nodelet.volumes.mounts import Mounter
from nodelet.volumes.protocol import Prepared, Request
from podium.objects import quantity
from podium.objects.pod import MEMORY, all_containers
from podium.v1.core_pb2 import EmptyDirVolumeSource, Pod

_OPEN_TO_ALL, _SET_GROUP = 0o777, 0o2000


class EmptyDir:
    """Implements `Source`."""

    def __init__(self, mounter: Mounter) -> None:
        self._mounter = mounter

    def set_up(self, request: Request) -> Prepared:
        """A folder at the volume's place; whoever runs in the pod may write there."""
        place, source = request.place, request.volume.empty_dir
        in_memory = source.medium == "Memory"
        if place.exists() and (not in_memory or self._mounter.is_mounted(place)):
            return Prepared(path=place)
        place.mkdir(exist_ok=True)
        mode = _OPEN_TO_ALL | (_SET_GROUP if request.fs_group is not None else 0)
        if in_memory:
            self._mounter.mount_memory(place, mode=mode, size=memory_size(request.pod, source))
        if request.fs_group is not None:
            os.chown(place, -1, request.fs_group)
        place.chmod(mode)
        return Prepared(path=place)


def memory_size(pod: Pod, source: EmptyDirVolumeSource) -> int:
    """The size in bytes of a volume in memory; 0 for the kernel's own bound. Pure."""
    limits = [container.resources.limits.get(MEMORY, "") for container in all_containers(pod.spec)]
    bounds = [sum(map(quantity.value, limits))] if all(limits) else []
    if source.size_limit:
        bounds.append(quantity.value(source.size_limit))
    return min((bound for bound in bounds if bound > 0), default=0)
