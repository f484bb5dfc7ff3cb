"""The pods of this node: keeps a worker for each pod that is assigned, or that left something on this host.

`assign()` gives the whole desired set; workers are made, told the news, or told to remove their pod. What the runtime
lists and nobody is assigned (an *orphan*) is ended gracefully too, but only once the master has spoken: a nodelet that
has just started knows nothing yet, and what it kept on disk (`resume()`) may be older than what runs.

`run()` follows the runtime's events, which only say where to look again, and lists everything from time to time to heal
what events miss. When the runtime goes away, workers conclude nothing until it has been listed anew; pods that kept
running meanwhile are adopted as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from nodelet.network.protocol import NetworkFault, PodNetwork
from nodelet.pods.context import EffectTools, Turns
from nodelet.pods.effects import Effects
from nodelet.pods.images import Disk, ImageKeeper, Limits
from nodelet.pods.meters import PODS
from nodelet.pods.protocol import EventSink, StatusSink
from nodelet.pods.spec import GRACE_LABEL, NodeFacts
from nodelet.pods.worker import PodWorker, WorkerTools
from nodelet.probes.prober import ProbeTools
from nodelet.runtime.protocol import (
    ContainerRecord,
    Images,
    Listing,
    Runtime,
    RuntimeDown,
    RuntimeFault,
    Sandbox,
)
from nodelet.volumes.protocol import PodVolumes, VolumeFault
from podium.aio.alarms import Alarms
from podium.aio.backoff import Backoff
from podium.aio.clock import Clock
from podium.aio.tasks import TaskScope, cancel_and_wait, forever
from podium.errors import NotFound
from podium.objects.pod import Amounts, every_container, is_critical
from podium.objects.references import Objects, claim_key
from podium.objects.storage import claims_of
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import Pod
from podium.v1.storage_pb2 import PersistentVolume

log = get_logger(__name__)

_RECONNECT = Backoff(initial=0.2, maximum=5.0)
_SECOND_LOOK_SECONDS = 2.0
"""A second full listing soon after (re)connecting closes the gap before the event stream was up."""
_KILL_SECONDS = 5.0
_NOTHING = Listing(sandboxes=(), containers=())


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSettings:
    """How the pods of a node are kept; seconds where not said otherwise."""

    relist_seconds: float = 60.0
    parallel_starts: int = 8
    parallel_removals: int = 4
    parallel_pulls: int = 3
    garbage: Limits = field(default_factory=Limits)


class PodManager:
    """See the module. `run()` must be running for anything to happen."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        images: Images,
        network: PodNetwork,
        volumes: PodVolumes,
        statuses: StatusSink,
        events: EventSink,
        clock: Clock,
        node: NodeFacts,
        settings: PodSettings | None = None,
        disk: Callable[[], Awaitable[Disk]] | None = None,
    ) -> None:
        """`disk` measures where images are kept; without it no image is ever removed."""
        self._settings = settings or PodSettings()
        self._runtime, self._network, self._volumes = runtime, network, volumes
        self._clock, self._disk = clock, disk
        self._scope = TaskScope(_log_failure)
        alarms = Alarms(clock, self._scope, _log_failure)
        self.images = ImageKeeper(images, clock, self._scope, parallel=self._settings.parallel_pulls)
        turns = Turns(
            starts=asyncio.Semaphore(self._settings.parallel_starts),
            removals=asyncio.Semaphore(self._settings.parallel_removals),
        )
        self._tools = WorkerTools(
            runtime=runtime,
            effects=Effects(EffectTools(runtime=runtime, images=self.images, network=network, volumes=volumes,
                                        events=events, clock=clock, node=node, turns=turns)),
            volumes=volumes,
            probe=ProbeTools(clock=clock, alarms=alarms, scope=self._scope),
            statuses=statuses,
            events=events,
            node=node,
            epoch=lambda: self._epoch,
            on_runtime_down=self._runtime_down,
            on_gone=self._worker_gone,
            admit=lambda worker: self.admit(worker),
            taken=self._taken,
            on_room=self._room_changed,
        )  # fmt: skip
        self._workers: dict[str, PodWorker] = {}
        self._gone: dict[str, PodWorker] = {}
        self._gone_in: dict[str, int] = {}
        self._desired: dict[str, Pod] | None = None
        self._told = False
        self._drained: dict[str, bool] = {}
        self._objects: Objects = {}
        self._unclaimed: dict[str, Listing] | None = None
        self._epoch = 0
        self._closed = False
        self._assigned = asyncio.Event()
        self._down = asyncio.Event()
        self.admit: Callable[[PodWorker], None] = lambda worker: None
        """Called with each pod before each of its steps."""

    # ------------------------------------------------------------ the desired set

    def assign(self, pods: Mapping[str, Pod], objects: Objects) -> None:
        """Everything that should be here now: pods by uid, and the objects that they use. Returns at once."""
        first, self._told = not self._told, True
        self.resume(pods, objects)
        if first and self._unclaimed is not None:
            self._settle()

    def resume(self, pods: Mapping[str, Pod], objects: Objects) -> None:
        """What was assigned when it was last written down. Those pods are kept; nothing follows for others, which may
        have come since. Returns at once."""
        self._desired, self._objects = dict(pods), dict(objects)
        self._gone = {uid: worker for uid, worker in self._gone.items() if uid in pods}
        self._drained = {uid: was_led for uid, was_led in self._drained.items() if uid in pods}
        if self._unclaimed is not None:
            self._follow(self._desired)
        self._assigned.set()
        self._assigned = asyncio.Event()

    def drained(self, pods: Mapping[str, bool]) -> None:
        """No node leads to these pods any more, by uid; whether services ever led to it. Pods are told that come later,
        too: the word may be ahead of the pod, and of the first listing."""
        self._drained.update(pods)
        for uid, was_led in pods.items():
            if uid in self._workers:
                self._workers[uid].drained(was_led=was_led)

    def _follow(self, desired: Mapping[str, Pod]) -> None:
        """Bring workers in line with the desired set."""
        for uid, pod in desired.items():
            if uid in self._workers:
                self._workers[uid].assign(pod, self._objects)
            elif uid not in self._gone:
                self._add(pod).assign(pod, self._objects)
        for uid, worker in self._workers.items():
            if uid not in desired and worker.memory.removal_deadline is None:
                worker.remove()
        self._room_changed()

    def _taken(self, but: PodWorker) -> Amounts:
        """What all pods but one have been granted."""
        total: Amounts = {}
        for worker in self._workers.values():
            if worker is not but:
                for name, amount in worker.granted.items():
                    total[name] = total.get(name, 0) + amount
        return total

    def _room_changed(self) -> None:
        for worker in self._workers.values():
            worker.room_changed()

    def _add(self, pod: Pod) -> PodWorker:
        uid = pod.metadata.uid
        PODS.inc()
        worker = self._workers[uid] = PodWorker(pod, self._objects, self._tools)
        if uid in self._drained:
            worker.drained(was_led=self._drained[uid])
        if not self._down.is_set() and self._unclaimed is not None:
            _ = worker.memory.take(self._unclaimed.pop(uid, _NOTHING))
        if self._closed:
            worker.fail("NodeShutdown", "Pod was rejected as the node is shutting down.", 0)
        return worker

    def _settle(self) -> None:
        """The master's first word and the first listing have met: end orphans, free what pods that are gone held."""
        self._end_orphans()
        _ = self._scope.start(self._retain_network(), name="retain addresses")
        _ = self._scope.start(self._retain_volumes(), name="retain volumes")

    def _end_orphans(self) -> None:
        for uid, part in list((self._unclaimed or {}).items()):
            pod = _orphan(part)
            log.warning("removing a pod that is not assigned to this node", pod=pod.metadata.name, uid=uid)
            self._add(pod).remove()

    async def _retain_network(self) -> None:
        try:
            await self._network.retain(set(self._workers))
        except NetworkFault as fault:
            log.warning("could not free unused addresses", error=str(fault))

    async def _retain_volumes(self) -> None:
        try:
            await self._volumes.retain(set(self._workers))
        except VolumeFault as fault:
            log.warning("could not remove what pods left behind", error=str(fault))

    def _worker_gone(self, worker: PodWorker) -> None:
        uid = worker.pod.metadata.uid
        del self._workers[uid]
        PODS.dec()
        self._gone_in[uid] = self._epoch
        if uid in (self._desired or {}):
            self._gone[uid] = worker
        self._room_changed()

    # ------------------------------------------------------------ following the runtime

    async def run(self) -> None:
        """Keep the pods until cancelled. Containers are left as they are then."""
        failures = 0
        async with self._scope:
            while True:
                began = self._clock.monotonic()
                try:
                    await self._attend()
                except* RuntimeFault as lost:
                    failures = failures + 1 if self._clock.monotonic() - began < _RECONNECT.maximum else 1
                    if failures == 1:
                        log.warning("lost the container runtime", error=str(lost.exceptions[0]))
                await self._clock.sleep(_RECONNECT.delay(failures))

    async def _attend(self) -> None:
        self._down.clear()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(forever("runtime events", self._hear))
                group.create_task(forever("runtime listings", self._list_on))
                group.create_task(forever("runtime watchdog", self._await_down))
        finally:
            self._down.set()
            for worker in self._workers.values():
                worker.runtime_lost()

    def _runtime_down(self) -> None:
        self._down.set()

    async def _await_down(self) -> None:
        await self._down.wait()
        raise RuntimeDown("an action found the runtime gone")

    async def _hear(self) -> None:
        async for event in self._runtime.events():
            if worker := self._workers.get(event.pod_uid):
                worker.heard(event)
        raise RuntimeDown("the event stream ended")

    async def _list_on(self) -> None:
        await self._list()
        await self._clock.sleep(_SECOND_LOOK_SECONDS)
        while True:
            await self._list()
            _ = await self.collect_garbage()
            await self._clock.sleep(self._settings.relist_seconds)

    async def _list(self) -> None:
        self._epoch += 1
        epoch = self._epoch
        parts = _by_pod(await self._runtime.listing())
        first = self._unclaimed is None
        self._unclaimed = {
            uid: part for uid, part in parts.items() if uid not in self._workers and self._gone_in.get(uid, -1) < epoch
        }
        self._gone_in = {uid: gone for uid, gone in self._gone_in.items() if gone >= epoch}
        for uid, worker in list(self._workers.items()):
            worker.offer(parts.get(uid, _NOTHING), epoch)
        if first and self._desired is not None:
            self._follow(self._desired)
        if first and self._told:
            self._settle()
        elif self._told:
            self._end_orphans()

    async def collect_garbage(self, limits: Limits | None = None) -> bool:
        """Remove unused images if the disk is fuller than the node's own `limits`, or than these; whether any was.

        Raises:
            RuntimeFault: The runtime does not say which there are.
        """
        if self._disk is None:
            return False
        in_use = {c.image for pod in (self._desired or {}).values() for c in every_container(pod.spec)}
        for worker in self._workers.values():
            in_use |= {name for record in worker.memory.records() for name in (record.image, record.image_id)}
        removed = await self.images.collect(in_use, await self._disk(), limits or self._settings.garbage)
        for image in removed:
            log.info("removed an unused image", image=" ".join(image.names) or image.id, bytes=image.size_bytes)
        return bool(removed)

    # ------------------------------------------------------------ for streams, reports, eviction and shutdown

    def pod_uids(self) -> list[str]:
        """Every pod that has something on this host."""
        return [*self._workers, *(uid for uid in self._unclaimed or {} if uid not in self._workers)]

    def bound_volumes(self) -> list[tuple[Pod, PersistentVolume]]:
        """Each pod here with each volume that a claim of its is bound to."""
        pods = [worker.pod for worker in self._workers.values() if worker.pod.spec.volumes]
        found = ((pod, self._objects.get(claim_key(claim))) for pod in pods for claim in claims_of(pod))
        return [(pod, volume) for pod, volume in found if volume is not None]

    def workers(self) -> Iterable[PodWorker]:
        """Every pod that is kept, those being removed included."""
        return tuple(self._workers.values())

    def report_again(self) -> None:
        """Send every pod's last status once more, also of pods that are gone and still assigned."""
        for worker in (*self._workers.values(), *self._gone.values()):
            worker.report_again()

    def find(self, namespace: str, name: str, uid: str = "") -> PodWorker:
        """A pod by name; the one that is not being removed if there are two.

        Raises:
            NotFound: No such pod here.
        """
        found = [
            w for w in self._workers.values() if (w.pod.metadata.namespace, w.pod.metadata.name) == (namespace, name)
        ]
        found = [w for w in found if not uid or w.pod.metadata.uid == uid]
        if not found:
            raise NotFound(f"pod {namespace}/{name} is not on node {self._tools.node.name}")
        return min(found, key=lambda w: w.memory.removal_deadline is not None)

    def container(self, namespace: str, name: str, container: str = "", *, uid: str = "",
                  previous: bool = False) -> ContainerRecord:  # fmt: skip
        """The newest run of a pod's container (the first one if not named), or the run before it.

        Raises:
            NotFound: No such pod, or container, or it has not run (before).
        """
        worker = self.find(namespace, name, uid)
        wanted = container or worker.pod.spec.containers[0].name
        runs = sorted((r for r in worker.memory.records() if r.name == wanted), key=lambda r: -r.attempt)
        if all(wanted != c.name for c in every_container(worker.pod.spec)):
            raise NotFound(f"pod {namespace}/{name} has no container {wanted}")
        if len(runs) <= previous:
            which = "previous terminated container" if previous else "container"
            raise NotFound(f"{which} {wanted} of pod {namespace}/{name} has not run")
        return runs[1 if previous else 0]

    def alive(self) -> list[Pod]:
        """Pods that have not ended, as they were assigned last."""
        return [worker.pod for worker in self._workers.values() if not worker.is_over]

    async def assigned(self) -> None:
        """Return when the assignments have changed."""
        await self._assigned.wait()

    def close(self) -> None:
        """Take no more pods: those that still come fail at once."""
        self._closed = True

    async def shut_down(self, grace: float, critical_grace: float) -> None:
        """Graceful node shutdown: end all pods, critical ones last; returns when they have ended, or should have."""
        for critical, seconds in ((False, grace), (True, critical_grace)):
            chosen = [w for w in self._workers.values() if is_critical(w.pod) is critical]
            for worker in chosen:
                worker.fail("Terminated", "Pod was terminated in response to imminent node shutdown.", seconds)
            await self._until_stopped(chosen, seconds + _KILL_SECONDS)

    async def _until_stopped(self, workers: Iterable[PodWorker], seconds: float) -> None:
        limit = self._scope.start(self._clock.sleep(seconds), name="shutdown limit")
        stopped = self._scope.start(_all_idle(workers), name="shutdown")
        await asyncio.wait((limit, stopped), return_when=asyncio.FIRST_COMPLETED)
        await cancel_and_wait(limit)
        await cancel_and_wait(stopped)


