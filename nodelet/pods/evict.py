"""Node-pressure eviction: when the host runs short, end one pod at a time, the one with the least claim first.

Pure parts: `shortages` (which resources are below their threshold), `rank` (Kubernetes' order: use above the request
first, then lower priority, then the most above the request), `plan_eviction`, `Pressures` (node conditions). The
`Evictor` reads signals every few seconds, removes every unused image before it ends a pod for disk, and waits until the
evicted pod has let go before it looks again: for disk, until nothing of it is left there. What a pod takes of a disk is
what its containers wrote, their logs, and its `emptyDir` volumes. Pods of critical priority are never evicted. A
condition stays up for a while after its shortage has passed, so that the scheduler does not send back at once what was
just evicted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from nodelet.pods.images import Limits
from nodelet.pods.manager import PodManager
from nodelet.pods.meters import EVICTIONS
from nodelet.pods.worker import PodWorker
from nodelet.runtime.protocol import RuntimeDown, RuntimeFault
from podium.aio.clock import Clock
from podium.objects import quantity
from podium.objects.pod import EPHEMERAL_STORAGE, MEMORY, is_critical, is_terminal, is_terminating, requests
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import Pod

log = get_logger(__name__)

_LET_GO_SECONDS = 30.0
_ALL_UNUSED = Limits(high_percent=0, low_percent=0)
"""Of images, when pods are about to be evicted: how full the disk is does not matter, it may lack inodes."""

Measure = Callable[[str, str], Awaitable[int]]
"""Bytes on disk of a pod's (uid) volume (name)."""


class Resource(Enum):
    """What a host can run short of, by the node condition that says so."""

    MEMORY = "MemoryPressure"
    DISK = "DiskPressure"
    INODES = "inodes"
    PIDS = "PIDPressure"

    @property
    def condition(self) -> str:
        """The node condition; running out of inodes is disk pressure, too."""
        return Resource.DISK.value if self is Resource.INODES else self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """How much there is, and how much of that is left, in the resource's own unit."""

    available: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """The least that must be left: an amount, and a share of the total; whichever is more."""

    amount: int = 0
    percent: float = 0.0

    def least(self, total: int) -> int:
        """In the resource's unit."""
        return max(self.amount, int(total * self.percent / 100))


_ON_DISK = (Resource.DISK, Resource.INODES)

