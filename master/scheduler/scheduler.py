"""The scheduler's event loop: follows pods, nodes and namespaces, lets the engine decide, writes what it decided.

    changes ──► Engine ──► turns ──┬─► bindings       groups of up to BATCH pods, several groups in flight
                  ▲                ├─► refusals       the newest for each pod, written in the background
                  └──── undo ◄─────┴─► evictions      victims deleted, the pod nominated

Nothing is polled: a change wakes the placing task, which runs until no line is active, giving way to other tasks every
few milliseconds. On an idle system a pod is placed in the same pass of the event loop in which it is seen; under load,
pods that arrive while groups are being written form the next, larger groups.

A binding that fails is undone and, unless the pod is gone or changed, tried again after a back-off. An error that is
not a PodiumError is a bug and ends `run`, to be started anew by its owner with nothing lost: all state is in the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from master.access.protocol import Change, ChangeType, EventRecorder, Reader, Write, Writer, component
from master.scheduler import metrics, whatif, writes
from master.scheduler.allowance import Allowance
from master.scheduler.binder import VolumeBinder
from master.scheduler.budgets import BudgetViolators
from master.scheduler.engine import Engine, Making, Refused, Turn
from master.scheduler.inquiry import explain_pod
from master.scheduler.ledger import Entry, PodKey, State
from master.scheduler.plugins import default_profile
from podium.aio.clock import Clock
from podium.errors import NotFound, PodiumError
from podium.objects import storage
from podium.telemetry.log import get_logger
from podium.v1.cluster_service_pb2 import ExplainPodResponse
from podium.v1.core_pb2 import Namespace, Node, Pod
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim, StorageClass

log = get_logger(__name__)

BATCH = 512
GROUPS_IN_FLIGHT = 8
SLICE_SECONDS = 0.005
# An event costs as much as creating a pod, and says only what the pod's condition says: in a burst most are left out.
EVENTS_AT_ONCE, EVENTS_PER_SECOND = 200, 50.0
_CHANGES_AT_ONCE = 256
_FIRST_BACKOFF, _LONGEST_BACKOFF = 1.0, 10.0

_SELF = component("scheduler")


class Scheduler:
    """Places pods on nodes. `run` does the work; `explain` may be called at any time after it has started."""

    def __init__(self, *, reader: Reader, writer: Writer, events: EventRecorder, clock: Clock) -> None:
        self._reader, self._writer, self._events, self._clock = reader, writer, events, clock
        self._reset()

    def _reset(self) -> None:
        self._engine = Engine(default_profile(), BudgetViolators(self._reader))
        self._volumes = VolumeBinder(reader=self._reader, writer=self._writer, by=_SELF)
        self._synced = False
        self._work = asyncio.Event()
        self._permits = asyncio.Semaphore(GROUPS_IN_FLIGHT)
        self._binding = self._backing_off = 0
        self._untold: dict[PodKey, Entry] = {}
        self._telling = asyncio.Event()
        self._announcements = Allowance(self._clock, burst=EVENTS_AT_ONCE, per_second=EVENTS_PER_SECOND)

    def explain(self, namespace: str, name: str, nodes: bool = False) -> ExplainPodResponse:
        """Why a pod is where it is, or nowhere.

        Args:
            namespace: The pod's.
            name: The pod's.
            nodes: Also what each node says.

        Raises:
            NotFound: There is no such pod.
        """
        pod = self._reader.get(Pod, namespace, name)
        if pod is None:
            raise NotFound(f'pods "{name}" not found in namespace "{namespace}"')
        return explain_pod(self._engine, pod, nodes)

    def waiting(self) -> int:
        """How many pods no node takes."""
        return whatif.waiting(self._engine) if self._synced else 0

    def pack(
        self, nodes: Sequence[tuple[str, Node]], most: Mapping[str, int], daemons: Sequence[Pod]
    ) -> whatif.Packing:
        """Which of these nodes, which are not there, would get how many of them (`master.scheduler.whatif.pack`)."""
        return whatif.pack(self._engine, nodes, most, daemons)

    def confined(self, node: str, pods: Sequence[Pod]) -> list[str]:
        """Which of a node's pods could not go elsewhere (`master.scheduler.whatif.confined`)."""
        return whatif.confined(self._engine, node, pods)

    async def run(self) -> None:
        """Schedule until cancelled, from a fresh view of the cluster."""
        self._reset()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="scheduler-follow")
            tasks.create_task(self._place(tasks), name="scheduler-place")
            tasks.create_task(self._tell(), name="scheduler-tell")

    # ------------------------------------------------------------ changes in

    async def _follow(self) -> None:
        async with self._reader.subscribe(
            Pod, Node, Namespace, PersistentVolumeClaim, PersistentVolume, StorageClass
        ) as batches:
            async for batch in batches:
                await self._apply(batch if self._synced else _eldest_first(batch))
                self._synced = True
                self._work.set()

    async def _apply(self, batch: Sequence[Change[Any]]) -> None:
        for index, change in enumerate(batch, 1):
            self._see(change)
            if index % _CHANGES_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _see(self, change: Change[Any]) -> None:
        obj, gone = change.new, change.type is ChangeType.DELETED
        if isinstance(obj, Pod):
            if gone:
                self._engine.pod_gone(PodKey(obj.metadata.namespace, obj.metadata.name), obj.metadata.uid)
            else:
                self._engine.see_pod(obj, self._clock.monotonic())
        elif isinstance(obj, Node):
            if gone:
                self._engine.node_gone(obj.metadata.name)
            else:
                self._engine.see_node(obj)
        elif isinstance(obj, Namespace):
            self._engine.see_namespace(obj.metadata.name, None if gone else obj.metadata.labels)
        else:
            self._engine.see_storage(obj, gone=gone)
        if isinstance(obj, Pod):
            if obj.spec.volumes:
                self._volumes.moved(storage.claims_of(obj))
        elif isinstance(obj, PersistentVolumeClaim):
            self._volumes.moved((storage.key_of_claim(obj),))

    # ------------------------------------------------------------ decisions out

    async def _place(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            if self._synced:
                await self._take_turns(tasks)
            self._count_queue()

    async def _take_turns(self, tasks: asyncio.TaskGroup) -> None:
        began = self._clock.monotonic()
        while (turn := self._turn()) is not None:
            await self._act(turn, tasks)
            if self._clock.monotonic() - began > SLICE_SECONDS:
                await asyncio.sleep(0)
                began = self._clock.monotonic()

    def _turn(self) -> Turn | None:
        with metrics.TURN.time():
            return self._engine.turn(BATCH)

    async def _act(self, turn: Turn, tasks: asyncio.TaskGroup) -> None:
        ready = [entry for entry in turn.bound if not entry.promises]
        if ready:
            self._binding += len(ready)
            await self._permits.acquire()
            tasks.create_task(self._bind(ready, tasks), name="scheduler-bind")
        for entry in turn.bound:
            if entry.promises:
                tasks.create_task(self._bind_with_volumes(entry, tasks), name="scheduler-bind-volumes")
        for refused in turn.refused:
            self._note_refusal(refused)
        if turn.evictions:
            tasks.create_task(self._evict(turn.evictions), name="scheduler-evict")

    async def _bind(self, group: Sequence[Entry], tasks: asyncio.TaskGroup) -> None:
        try:
            results = await self._write([writes.binding(entry) for entry in group])
        finally:
            self._permits.release()
            self._binding -= len(group)
        metrics.BATCH.observe(len(group))
        failed: list[PodiumError] = []
        now = self._clock.monotonic()
        for entry, result in zip(group, results, strict=True):
            if isinstance(result, PodiumError):
                failed.append(result)
                self._unbind(entry, tasks)
            else:
                self._note_bound(entry, result, now)
        if failed:
            log.warning("bindings failed", failed=len(failed), of=len(group), first=str(failed[0]))
        self._work.set()

    async def _bind_with_volumes(self, entry: Entry, tasks: asyncio.TaskGroup) -> None:
        """Bind a pod once its claims are: these first, for they cannot be moved."""
        try:
            await self._volumes.bind(entry)
        except PodiumError as error:
            self._note_unbindable(entry, error)
            self._unbind(entry, tasks)
            self._work.set()
            return
        if entry.state is State.ASSUMED:
            self._binding += 1
            await self._permits.acquire()
            await self._bind([entry], tasks)

    def _note_unbindable(self, entry: Entry, error: PodiumError) -> None:
        log.warning("a pod's claims could not be bound", pod=str(entry.key), node=entry.node, why=error.message)
        pod = self._reader.get(Pod, entry.key.namespace, entry.key.name)
        if pod is not None:
            self._events.warning(pod, "FailedScheduling", f"running PreBind plugin VolumeBinding: {error.message}")

    def _note_bound(self, entry: Entry, pod: Message, now: float) -> None:
        metrics.ATTEMPTS.labels("scheduled").inc()
        metrics.LATENCY.observe(now - entry.since)
        if self._announcements.take():
            self._events.normal(pod, "Scheduled", f"Successfully assigned {entry.key} to {entry.node}")

    def _unbind(self, entry: Entry, tasks: asyncio.TaskGroup) -> None:
        metrics.ATTEMPTS.labels("error").inc()
        if self._engine.undo(entry):
            self._backing_off += 1
            tasks.create_task(self._again(entry), name="scheduler-backoff")

    async def _again(self, entry: Entry) -> None:
        await self._clock.sleep(min(_FIRST_BACKOFF * 2 ** (entry.failures - 1), _LONGEST_BACKOFF))
        self._backing_off -= 1
        self._engine.again(entry)
        self._work.set()

    async def _evict(self, evictions: Sequence[Making]) -> None:
        now = self._clock.now()
        for making in evictions:
            self._tell_later(making.pod)
            self._note_evicted(making, await self._write(writes.evictions(making, now)))
        self._work.set()

    def _note_evicted(self, making: Making, results: Sequence[Message | PodiumError]) -> None:
        # Two writes a victim: its condition, then its deletion; only the latter matters.
        for victim, result in zip(making.eviction.victims, results[1::2], strict=True):
            if not isinstance(result, PodiumError):
                metrics.VICTIMS.inc()
                where = making.eviction.node
                self._events.normal(result, "Preempted", f"Preempted by pod {making.pod.key} on node {where}")
            elif not isinstance(result, NotFound):
                self._engine.leave(victim, leaving=False)
                log.warning("eviction failed", pod=str(victim.key), error=str(result))

    # ------------------------------------------------------------ refusals

    def _note_refusal(self, refused: Refused) -> None:
        for entry in refused.pods:
            metrics.ATTEMPTS.labels("unschedulable").inc()
            self._tell_later(entry)
            pod = self._reader.get(Pod, entry.key.namespace, entry.key.name)
            if pod is not None:
                self._events.warning(pod, "FailedScheduling", refused.message)

    def _tell_later(self, entry: Entry) -> None:
        self._untold[entry.key] = entry
        self._telling.set()

    async def _tell(self) -> None:
        while True:
            await self._telling.wait()
            self._telling.clear()
            while self._untold:
                now = self._clock.now()
                group = [self._untold.pop(key) for key in list(self._untold)[:BATCH]]
                await self._write([writes.refusal(entry, now) for entry in group])

    async def _write(self, batch: Sequence[Write]) -> list[Message | PodiumError]:
        try:
            return await self._writer.write_many(batch, by=_SELF)
        except PodiumError as error:
            return [error] * len(batch)

    # ------------------------------------------------------------ figures

    def _count_queue(self) -> None:
        active, parked = self._engine.queue.depths()
        metrics.QUEUE.labels("active").set(active)
        metrics.QUEUE.labels("parked").set(parked)
        metrics.QUEUE.labels("backoff").set(self._backing_off)
        metrics.QUEUE.labels("binding").set(self._binding)


def _eldest_first(batch: Iterable[Change[Any]]) -> list[Change[Any]]:
    """What existed at the start: nodes and namespaces, then pods by age: the queue starts as it would have been."""
    return sorted(batch, key=lambda c: (isinstance(c.new, Pod), c.new.metadata.creation_timestamp.seconds))
