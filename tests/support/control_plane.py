"""The real doors, cache and controllers over a store in memory, and a kubelet that needs no time.

`ControlPlane` is everything between the API and the nodes. The instant kubelet binds pods and makes them ready as soon
as they appear; images whose name says so misbehave: `crash` never becomes ready, `slow` waits for `release`; `exit-N`
ends with that code as soon as it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from master import controllers
from master.access.events import Recorder
from master.access.protocol import Bind, Delete, Mutate, Write, component
from master.access.reader import CacheReader
from master.access.writer import StoreWriter
from master.auth.authorizer import Authorizer
from master.cache.cache import WatchCache
from master.reconcile.runtime import ControllerRuntime
from master.signals.samples import Sample
from master.store.memory import MemoryStore
from podium.aio.clock import SystemClock
from podium.objects.conditions import set_condition
from podium.objects.kinds import key_of
from podium.objects.meta import is_terminating, timestamp
from podium.objects.node_affinity import name_required
from podium.objects.pod import is_terminal
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.core_pb2 import Namespace, Node, Pod
from podium.v1.meta_pb2 import DeleteOptions

ME = component("test")


class FakeLiveness:
    """Liveness under a test's rule: every known node is heard all the time, but for those that are silenced."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._silent: dict[str, float] = {}
        self._count = 0
        self._moved = asyncio.Event()

    def silence(self, *nodes: str, ago: float = 0.0) -> None:
        """These nodes were last heard `ago` seconds ago, and no more."""
        for node in nodes:
            self._silent[node] = self._clock.monotonic() - ago
        self._change()

    def hear(self, *nodes: str, new_session: bool = True) -> None:
        """These nodes are heard again; without a new session nobody is told."""
        for node in nodes:
            self._silent.pop(node, None)
        if new_session:
            self._change()

    def _change(self) -> None:
        self._count += 1
        self._moved.set()
        self._moved = asyncio.Event()

    def last_heard(self, node: str) -> float | None:
        return self._silent.get(node, self._clock.monotonic())

    def connected(self, node: str) -> bool:
        return node not in self._silent

    async def changed(self, after: int) -> int:
        while self._count <= after:
            await self._moved.wait()
        return self._count


@dataclass
class FakePrometheus:
    """Answers a query by the first of the keys that it contains; any other gives no sample."""

    values: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def query(self, text: str) -> tuple[Sample, ...]:
        self.asked.append(text)
        return tuple(Sample(value=value, time=0) for key, value in self.values.items() if key in text)[:1]


@dataclass
class InstantKubelet:
    """All nodes at once. `frozen` nodes do nothing; `released` lets pods of `slow` images become ready."""

    reader: CacheReader
    writer: StoreWriter
    nodes: Sequence[str] = ("n1", "n2", "n3")
    frozen: set[str] = field(default_factory=set)
    released: bool = False
    paused: bool = False
    """Binds nothing and reports nothing."""
    _turn: int = 0

    async def run(self) -> None:
        """Serve for ever."""
        async with self.reader.subscribe(Pod) as changes:
            async for batch in changes:
                await self._serve({key_of(c.new) for c in batch})

    async def nudge(self) -> None:
        """Look at every pod again."""
        await self._serve({key_of(p) for p in self.reader.list(Pod)})

    async def _serve(self, keys: set[Any]) -> None:
        writes: list[Write] = []
        for key in sorted(keys):
            pod = self.reader.get(Pod, key.namespace, key.name)
            if pod is not None and not self.paused and pod.spec.node_name not in self.frozen:
                writes += self._react(pod)
        if writes:
            _ = await self.writer.write_many(writes, by=ME)

    def _react(self, pod: Pod) -> list[Write]:
        key, meta = key_of(pod), pod.metadata
        if is_terminating(pod):
            return [Delete(key, DeleteOptions(grace_period_seconds=0))]
        if not pod.spec.node_name:
            alive = [n for n in self.nodes if n not in self.frozen]
            self._turn += 1
            node = name_required(pod.spec) or alive[self._turn % len(alive)]
            return [] if node in self.frozen else [Bind(meta.namespace, meta.name, meta.uid, node)]
        if is_terminal(pod):
            return []
        image = pod.spec.containers[0].image
        if image.startswith("exit-"):
            return [Mutate(key, lambda p: _end(p, int(image.removeprefix("exit-"))), "status")]
        ready = "crash" not in image and ("slow" not in image or self.released)
        if pod.status.phase == "Running" and (_is_ready(pod) or not ready):
            return []
        return [Mutate(key, lambda p: _run(p, ready), "status")]


