"""emptyDir volumes on disk that outgrow their `sizeLimit`: their pod is evicted, as Kubernetes does.

Only pods with such a volume are looked at. Nothing stops a write beyond the limit at once, so it can be overshot by
what is written between two looks; what is in memory needs no look, its file system just ends there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nodelet.pods.evict import Measure
from nodelet.pods.manager import PodManager
from podium.aio.clock import Clock
from podium.objects import quantity
from podium.objects.pod import is_terminal
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import Pod

log = get_logger(__name__)


def size_limits(pod: Pod) -> Mapping[str, str]:
    """The limits of the pod's volumes that must be watched, as quantities by volume. Pure."""
    return {
        volume.name: volume.empty_dir.size_limit
        for volume in pod.spec.volumes
        if volume.empty_dir.size_limit and not volume.empty_dir.medium and quantity.value(volume.empty_dir.size_limit)
    }


def outgrown(limits: Mapping[str, str], used: Mapping[str, int]) -> str:
    """What is said of the first volume beyond its limit; nothing when none is. Pure."""
    for name, limit in limits.items():
        if used.get(name, 0) > quantity.value(limit):
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}".'
    return ""


class SizeLimits:
    """Looks at the volumes of a node's pods every few seconds; `run()` goes on until cancelled."""

    def __init__(self, *, manager: PodManager, measure: Measure, clock: Clock, period: float = 10.0) -> None:
        self._manager, self._measure, self._clock, self._period = manager, measure, clock, period

    async def run(self) -> None:
        """Watch."""
        while True:
            await self.look()
            await self._clock.sleep(self._period)

    async def look(self) -> None:
        """One look: evict every pod that has outgrown a limit."""
        for worker in self._manager.workers():
            limits = size_limits(worker.pod)
            if not limits or worker.memory.unwanted or is_terminal(worker.pod_with_status()):
                continue
            message = outgrown(limits, await self._used(worker.pod.metadata.uid, limits))
            if message:
                log.warning(
                    "evicting a pod", pod=f"{worker.pod.metadata.namespace}/{worker.pod.metadata.name}", why=message
                )
                worker.evict(message)

    async def _used(self, uid: str, names: Iterable[str]) -> Mapping[str, int]:
        return {name: await self._measure(uid, name) for name in names}
