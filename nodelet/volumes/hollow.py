"""Volumes of pods that do not run: nothing is made, but what is missing is missed, and files are what they would be."""

from __future__ import annotations

from collections.abc import Collection

from nodelet.runtime.protocol import Mount, PodIdentity
from nodelet.volumes.payload import Payload, is_payload, payload
from nodelet.volumes.protocol import VolumeFault, failure
from podium.objects.references import Objects
from podium.v1.core_pb2 import Container, Pod


class HollowVolumes:
    """Implements `PodVolumes` in memory."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self.files: dict[tuple[str, str], Payload] = {}
        """What volumes of configuration hold, by the pod's uid and the volume's name."""

    def holds(self, uid: str) -> bool:
        """Whether the pod's volumes were set up and not torn down."""
        return uid in self._held

    async def set_up(self, pod: Pod, objects: Objects) -> None:
        """Work out what would be there. Raises: VolumeFault."""
        uid = pod.metadata.uid
        self._held.add(uid)
        for volume in pod.spec.volumes:
            if is_payload(volume):
                try:
                    self.files[uid, volume.name] = payload(pod, volume, objects, {})
                except VolumeFault as fault:
                    raise VolumeFault(failure(volume, str(fault))) from fault

    async def mounts(self, pod: Pod, container: Container) -> tuple[Mount, ...]:
        """Where they would be."""
        return tuple(
            Mount(source=f"/hollow/{pod.metadata.uid}/{m.name}", target=m.mount_path, read_only=m.read_only)
            for m in container.volume_mounts
        )

    async def tear_down(self, pod: PodIdentity) -> None:
        """Forget it."""
        await self.retain(self._held - {pod.uid})

    async def retain(self, pods: Collection[str]) -> None:
        """Forget all others."""
        self._held &= set(pods)
        self.files = {key: files for key, files in self.files.items() if key[0] in self._held}
