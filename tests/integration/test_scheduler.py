"""The scheduler on real doors: store, cache, admission and writer; only nodes are made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from master.access.events import Recorder
from master.access.protocol import Bind, Create, Principal, component
from master.access.reader import CacheReader
from master.access.writer import StoreWriter
from master.access.writes import ApiWrite
from master.auth.authorizer import Authorizer
from master.cache.cache import WatchCache
from master.scheduler.scheduler import Scheduler
from master.store.memory import MemoryStore
from podium.aio.clock import SystemClock
from podium.aio.tasks import cancel_and_wait
from podium.errors import PodiumError, Unavailable
from podium.objects.conditions import get_condition
from podium.objects.kinds import key_of
from podium.v1.core_pb2 import Event, Namespace, Node, Pod
from podium.v1.meta_pb2 import Condition, DeleteOptions
from tests.support.scheduling import node, pod
from tests.support.waiting import until

TESTER = component("test")


class Writer(StoreWriter):
    """The real one; `refuse` makes bindings of the pods that it names fail, `bindings` are the sizes of groups."""

    refuse: Callable[[str], bool] = staticmethod(lambda name: False)
    bindings: list[int]

    async def write_many(self, writes: Sequence[ApiWrite], *, by: Principal) -> list[Message | PodiumError]:
        binds = [write for write in writes if isinstance(write, Bind)]
        if binds:
            self.bindings.append(len(binds))
        if any(self.refuse(write.name) for write in binds):
            return [Unavailable("not now") for _ in writes]
        return await super().write_many(writes, by=by)


@dataclass
class Cluster:
    """What a test sees."""

    reader: CacheReader
    writer: Writer
    scheduler: Scheduler
    clock: SystemClock

    async def add(self, *objects: Node | Pod) -> None:
        for obj in objects:
            await self.writer.create(obj, by=TESTER)

    async def delete(self, obj: Node | Pod) -> None:
        await self.writer.delete(key_of(obj), by=TESTER, options=DeleteOptions(grace_period_seconds=0))

    def pod(self, name: str) -> Pod | None:
        return self.reader.get(Pod, "default", name)

    def node_of(self, name: str) -> str:
        found = self.pod(name)
        return found.spec.node_name if found is not None else ""

    async def bound(self, *names: str) -> list[str]:
        return await until(
            lambda: [n for n in map(self.node_of, names) if n] if all(map(self.node_of, names)) else None
        )

    async def condition(self, name: str, reason: str) -> Condition:
        def look() -> Condition | None:
            found = self.pod(name)
            told = get_condition(found.status.conditions, "PodScheduled") if found is not None else None
            return told if told is not None and told.reason == reason else None

        return await until(look)

    async def event(self, reason: str) -> Event:
        def look() -> Event | None:
            return next((event for event in self.reader.list(Event) if event.reason == reason), None)

        return await until(look)


@asynccontextmanager
async def cluster(*first: Node | Pod) -> AsyncIterator[Cluster]:
    """A cluster with the scheduler running, and `first` in it before the scheduler started."""
    store, clock = MemoryStore(), SystemClock()
    async with WatchCache(store, detect_mutation=True) as cache:
        reader = CacheReader(cache)
        writer = Writer(store=store, cache=cache, authorizer=Authorizer(), clock=clock)
        writer.bindings = []
        events = Recorder(writer=writer, clock=clock, component="scheduler")
        made = Cluster(reader, writer, Scheduler(reader=reader, writer=writer, events=events, clock=clock), clock)
        namespace = Namespace()
        namespace.metadata.name = "default"
        await writer.create(namespace, by=TESTER)
        await made.add(*first)
        async with asyncio.TaskGroup() as group:
            parts: list[asyncio.Task[Any]] = [group.create_task(p.run()) for p in (made.scheduler, events)]
            yield made
            for part in parts:
                part.cancel()


async def test_a_pod_is_bound_its_condition_set_and_an_event_recorded() -> None:
    async with cluster(node()) as made:
        await made.add(pod("a", cpu="1"))
        assert await made.bound("a") == ["n1"]
        told = get_condition(made.pod("a").status.conditions, "PodScheduled")  # type: ignore[union-attr]
        assert told is not None
        assert told.status == "True"
        assert (await made.event("Scheduled")).message == "Successfully assigned default/a to n1"


async def test_what_waited_before_the_scheduler_started_is_placed_and_what_was_bound_counts() -> None:
    async with cluster(pod("there", cpu="3", on="n1"), pod("a", cpu="2"), node(), node("n2")) as made:
        assert await made.bound("a") == ["n2"]


async def test_an_impossible_pod_is_told_why_and_bound_once_that_changes() -> None:
    async with cluster(node(cpu="1")) as made:
        await made.add(pod("a", cpu="2"))
        told = await made.condition("a", "Unschedulable")
        assert told.message.startswith("0/1 nodes are available: 1 Insufficient cpu. preemption: ")
        assert (await made.event("FailedScheduling")).type == "Warning"
        answer = made.scheduler.explain("default", "a", nodes=True)
        assert (answer.state, answer.total_nodes, answer.reasons[0].nodes) == ("Unschedulable", 1, 1)
        assert list(answer.nodes[0].reasons) == ["Insufficient cpu"]
        await made.writer.mutate(
            Node, "", "n1", lambda n: n.status.allocatable.update(cpu="2"), by=TESTER, subresource="status"
        )
        await made.bound("a")
        assert made.scheduler.explain("default", "a").state == "Bound"


async def test_preemption_end_to_end() -> None:
    async with cluster(node(), pod("low", cpu="3", on="n1")) as made:
        high = pod("high", cpu="2")
        high.spec.ClearField("priority")
        high.spec.priority_class_name = "system-cluster-critical"
        await made.add(high)
        await until(lambda: (p := made.pod("high")) is not None and p.status.nominated_node_name == "n1")
        assert made.scheduler.explain("default", "high").state == "Preempting"
        low = made.pod("low")
        assert low is not None
        assert low.metadata.HasField("deletion_timestamp")
        assert (await made.event("Preempted")).involved_object.name == "low"
        await made.delete(low)
        assert await made.bound("high") == ["n1"]
        assert made.pod("high").status.nominated_node_name == ""  # type: ignore[union-attr]


async def test_a_gated_pod_says_so_is_not_bound_and_is_placed_when_the_gate_is_removed() -> None:
    async with cluster(node()) as made:
        await made.add(pod("a", gates=["wait.example.com/for-it"]))
        told = await made.condition("a", "SchedulingGated")
        assert (told.status, told.message) == ("False", "Scheduling is blocked due to non-empty scheduling gates")
        assert made.scheduler.explain("default", "a").state == "SchedulingGated"
        (refused,) = await made.writer.write_many([Bind("default", "a", "", "n1")], by=TESTER)
        assert "its scheduling gates are not all removed: wait.example.com/for-it" in str(refused)
        await made.writer.mutate(Pod, "default", "a", lambda p: p.spec.ClearField("scheduling_gates"), by=TESTER)
        assert await made.bound("a") == ["n1"]


HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


async def test_replicas_that_avoid_each_other_the_last_waits_until_one_leaves() -> None:
    async with cluster(*(node(f"n{i}") for i in range(3))) as made:
        pods = [pod(f"p{i}", app="web", apart=("web", HOST)) for i in range(4)]
        await made.add(*pods[:3])
        assert sorted(await made.bound("p0", "p1", "p2")) == ["n0", "n1", "n2"]
        await made.add(pods[3])
        told = await made.condition("p3", "Unschedulable")
        assert told.message.startswith("0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules. ")
        answer = made.scheduler.explain("default", "p3", nodes=True)
        assert list(answer.constraints) == [
            f"pod anti-affinity over {HOST}, pods matching app=web in namespace default: there are n0 1, n1 1, n2 1"
        ]
        assert all("1 of the pods matching app=web" in verdict.reasons[0] for verdict in answer.nodes)
        await made.delete(pods[1])
        assert await made.bound("p3")


async def test_pods_are_spread_over_zones_of_different_size() -> None:
    nodes = [node(f"n{i}", labels={ZONE: zone}) for i, zone in enumerate("aaab")]
    async with cluster(*nodes) as made:
        await made.add(*(pod(f"p{i}", app="web", spread=ZONE) for i in range(6)))
        assert (await made.bound(*(f"p{i}" for i in range(6)))).count("n3") == 3


async def test_a_namespace_that_gets_the_label_brings_its_pods_near() -> None:
    async with cluster(node("n1"), node("n2")) as made:
        other = Namespace()
        other.metadata.name = "other"
        await made.writer.create(other, by=TESTER)
        there = pod("db", app="db", on="n2")
        there.metadata.namespace = "other"
        wanted = pod("p", near=("db", HOST))
        term = wanted.spec.affinity.pod_affinity.required_during_scheduling_ignored_during_execution[0]
        term.namespace_selector.match_labels["team"] = "x"
        await made.add(there, wanted)
        assert "didn't match pod affinity rules" in (await made.condition("p", "Unschedulable")).message
        await made.writer.mutate(Namespace, "", "other", lambda n: n.metadata.labels.update(team="x"), by=TESTER)
        assert await made.bound("p") == ["n2"]


async def test_a_binding_that_fails_is_rolled_back_and_tried_again() -> None:
    async with cluster(node(cpu="1")) as made:
        refusals = iter([True])
        made.writer.refuse = lambda name: next(refusals, False)
        await made.add(pod("a", cpu="1"))
        await made.bound("a")
        assert made.writer.bindings == [1, 1]


async def test_a_pod_deleted_while_it_is_bound_leaves_no_trace() -> None:
    async with cluster(node(cpu="1")) as made:
        first = pod("a", cpu="1")
        await made.add(first)
        await made.delete(first)
        await made.add(pod("b", cpu="1"))
        await made.bound("b")


async def test_a_thousand_pods_are_bound_in_groups_without_overcommitting() -> None:
    nodes = [node(f"n{i}", cpu="4", pods="30") for i in range(40)]
    async with cluster(*nodes) as made:
        pods = [pod(f"p{i}", cpu="100m", group="web") for i in range(1_000)]
        await made.writer.write_many([Create(p) for p in pods], by=TESTER)
        await made.bound(*(f"p{i}" for i in range(1_000)))
        assert len(made.writer.bindings) < 20
        assert {len(made.reader.pods_on(f"n{i}")) for i in range(40)} == {25}


async def test_on_an_idle_system_a_pod_waits_for_nothing() -> None:
    """Milliseconds are meant; the bound allows for a busy machine, and still fails on any polling."""
    async with cluster(*(node(f"n{i}") for i in range(100))) as made:
        await made.add(pod("warm"))
        await made.bound("warm")
        loop = asyncio.get_running_loop()
        took: list[float] = []
        for index in range(20):
            name = f"p{index}"
            async with made.reader.subscribe(Pod) as changes:
                began = loop.time()
                await made.add(pod(name))
                async for batch in changes:
                    if any(c.new.metadata.name == name and c.new.spec.node_name for c in batch):
                        break
                took.append(loop.time() - began)
        assert sorted(took)[len(took) // 2] < 0.05


async def test_the_scheduler_starts_anew_with_nothing_lost() -> None:
    async with cluster(node(cpu="1")) as made:
        await made.add(pod("a", cpu="1"), pod("b", cpu="1"))
        await made.condition("b", "Unschedulable")
        again = Scheduler(reader=made.reader, writer=made.writer, events=_Silent(), clock=made.clock)
        task = asyncio.get_running_loop().create_task(again.run())
        await until(lambda: again.explain("default", "b").total_nodes == 1)
        assert again.explain("default", "b").state == "Unschedulable"
        await cancel_and_wait(task)


class _Silent:
    def normal(self, about: Message, reason: str, message: str) -> None:
        return

    def warning(self, about: Message, reason: str, message: str) -> None:
        return
