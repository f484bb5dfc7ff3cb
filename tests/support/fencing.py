"""A cluster under virtual time in which it is known exactly when each pod ran where: to see whether one ever ran twice.

The doors, the dispatcher, the controllers, the sessions and the fences are real; links are in memory and can be cut,
also in one direction. Pods are intervals: a fence gives them the whole of their grace, the worst that it allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import combinations

from master.access.events import Recorder
from master.access.protocol import Bind, component
from master.access.reader import CacheReader
from master.access.writer import StoreWriter
from master.auth.authorizer import Authorizer
from master.cache.cache import WatchCache
from master.controllers.fleet import FleetSettings
from master.controllers.node_lifecycle import NodeLifecycleController
from master.controllers.statefulset import StatefulSetController
from master.dispatcher.dispatcher import Dispatcher, DispatcherSettings
from master.reconcile.protocol import Controller
from master.reconcile.runtime import ControllerRuntime
from master.store.memory import MemoryStore
from nodelet.session.fence import FenceTools
from podium.aio.link import Link, LinkClosed, MemoryLink
from podium.aio.tasks import TaskScope, cancel_and_wait
from podium.errors import PodiumError
from podium.objects.conditions import set_condition
from podium.objects.fencing import ACQUAINTED
from podium.objects.meta import is_terminating
from podium.objects.references import Objects
from podium.v1.core_pb2 import Namespace, Node, Pod, PodStatus
from podium.v1.node_session_pb2 import MasterMessage, NodeMessage, Peers
from tests.support.clock import VirtualClock, settle
from tests.support.links import MemoryDialer
from tests.support.nodes import RecordingNode

ME = component("test")
LEASE = 4.0
STOP_SECONDS = 0.5
"""What an ordinary end of a pod takes."""


@dataclass(slots=True, eq=False)
class RunningPod:
    """A pod on a node, from its start to its end. Implements the fence's `Fenceable`."""

    pod: Pod
    node: SimulatedNode
    began: float
    ends: float | None = None
    failed: bool = False

    def fail(self, reason: str, message: str, grace: float) -> None:
        if not self.failed:
            self.failed = True
            self.end(grace)

    def end(self, grace: float) -> None:
        ends = self.node.world.clock.monotonic() + grace
        self.ends = ends if self.ends is None else min(self.ends, ends)
        _ = self.node.world.scope.start(self.node.report_end(self), name=f"end of {self.pod.metadata.name}")

    @property
    def over(self) -> bool:
        return self.ends is not None and self.ends <= self.node.world.clock.monotonic()


class CutDialer(MemoryDialer):
    """A dialer whose way to the master can be cut, both ways or only the way up."""

    away = False

    def __init__(self, node: str, master: Dispatcher | None, scope: TaskScope) -> None:
        super().__init__(node, master, scope)
        self.way_up = asyncio.Event()
        self.way_up.set()

    async def connect(self) -> Link[NodeMessage, MasterMessage]:
        if self.away or not self.way_up.is_set():
            raise LinkClosed("the network is unreachable")
        _ = await super().connect()
        assert self.link is not None
        return _OneWay(self.link, self.way_up)


class _OneWay:
    """A link whose way up may be blocked, while what comes down arrives."""

    def __init__(self, link: MemoryLink[NodeMessage, MasterMessage], way_up: asyncio.Event) -> None:
        self._link, self._way_up = link, way_up
        self.receive, self.finish, self.close = link.receive, link.finish, link.close

    async def send(self, message: NodeMessage) -> None:
        await self._way_up.wait()
        await self._link.send(message)


class SimulatedNode(RecordingNode[CutDialer]):
    """A node that runs pods: as intervals."""

    def __init__(self, world: World, name: str) -> None:
        tools = FenceTools(since_boot=world.clock.monotonic, ask=self._ask)
        dialer = CutDialer(name, world.master, world.scope)
        super().__init__(dialer, world.clock, name=name, machine_id=f"m-{name}", fence=tools)
        self.world = world
        self.pods: dict[str, RunningPod] = {}

    async def _ask(self, peers: Peers) -> list[float | None]:
        found = [n for n in self.world.nodes.values() if n is not self]
        return [None if n.unplugged or self.unplugged else n.fence.silence() for n in found]

    unplugged = False
    """Reaches nobody, its peers included."""

    def assign(self, pods: Mapping[str, Pod], objects: Objects) -> None:
        super().assign(pods, objects)
        for uid, pod in pods.items():
            known = self.pods.get(uid)
            if known is None and not is_terminating(pod):
                self._start(pod)
            elif is_terminating(pod):
                self._remove(uid, pod)
        for uid, running in self.pods.items():
            if uid not in pods and running.ends is None:
                running.end(STOP_SECONDS)

    def _start(self, pod: Pod) -> None:
        running = self.pods[pod.metadata.uid] = RunningPod(pod, self, self.world.clock.monotonic())
        self.world.history.append(running)
        self.running.append(running)
        self.fence.admit(running)
        if not running.failed:
            self._report(pod, "Running", ready=True)

    def _remove(self, uid: str, pod: Pod) -> None:
        running = self.pods.get(uid)
        if running is None:
            self.reporter.report(pod, PodStatus(phase="Failed"), gone=True)
        else:
            running.pod = pod
            running.end(STOP_SECONDS)

    async def report_end(self, running: RunningPod) -> None:
        assert running.ends is not None
        await self.world.clock.sleep(running.ends - self.world.clock.monotonic())
        pod = self.assigned.get(running.pod.metadata.uid)
        if pod is None:
            return
        if is_terminating(pod):
            self.reporter.report(pod, PodStatus(phase="Failed"), gone=True)
        else:
            self._report(pod, "Failed", ready=False)

    def _report(self, pod: Pod, phase: str, *, ready: bool) -> None:
        status = PodStatus(phase=phase)
        for type_ in ("ContainersReady", "Ready"):
            set_condition(status.conditions, type_, "True" if ready else "False", now=self.world.clock.now())
        self.reporter.report(pod, status, gone=False)

    def cut(self) -> None:
        """Pull the cable."""
        self.unplugged = True
        self.part()

    def part(self) -> None:
        """Lose the way to the master; nodes still reach each other."""
        self.dialer.away = True
        if self.dialer.link is not None:
            self.dialer.link.partition(True)

    def mute(self) -> None:
        """Lose the way up; what the master says still arrives."""
        self.dialer.way_up.clear()

    async def heal(self) -> None:
        """All ways are open again; a connection that was cut is of no use any more."""
        broken = self.dialer.away or not self.dialer.way_up.is_set()
        self.unplugged = self.dialer.away = False
        self.dialer.way_up.set()
        if broken:
            await self.dialer.close()