DEFAULT_THRESHOLDS: Mapping[Resource, Threshold] = {
    Resource.MEMORY: Threshold(amount=100 << 20),
    Resource.DISK: Threshold(percent=10),
    Resource.INODES: Threshold(percent=5),
    Resource.PIDS: Threshold(percent=5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PodUse:
    """What a pod takes now: memory (working set) and disk in bytes, processes."""

    memory: int = 0
    disk: int = 0
    pids: int = 0

    def of(self, resource: Resource) -> int:
        """The pod's use of a resource; inodes are ranked by disk use."""
        if resource is Resource.MEMORY:
            return self.memory
        return self.pids if resource is Resource.PIDS else self.disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """A resource below its threshold."""

    resource: Resource
    available: int
    least: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Eviction:
    """Which pod goes, and what is said about it."""

    pod: Pod
    message: str


# ---------------------------------------------------------------- decisions, pure


def shortages(signals: Mapping[Resource, Signal], thresholds: Mapping[Resource, Threshold]) -> list[Shortage]:
    """What is below its threshold, memory first: it kills soonest."""
    found = []
    for resource in Resource:
        signal, threshold = signals.get(resource), thresholds.get(resource)
        if signal is None or threshold is None or not signal.total:
            continue
        least = threshold.least(signal.total)
        if signal.available < least:
            found.append(Shortage(resource=resource, available=signal.available, least=least))
    return found


def rank(pods: Iterable[Pod], uses: Mapping[str, PodUse], resource: Resource) -> list[Pod]:
    """Pods in the order in which they should go; `uses` is by uid."""

    def claim(pod: Pod) -> tuple[bool, int, int]:
        above = uses.get(pod.metadata.uid, PodUse()).of(resource) - _requested(pod, resource)
        return above <= 0, pod.spec.priority, -above

    return sorted(pods, key=claim)


def plan_eviction(pods: Iterable[Pod], uses: Mapping[str, PodUse], shortage: Shortage) -> Eviction | None:
    """The next pod to end for a shortage; None when nobody may be, or whoever was chosen is still going."""
    living = [pod for pod in pods if not is_terminal(pod)]
    if any(is_terminating(pod) for pod in living):
        return None
    order = rank([pod for pod in living if not is_critical(pod)], uses, shortage.resource)
    if not order:
        return None
    pod = order[0]
    return Eviction(pod=pod, message=_message(pod, uses.get(pod.metadata.uid, PodUse()), shortage))


def _requested(pod: Pod, resource: Resource) -> int:
    name = {Resource.MEMORY: MEMORY, Resource.DISK: EPHEMERAL_STORAGE, Resource.INODES: EPHEMERAL_STORAGE}.get(resource)
    return requests(pod.spec).get(name, 0) if name else 0


def _message(pod: Pod, use: PodUse, shortage: Shortage) -> str:
    resource = shortage.resource
    shown = str if resource in (Resource.PIDS, Resource.INODES) else quantity.from_bytes
    what = {Resource.DISK: EPHEMERAL_STORAGE}.get(resource, resource.name.lower())
    return (
        f"The node was low on resource: {what}. Threshold quantity: {shown(shortage.least)}, available: "
        f"{shown(shortage.available)}. The pod was using {shown(use.of(resource))}, its request is "
        f"{shown(_requested(pod, resource))}."
    )


@dataclass(slots=True)
class Pressures:
    """Node conditions from shortages: up at once, down only `hold` seconds after the last sign."""

    hold: float = 60.0
    _last: dict[str, float] = field(default_factory=dict)

    def update(self, found: Iterable[Shortage], now: float) -> frozenset[str]:
        """Take in what is short now; the conditions that are up."""
        for shortage in found:
            self._last[shortage.resource.condition] = now
        self._last = {name: last for name, last in self._last.items() if now - last < self.hold}
        return frozenset(self._last)


# ---------------------------------------------------------------- the loop


class Evictor:
    """See the module. `signals` and `uses` read the host, `measure` volumes; `run()` goes on until cancelled."""

    def __init__(
        self,
        *,
        manager: PodManager,
        signals: Callable[[], Awaitable[Mapping[Resource, Signal]]],
        uses: Callable[[], Awaitable[Mapping[str, PodUse]]],
        measure: Measure,
        clock: Clock,
        thresholds: Mapping[Resource, Threshold] = DEFAULT_THRESHOLDS,
        period: float = 5.0,
    ) -> None:
        self._manager, self._signals, self._uses, self._measure = manager, signals, uses, measure
        self._clock = clock
        self._thresholds, self._period = thresholds, period
        self._pressures = Pressures()
        self._going: tuple[PodWorker, float] | None = None
        self.conditions: frozenset[str] = frozenset()
        """Node conditions that are True now (`MemoryPressure`, …), for the node's status."""

    async def run(self) -> None:
        """Watch the host."""
        while True:
            await self.look()
            await self._clock.sleep(self._period)

    async def look(self) -> None:
        """One look: conditions, and at most one eviction, seen through."""
        found = shortages(await self._signals(), self._thresholds)
        self.conditions = self._pressures.update(found, self._clock.monotonic())
        for shortage in found:
            on_disk = shortage.resource in _ON_DISK
            if on_disk and (self._frees_disk() or await self._removed_images()):
                return  # see whether that was enough
            pods = [worker.pod_with_status() for worker in self._manager.workers()]
            uses = await self._uses()
            eviction = plan_eviction(pods, await self._with_volumes(uses, pods) if on_disk else uses, shortage)
            if eviction is not None:
                await self._evict(eviction, shortage.resource)
                return

    def _frees_disk(self) -> bool:
        """Whether the pod that went last is still being taken away: what it frees may be enough."""
        if self._going is None:
            return False
        worker, since = self._going
        return worker.holds_disk and self._clock.monotonic() - since < _LET_GO_SECONDS

    async def _removed_images(self) -> bool:
        try:
            return await self._manager.collect_garbage(_ALL_UNUSED)
        except RuntimeDown:
            return True  # nobody is evicted for images that could go as soon as the runtime answers
        except RuntimeFault as fault:
            log.warning("could not remove unused images", why=fault.message)
            return False

    async def _with_volumes(self, uses: Mapping[str, PodUse], pods: Iterable[Pod]) -> Mapping[str, PodUse]:
        """The pods' uses with what is in their emptyDir volumes on disk."""
        more = dict(uses)
        for pod in pods:
            uid = pod.metadata.uid
            for volume in pod.spec.volumes:
                if volume.HasField("empty_dir") and not volume.empty_dir.medium and not is_terminal(pod):
                    use = more.get(uid, PodUse())
                    more[uid] = replace(use, disk=use.disk + await self._measure(uid, volume.name))
        return more

    async def _evict(self, eviction: Eviction, resource: Resource) -> None:
        meta = eviction.pod.metadata
        log.warning("evicting a pod", pod=f"{meta.namespace}/{meta.name}", why=eviction.message)
        worker = self._manager.find(meta.namespace, meta.name, meta.uid)
        EVICTIONS.labels(resource=resource.name.lower()).inc()
        worker.evict(eviction.message)
        self._going = worker, self._clock.monotonic()
        try:
            async with asyncio.timeout(_LET_GO_SECONDS):
                await worker.until_over()
        except TimeoutError:
            log.warning("an evicted pod has not let go yet", pod=f"{meta.namespace}/{meta.name}")
