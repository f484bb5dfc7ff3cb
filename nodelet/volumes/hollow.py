"""Volumes of pods that do not run: nothing is made, but what is missing is missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable

from nodelet.runtime.protocol import Mount, PodIdentity
from nodelet.volumes.keeper import VolumeReports
from nodelet.volumes.payload import is_payload, payload
from nodelet.volumes.protocol import VolumeFault, failure
from podium.objects.references import Objects, claim_key
from podium.objects.storage import ClaimKey
from podium.v1.core_pb2 import Container, Pod
from podium.v1.node_session_pb2 import VolumeState
from podium.v1.storage_pb2 import PersistentVolume


class HollowLocalVolumes:
    """Implements `LocalVolumes`: what is condemned is gone at once; what was is in `removed`."""

    folder = "/hollow/local-volumes"

    def __init__(self) -> None:
        self.reports = VolumeReports()
        self.removed: list[str] = []

    def condemn(self, volumes: Iterable[PersistentVolume]) -> None:
        """Gone."""
        for volume in volumes:
            self.removed.append(volume.metadata.name)
            self.reports.put(VolumeState(name=volume.metadata.name, uid=volume.metadata.uid, gone=True))

    async def run(self, in_use: Callable[[ClaimKey], bool]) -> None:
        """Nothing is left to do."""
        await asyncio.get_running_loop().create_future()


class HollowVolumes:
    """Implements `PodVolumes` in memory."""

    def __init__(self) -> None:
        self._held: set[str] = set()

    def holds(self, uid: str) -> bool:
        """Whether the pod's volumes were set up and not torn down."""
        return uid in self._held

    async def set_up(self, pod: Pod, objects: Objects) -> None:
        """Work out what would be there. Raises: VolumeFault."""
        self._held.add(pod.metadata.uid)
        for volume in pod.spec.volumes:
            if is_payload(volume):
                try:
                    _ = payload(pod, volume, objects, {})
                except VolumeFault as fault:
                    raise VolumeFault(failure(volume, str(fault))) from fault
            elif volume.HasField("persistent_volume_claim"):
                name = volume.persistent_volume_claim.claim_name
                if claim_key(ClaimKey(pod.metadata.namespace, name)) not in objects:
                    raise VolumeFault(failure(volume, f'persistentvolumeclaim "{name}" is not bound yet'))

    async def mounts(self, pod: Pod, container: Container) -> tuple[Mount, ...]:
        """Where they would be."""
        written = {volume.name for volume in pod.spec.volumes if is_payload(volume)}
        return tuple(
            Mount(
                source=f"/hollow/{pod.metadata.uid}/{m.name}",
                target=m.mount_path,
                read_only=m.read_only or m.name in written,
            )
            for m in container.volume_mounts
        )

    async def tear_down(self, pod: PodIdentity) -> None:
        """Forget it."""
        self._held.discard(pod.uid)

    async def retain(self, pods: Collection[str]) -> None:
        """Forget all others."""
        self._held &= set(pods)