async def _all_idle(workers: Iterable[PodWorker]) -> None:
    for worker in workers:
        await worker.until_over()


def _orphan(part: Listing) -> Pod:
    """As much of a pod as its remains on this host tell."""
    owners = [*(record.pod for record in part.containers), *(sandbox.pod for sandbox in part.sandboxes)]
    identity = owners[0]
    pod = Pod()
    pod.metadata.namespace, pod.metadata.name, pod.metadata.uid = identity.namespace, identity.name, identity.uid
    for name in dict.fromkeys(record.name for record in part.containers):
        pod.spec.containers.add(name=name)
    graces = [float(record.labels[GRACE_LABEL]) for record in part.containers if record.labels.get(GRACE_LABEL)]
    if graces:
        pod.spec.termination_grace_period_seconds = int(max(graces))
    return pod


def _by_pod(listing: Listing) -> dict[str, Listing]:
    sandboxes: dict[str, list[Sandbox]] = {}
    containers: dict[str, list[ContainerRecord]] = {}
    for sandbox in listing.sandboxes:
        sandboxes.setdefault(sandbox.pod.uid, []).append(sandbox)
    for record in listing.containers:
        containers.setdefault(record.pod.uid, []).append(record)
    return {
        uid: Listing(sandboxes=sandboxes.get(uid, ()), containers=containers.get(uid, ()))
        for uid in sandboxes.keys() | containers.keys()
    }


def _log_failure(name: str, error: BaseException) -> None:
    log.error("task failed", task=name, error=error)
