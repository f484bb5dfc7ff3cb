"""PodVolumes that do what a test says, and keep what they were asked for."""

from __future__ import annotations

from collections.abc import Collection

from nodelet.runtime.protocol import Mount, PodIdentity
from nodelet.volumes.protocol import VolumeFault
from podium.objects.references import Objects
from podium.v1.core_pb2 import Container, Pod


class ScriptedVolumes:
    """`held` are uids of pods with volumes here, `calls` every call in order; `faults` are raised first, one a call."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.calls: list[str] = []
        self.faults: list[VolumeFault] = []
        self.objects: Objects = {}
        self.retained: set[str] | None = None

    def _call(self, method: str, uid: str) -> None:
        self.calls.append(f"{method} {uid}")
        if self.faults:
            raise self.faults.pop(0)

    def holds(self, uid: str) -> bool:
        return uid in self.held

    async def set_up(self, pod: Pod, objects: Objects) -> None:
        self._call("set_up", pod.metadata.uid)
        self.held.add(pod.metadata.uid)
        self.objects = objects

    async def mounts(self, pod: Pod, container: Container) -> tuple[Mount, ...]:
        return tuple(Mount(source=f"/volumes/{m.name}", target=m.mount_path) for m in container.volume_mounts)

    async def tear_down(self, pod: PodIdentity) -> None:
        self._call("tear_down", pod.uid)
        self.held.discard(pod.uid)

    async def retain(self, pods: Collection[str]) -> None:
        self.retained = set(pods)
        self.held &= self.retained
