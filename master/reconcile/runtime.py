"""Runs controllers: changes of objects become keys, keys become reconciliations, failures come back with back-off.

    Reader.subscribe ──► triggers ──► one WorkQueue a controller ──► N workers ──► reconcile(key) ──► Outcome
                                            ▲                                          │
                                            └── After(seconds) · error → back-off ◄────┘

One subscription serves all controllers, so a change costs one delivery however many are interested. Its first batch is
everything that exists: starting is a full resync, and a lost subscription is mended by another.

A reconciliation that raises never ends its worker. A Conflict is ordinary (somebody else wrote first) and is told at
debug level; another refusal is a warning, and a bug an error with its trace. What a quota refused is tried again when
there is more room (`master.reconcile.room`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from google.protobuf.message import Message
from prometheus_client import Counter, Gauge, Histogram

from master.access.protocol import Change, Reader
from master.reconcile.protocol import After, Controller, Done, SelfWaking, Trigger
from master.reconcile.room import Waiting
from podium.aio.backoff import Backoff
from podium.aio.clock import Clock
from podium.aio.workqueue import WorkQueue
from podium.errors import Conflict, PodiumError
from podium.objects.kinds import BY_NAME, Key
from podium.objects.owners import controller_of
from podium.telemetry.log import get_logger
from podium.v1.policy_pb2 import ResourceQuota

log = get_logger(__name__)

RECONCILIATIONS = Counter(
    "podium_master_reconcile_total", "Reconciliations, by controller and result.", ["controller", "result"]
)
SECONDS = Histogram(
    "podium_master_reconcile_seconds",
    "Time that one reconciliation took.",
    ["controller"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60),
)
DEPTH = Gauge("podium_master_reconcile_queue_depth", "Keys that wait for a worker.", ["controller"])

RECONCILE_TIMEOUT = 60.0
QUICK = 0.003
"""Seconds; a reconciliation that takes longer gives its key a rest of `REST` times the excess, `LONGEST_REST` at most:
a ReplicaSet of a thousand pods that become ready one by one must not be counted anew for each of them."""
REST = 3.0
LONGEST_REST = 0.5
RESUBSCRIBE_AFTER = 1.0
_CHUNK = 500


class ControllerRuntime:
    """See the module. `run` is the whole of its use; it runs until cancelled."""

    def __init__(self, *, reader: Reader, clock: Clock, backoff: Backoff | None = None) -> None:
        self._reader = reader
        self._clock = clock
        self._backoff = backoff or Backoff(initial=0.005, maximum=60.0)
        self._loops: list[_Loop] = []

    @property
    def idle(self) -> bool:
        """Whether no controller has work to do right now (deadlines may be pending)."""
        return all(loop.queue.idle for loop in self._loops)

    async def run(self, controllers: Sequence[Controller]) -> None:
        """Run the controllers until cancelled.

        Raises:
            ExceptionGroup: A part that must never end has failed; an error of a reconciliation is no such failure.
        """
        async with AsyncExitStack() as stack:
            self._loops = [_Loop(c, WorkQueue(self._clock, self._backoff), self._clock) for c in controllers]
            for loop in self._loops:
                await stack.enter_async_context(loop.queue)
            async with asyncio.TaskGroup() as group:
                for loop in self._loops:
                    loop.start(group)
                group.create_task(self._feed(), name="controllers feed")

    async def _feed(self) -> None:
        routes = _routes(self._loops, self._reader)
        routes.setdefault(ResourceQuota, _Route((), self._reader))
        while True:
            try:
                async with self._reader.subscribe(*routes) as changes:
                    async for batch in changes:
                        await _deliver(batch, routes)
                        self._tell_of_room(batch)
            except PodiumError as error:
                log.warning("the controllers' subscription was lost; subscribing again", error=str(error))
            await self._clock.sleep(RESUBSCRIBE_AFTER)

    def _tell_of_room(self, batch: Sequence[Change[Any]]) -> None:
        for change in batch:
            if isinstance(change.new, ResourceQuota):
                for loop in self._loops:
                    loop.waiting.wake(change, loop.queue.add)


class _Loop:
    """One controller with its queue and workers."""

    def __init__(self, controller: Controller, queue: WorkQueue[Key], clock: Clock) -> None:
        self.controller, self.queue, self._clock = controller, queue, clock
        self.waiting = Waiting()
        self._seconds = SECONDS.labels(controller.name)
        DEPTH.labels(controller.name).set_function(lambda: len(queue))

    def start(self, group: asyncio.TaskGroup) -> None:
        name = self.controller.name
        for number in range(self.controller.workers):
            group.create_task(self._work(), name=f"{name} worker {number}")
        if isinstance(self.controller, SelfWaking):
            group.create_task(self.controller.watch(self.queue.add), name=f"{name} watch")

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            began = self._clock.monotonic()
            try:
                await self._reconcile(key)
            finally:
                took = self._clock.monotonic() - began
                self._seconds.observe(took)
                self.queue.done(key, rest=min(REST * (took - QUICK), LONGEST_REST))

    async def _reconcile(self, key: Key) -> None:
        name = self.controller.name
        try:
            async with asyncio.timeout(RECONCILE_TIMEOUT):
                outcome = await self.controller.reconcile(key)
        except Conflict as error:
            result, delay = "conflict", self.queue.retry(key)
            log.debug("reconcile met a conflict", controller=name, key=str(key), retry=delay, why=str(error))
        except PodiumError as error:
            self.waiting.note(key, error)
            result, delay = "refused", self.queue.retry(key)
            log.warning("reconcile was refused", controller=name, key=str(key), retry=delay, why=str(error))
        except Exception as error:  # noqa: BLE001 - one key's failure must not stop the controller
            result, delay = "error", self.queue.retry(key)
            log.error("reconcile failed", error=error, controller=name, key=str(key), retry=delay)
        else:
            result = "ok"
            self.waiting.note(key, None)
            self.queue.forget(key)
            self._conclude(key, outcome)
        RECONCILIATIONS.labels(name, result).inc()

    def _conclude(self, key: Key, outcome: Done | After) -> None:
        if isinstance(outcome, After):
            self.queue.add_after(key, outcome.seconds)
        if outcome.because:
            log.debug(outcome.because, controller=self.controller.name, key=str(key))


_Wake = tuple[Callable[[Change[Any]], Iterable[Key]], WorkQueue[Key]]


class _Route:
    """Whom changes of one kind are told to."""

    def __init__(self, wakes: Sequence[tuple[Trigger, WorkQueue[Key]]], reader: Reader) -> None:
        self._reader = reader
        self._anyway: list[_Wake] = [(trigger.keys, queue) for trigger, queue in wakes if not trigger.controller]
        self._by_controller: dict[str, list[_Wake]] = {}
        for trigger, queue in wakes:
            if trigger.controller:
                self._by_controller.setdefault(trigger.controller, []).append((trigger.keys, queue))

    def wakes(self, change: Change[Any]) -> Iterable[_Wake]:
        """Who is to be asked which keys a change wakes."""
        if not self._by_controller:
            return self._anyway
        kinds = self._controllers(change.new)
        if change.old is not None:
            kinds |= self._controllers(change.old)
        wakes = self._anyway
        for kind in kinds:
            wakes = wakes + self._by_controller.get(kind, [])
        return wakes

    def _controllers(self, obj: Any) -> set[str]:
        """The kinds of those that control an object; of an orphan, of those that might."""
        reference = controller_of(obj)
        if reference is not None:
            return {reference.kind}
        namespace = obj.metadata.namespace
        return {kind for kind in self._by_controller if self._reader.count(BY_NAME[kind].message, namespace)}


_Routes = dict[type[Message], _Route]


def _routes(loops: Sequence[_Loop], reader: Reader) -> _Routes:
    wakes: dict[type[Message], list[tuple[Trigger, WorkQueue[Key]]]] = {}
    for loop in loops:
        for trigger in loop.controller.triggers:
            wakes.setdefault(trigger.kind, []).append((trigger, loop.queue))
    return {kind: _Route(found, reader) for kind, found in wakes.items()}


async def _deliver(batch: Sequence[Change[Any]], routes: _Routes) -> None:
    for number, change in enumerate(batch, start=1):
        for keys, queue in routes[type(change.new)].wakes(change):
            for key in keys(change):
                queue.add(key)
        if number % _CHUNK == 0:
            # A resync of a large cluster must not hold the loop for its whole length.
            await asyncio.sleep(0)
