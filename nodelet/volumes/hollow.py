"""Volumes of pods that do not run: nothing is made, but what is asked for twice or forgotten shows."""

from __future__ import annotations

from collections.abc import Collection

from nodelet.runtime.protocol import Mount, PodIdentity
from podium.objects.references import Objects
from podium.v1.core_pb2 import Container, Pod


class HollowVolumes:
    """Implements `PodVolumes` in memory."""

    def __init__(self) -> None:
        self._held: set[str] = set()

    def holds(self, uid: str) -> bool:
        """Whether the pod's volumes were set up and not torn down."""
        return uid in self._held

    async def set_up(self, pod: Pod, objects: Objects) -> None:
        """Note it."""
        self._held.add(pod.metadata.uid)

    async def mounts(self, pod: Pod, container: Container) -> tuple[Mount, ...]:
        """Where they would be."""
        return tuple(
            Mount(source=f"/hollow/{pod.metadata.uid}/{m.name}", target=m.mount_path, read_only=m.read_only)
            for m in container.volume_mounts
        )

    async def tear_down(self, pod: PodIdentity) -> None:
        """Forget it."""
        self._held.discard(pod.uid)

    async def retain(self, pods: Collection[str]) -> None:
        """Forget all others."""
        self._held &= set(pods)