@dataclass
class World:
    """See the module."""

    clock: VirtualClock
    scope: TaskScope
    reader: CacheReader
    writer: StoreWriter
    master: Dispatcher
    nodes: dict[str, SimulatedNode] = field(default_factory=dict)
    history: list[RunningPod] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _turn: int = 0

    def start_master(self) -> None:
        """A master process begins, with the objects that the last one stored."""
        clock, reader, writer = self.clock, self.reader, self.writer
        settings = DispatcherSettings(lease=LEASE)
        master = self.master = Dispatcher(reader=reader, writer=writer, clock=clock, settings=settings)
        events = Recorder(writer=writer, clock=clock, component="test")
        made: list[Controller] = [
            StatefulSetController(reader=reader, writer=writer, events=events, clock=clock),
            NodeLifecycleController(
                reader=reader, writer=writer, events=events, clock=clock, liveness=master.sessions,
                settings=FleetSettings(lease=LEASE),
            ),
        ]  # fmt: skip
        runtime = ControllerRuntime(reader=reader, clock=clock)
        bodies = {"dispatcher": master.run(), "controllers": runtime.run(made), "binder": self._bind()}
        self._tasks = [self.scope.start(body, name=name) for name, body in bodies.items()]
        for node in self.nodes.values():
            node.dialer.master = master

    async def kill_master(self) -> None:
        """Power off: nothing is decided any more, and nothing answered."""
        for task in self._tasks:
            await cancel_and_wait(task)
        for node in self.nodes.values():
            node.dialer.master = None
            await node.dialer.close()

    async def add_node(self, name: str) -> SimulatedNode:
        """A node joins."""
        node = self.nodes[name] = SimulatedNode(self, name)
        for task, body in (("session", node.session.run()), ("fence", node.fence.run())):
            _ = self.scope.start(body, name=f"{task} of {name}")
        await settle()
        return node

    async def _bind(self) -> None:
        """In place of the scheduler: nodes without taints in turn."""
        async with self.reader.subscribe(Pod, Node) as changes:
            async for _ in changes:
                free = [n.metadata.name for n in self.reader.list(Node) if not n.spec.taints]
                for pod in self.reader.list(Pod):
                    if not pod.spec.node_name and free and not is_terminating(pod):
                        self._turn += 1
                        meta, node = pod.metadata, free[self._turn % len(free)]
                        _ = await self.writer.write_many([Bind(meta.namespace, meta.name, meta.uid, node)], by=ME)

    async def disturb(self, step: str, name: str) -> None:
        """One thing happens: to a node, or to the master."""
        node, up = self.nodes[name], self._tasks[0].done() is False
        match step:
            case "cut" | "part" | "mute":
                getattr(node, step)()
            case "heal":
                await node.heal()
            case "kill" if up:
                await self.kill_master()
            case "start" if not up:
                self.start_master()
            case _:
                return

    async def mend(self) -> None:
        """All is well again."""
        await self.disturb("start", next(iter(self.nodes)))
        for node in self.nodes.values():
            await node.heal()

    def where(self, name: str) -> list[RunningPod]:
        """What runs now under a pod's name."""
        return [r for r in self.history if r.pod.metadata.name == name and not r.over]

    def overlaps(self) -> list[tuple[str, str, str, float]]:
        """Every pair of pods of one name that ran at once: name, both nodes, and from when."""
        found = []
        for one, other in combinations(self.history, 2):
            same = one.pod.metadata.name == other.pod.metadata.name and one.pod.metadata.uid != other.pod.metadata.uid
            if same and (one.ends is None or one.ends > other.began):
                found.append((one.pod.metadata.name, one.node.name, other.node.name, other.began))
        return found


@asynccontextmanager
async def fencing_world(*names: str) -> AsyncIterator[World]:
    """A master and nodes of these names, welcomed and heard."""
    clock, store = VirtualClock(), MemoryStore()
    failures: list[BaseException] = []

    def note(name: str, error: BaseException) -> None:
        if not isinstance(error, LinkClosed | PodiumError):
            failures.append(error)

    async with WatchCache(store, detect_mutation=True) as cache:
        reader = CacheReader(cache)
        writer = StoreWriter(store=store, cache=cache, authorizer=Authorizer(), clock=clock)
        namespace = Namespace()
        namespace.metadata.name = "default"
        _ = await writer.create(namespace, by=ME)
        async with TaskScope(on_error=note) as scope:
            world = World(clock, scope, reader, writer, Dispatcher(reader=reader, writer=writer, clock=clock))
            world.start_master()
            for name in names:
                _ = await world.add_node(name)
            await clock.advance(ACQUAINTED + 5)
            yield world
    assert not failures