def _is_ready(pod: Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


def _end(pod: Pod, exit_code: int) -> None:
    pod.status.phase = "Failed" if exit_code else "Succeeded"
    ended = pod.status.container_statuses.add(name=pod.spec.containers[0].name).state.terminated
    ended.exit_code = exit_code
    ended.finished_at.CopyFrom(timestamp(SystemClock().now()))


def _run(pod: Pod, ready: bool) -> None:
    clock = SystemClock()
    pod.status.phase, pod.status.pod_ip = "Running", f"10.64.{pod.spec.node_name.removeprefix('n')}.2"
    for type_ in ("ContainersReady", "Ready"):
        set_condition(pod.status.conditions, type_, "True" if ready else "False", now=clock.now())
    del pod.status.container_statuses[:]
    status = pod.status.container_statuses.add(name=pod.spec.containers[0].name, ready=ready)
    if ready:
        status.state.running.started_at.CopyFrom(timestamp(clock.now()))
        return
    status.restart_count = 3
    status.state.waiting.reason, status.state.waiting.message = "CrashLoopBackOff", "back-off 4s restarting"
    status.last_state.terminated.exit_code = 7
    status.last_state.terminated.message = "no such option"


@dataclass
class ControlPlane:
    """See the module."""

    reader: CacheReader
    writer: StoreWriter
    runtime: ControllerRuntime
    liveness: FakeLiveness
    kubelet: InstantKubelet
    prometheus: FakePrometheus
    stopped: Callable[[], AbstractAsyncContextManager[None]]
    """Ends the controllers at once, and starts others afterwards, which know nothing but the objects."""

    async def restart(self) -> None:
        """The controllers end in the middle of whatever they do, and others begin."""
        async with self.stopped():
            pass

    def deployment(self, name: str = "web") -> Deployment:
        """A Deployment of the default namespace."""
        found = self.reader.get(Deployment, "default", name)
        assert found is not None
        return found

    def replica_sets(self) -> list[ReplicaSet]:
        """ReplicaSets of the default namespace."""
        return self.reader.list(ReplicaSet, "default")

    def pods(self, image: str = "") -> list[Pod]:
        """Pods of the default namespace that are not being deleted (and run this image)."""
        found = (p for p in self.reader.list(Pod, "default") if not is_terminating(p))
        return [p for p in found if image in ("", p.spec.containers[0].image)]

    async def change(self, change: Callable[[Deployment], None], name: str = "web") -> Deployment:
        """Change a Deployment, as a user does."""
        return await self.writer.mutate(Deployment, "default", name, change, by=ME)

    async def set_image(self, image: str, name: str = "web") -> Deployment:
        """Begin a rollout."""

        def change(obj: Deployment) -> None:
            obj.spec.template.spec.containers[0].image = image

        return await self.change(change, name)

    def is_rolled_out(self, name: str = "web") -> bool:
        """Whether every replica is of the newest template and available, and the status says so."""
        d = self.deployment(name)
        s, n = d.status, d.spec.replicas
        current = s.observed_generation == d.metadata.generation
        return current and s.updated_replicas == s.replicas == s.available_replicas == n


@asynccontextmanager
async def control_plane(*, nodes: int = 3) -> AsyncIterator[ControlPlane]:
    """A running one, with a default namespace and ready nodes `n1`, `n2`, …"""
    clock, store = SystemClock(), MemoryStore()
    async with WatchCache(store, detect_mutation=True) as cache:
        reader = CacheReader(cache)
        writer = StoreWriter(store=store, cache=cache, authorizer=Authorizer(), clock=clock)
        names = [f"n{i}" for i in range(1, nodes + 1)]
        await _seed(writer, names)
        events, liveness = Recorder(writer=writer, clock=clock, component="test"), FakeLiveness(clock)
        kubelet, prometheus = InstantKubelet(reader, writer, names), FakePrometheus()
        async with asyncio.TaskGroup() as group:
            running: list[asyncio.Task[None]] = []

            def start() -> ControllerRuntime:
                runtime = ControllerRuntime(reader=reader, clock=clock)
                made = controllers.build(
                    reader=reader,
                    writer=writer,
                    events=events,
                    clock=clock,
                    liveness=liveness,
                    prometheus=prometheus,
                    quotas=writer.quotas,
                )
                running.append(group.create_task(runtime.run(made)))
                return runtime

            @asynccontextmanager
            async def stopped() -> AsyncIterator[None]:
                running[-1].cancel()
                _ = await asyncio.wait([running.pop()])
                yield
                plane.runtime = start()

            plane = ControlPlane(reader, writer, start(), liveness, kubelet, prometheus, stopped)
            running[:0] = [group.create_task(events.run()), group.create_task(kubelet.run())]
            yield plane
            for task in running:
                task.cancel()


async def _seed(writer: StoreWriter, nodes: Sequence[str]) -> None:
    namespace = Namespace()
    namespace.metadata.name = "default"
    _ = await writer.create(namespace, by=ME)
    for name in nodes:
        node = Node()
        node.metadata.name = name
        node.status.conditions.add(type="Ready", status="True")
        _ = await writer.create(node, by=ME)
