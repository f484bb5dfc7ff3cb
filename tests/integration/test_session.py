"""A nodelet's session and the dispatcher, over a link in memory, under virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from master.dispatcher.dispatcher import Dispatcher
from podium.aio.tasks import TaskScope
from podium.errors import Unavailable
from podium.objects.kinds import Key
from podium.objects.references import secret_key
from podium.v1.cluster_service_pb2 import PodUsage
from podium.v1.core_pb2 import Event, Node, Pod, Secret
from podium.v1.node_session_pb2 import UsageReport
from tests.support.access import FakeAccess
from tests.support.clock import VirtualClock, settle
from tests.support.links import MemoryDialer
from tests.support.nodes import RecordingNode, ready_status


class World:
    """One master and its nodes."""

    def __init__(self, scope: TaskScope) -> None:
        self.scope = scope
        self.clock = VirtualClock()
        self.access = FakeAccess()
        self.master = self.start_master()

    def start_master(self) -> Dispatcher:
        self.master = Dispatcher(reader=self.access, writer=self.access, clock=self.clock)
        _ = self.scope.start(self.master.run(), name="dispatcher")
        return self.master

    async def node(self, name: str = "n1", machine_id: str = "m1") -> RecordingNode[MemoryDialer]:
        dialer = MemoryDialer(name, self.master, self.scope)
        node = RecordingNode(dialer, self.clock, name=name, machine_id=machine_id)
        _ = self.scope.start(node.session.run(), name=f"nodelet {name}")
        await settle()
        return node

    def pod(self, name: str, node: str = "n1", *, pull_secret: str = "") -> Pod:
        pod = Pod()
        pod.metadata.namespace, pod.metadata.name = "ns", name
        pod.spec.node_name = node
        if pull_secret:
            pod.spec.image_pull_secrets.add(name=pull_secret)
        return self.access.put(pod)

    def stored(self, name: str) -> Pod | None:
        return self.access.get(Pod, "ns", name)

    def node_object(self, name: str = "n1") -> Node:
        node = self.access.get(Node, "", name)
        assert node is not None
        return node


@pytest.fixture
async def world() -> AsyncIterator[World]:
    failures: list[BaseException] = []
    async with TaskScope(on_error=lambda name, error: failures.append(error)) as scope:
        yield World(scope)
    assert not failures


async def test_a_hello_makes_the_node_object(world: World) -> None:
    node = await world.node()
    stored = world.node_object()
    assert node.session.connected
    assert stored.metadata.labels["kubernetes.io/hostname"] == "n1"
    assert stored.spec.pod_cidr == "10.64.0.0/24"
    assert stored.status.node_info.machine_id == "m1"
    assert stored.status.conditions[0].status == "True"
    assert node.welcome is not None
    assert node.welcome.pod_cidr == "10.64.0.0/24"


async def test_what_people_changed_of_a_node_stays(world: World) -> None:
    node = Node()
    node.metadata.name = "n1"
    node.metadata.labels["disk"] = "ssd"
    node.spec.unschedulable = True
    world.access.put(node)
    await world.node()
    stored = world.node_object()
    assert stored.metadata.labels["disk"] == "ssd"
    assert stored.spec.unschedulable


async def test_snapshot_then_deltas(world: World) -> None:
    world.pod("a")
    world.pod("elsewhere", "n2")
    node = await world.node()
    assert node.names() == {"a"}
    world.pod("b")
    await settle()
    await world.clock.advance(0.1)
    assert node.names() == {"a", "b"}
    world.access.remove(Key("Pod", "ns", "a"))
    await world.clock.advance(0.1)
    assert node.names() == {"b"}
    assert node.kept


async def test_only_used_secrets_come_down(world: World) -> None:
    for name in ("used", "unused"):
        secret = Secret(data={"k": b"v"})
        secret.metadata.namespace, secret.metadata.name = "ns", name
        world.access.put(secret)
    world.pod("a", pull_secret="used")
    node = await world.node()
    assert set(node.objects) == {secret_key("ns", "used")}


async def test_changes_in_a_burst_come_together(world: World) -> None:
    node = await world.node()
    before = len(node.kept)
    for number in range(50):
        world.pod(f"p{number}")
    await world.clock.advance(0.2)
    assert len(node.names()) == 50
    assert len(node.kept) - before <= 2


async def test_a_status_is_stored_once_and_acknowledged(world: World) -> None:
    world.pod("a")
    node = await world.node()
    node.report("a", "Running")
    await world.clock.advance(0.2)
    stored = world.stored("a")
    assert stored is not None
    assert stored.status.phase == "Running"
    writes = len(world.access.writes)
    node.report("a", "Running")
    await world.clock.advance(0.2)
    assert len(world.access.writes) == writes


async def test_a_status_that_was_not_durable_is_sent_again(world: World) -> None:
    world.pod("a")
    node = await world.node()
    world.access.broken = Unavailable("disk full")
    node.report("a", "Running")
    await world.clock.advance(0.3)
    stored = world.stored("a")
    assert stored is not None
    assert stored.status.phase == ""
    world.access.broken = None
    await world.clock.advance(1)
    stored = world.stored("a")
    assert stored is not None
    assert stored.status.phase == "Running"


async def test_a_pod_that_is_over_stays_over(world: World) -> None:
    pod = world.pod("a")
    pod.status.phase = "Failed"
    world.access.put(pod)
    node = await world.node()
    node.report("a", "Running")
    await world.clock.advance(0.2)
    stored = world.stored("a")
    assert stored is not None
    assert stored.status.phase == "Failed"


async def test_a_node_cannot_speak_of_anothers_pod(world: World) -> None:
    world.pod("a", "n2")
    node = await world.node()
    other = world.stored("a")
    assert other is not None
    node.assigned = {other.metadata.uid: other}
    node.report("a", "Failed")
    await world.clock.advance(0.2)
    assert other.status.phase == ""
    stored = world.stored("a")
    assert stored is not None
    assert stored.status.phase == ""


async def test_a_deleted_pod_goes_when_its_node_says_so(world: World) -> None:
    pod = world.pod("a")
    node = await world.node()
    pod.metadata.deletion_timestamp.seconds = 1
    world.access.put(pod)
    await world.clock.advance(0.2)
    node.report("a", "Succeeded", gone=True)
    await world.clock.advance(0.2)
    assert world.stored("a") is None
    assert node.names() == set()


async def test_gone_before_deletion_is_said_again_after_it(world: World) -> None:
    pod = world.pod("a")
    node = await world.node()
    node.report("a", "Failed", gone=True)
    await world.clock.advance(0.2)
    stored = world.stored("a")
    assert stored is not None
    pod = Pod()
    pod.CopyFrom(stored)
    pod.metadata.deletion_timestamp.seconds = 1
    world.access.put(pod)
    await world.clock.advance(0.2)
    assert world.stored("a") is None


async def test_events_of_own_pods_are_stored_and_counted(world: World) -> None:
    world.pod("a")
    node = await world.node()
    pod = next(iter(node.assigned.values()))
    for _ in range(3):
        node.events.event(pod, "Warning", "BackOff", "again")
        await world.clock.advance(0.2)
    (event,) = world.access.list(Event)
    assert (event.reason, event.count, event.source.host) == ("BackOff", 3, "n1")
    stranger = Pod()
    stranger.metadata.namespace, stranger.metadata.name, stranger.metadata.uid = "ns", "x", "not-here"
    node.events.event(stranger, "Warning", "BackOff", "again")
    await world.clock.advance(0.2)
    assert len(world.access.list(Event)) == 1


async def test_heartbeats_write_nothing_and_keep_the_node_alive(world: World) -> None:
    node = await world.node()
    writes = len(world.access.writes)
    await world.clock.advance(60)
    assert len(world.access.writes) == writes
    heard = world.master.sessions.last_heard("n1")
    assert heard is not None
    assert world.clock.monotonic() - heard <= 1.0
    assert node.session.connected


async def test_a_changed_node_status_is_stored(world: World) -> None:
    node = await world.node()
    status = ready_status(cpu="2")
    node.node_status = status
    await world.clock.advance(11)
    assert world.node_object().status.capacity["cpu"] == "2"


async def test_a_silent_node_is_not_heard_and_comes_back(world: World) -> None:
    world.pod("a")
    node = await world.node()
    assert node.dialer.link is not None
    node.dialer.link.partition(True)
    await world.clock.advance(4.5)
    heard = world.master.sessions.last_heard("n1")
    assert heard is not None
    assert world.clock.monotonic() - heard > 4.0
    await world.clock.advance(10)  # the nodelet noticed, too, and dialled again
    assert node.session.connected
    assert node.names() == {"a"}


async def test_a_node_held_for_lost_is_ready_again_when_it_is_heard(world: World) -> None:
    await world.node()
    lost = Node()
    lost.CopyFrom(world.node_object())
    lost.status.conditions[0].status = "Unknown"
    world.access.put(lost)
    await world.clock.advance(1)
    assert world.node_object().status.conditions[0].status == "True"


async def test_statuses_survive_the_masters_restart(world: World) -> None:
    world.pod("a")
    node = await world.node()
    node.dialer.master = None
    await node.dialer.close()
    await world.clock.advance(1)
    assert not node.session.connected
    node.report("a", "Running")
    await world.clock.advance(30)
    node.dialer.master = world.start_master()
    await world.clock.advance(10)
    stored = world.stored("a")
    assert stored is not None
    assert stored.status.phase == "Running"


async def test_a_status_that_somebody_else_changed_is_repeated_in_the_next_session(world: World) -> None:
    world.pod("a")
    node = await world.node()
    node.report("a", "Running")
    await world.clock.advance(0.2)
    changed = Pod()
    stored = world.stored("a")
    assert stored is not None
    changed.CopyFrom(stored)
    changed.status.phase = "Unknown"
    world.access.put(changed)
    await node.dialer.close()
    await world.clock.advance(10)
    stored = world.stored("a")
    assert stored is not None
    assert stored.status.phase == "Running"


async def test_a_second_machine_of_the_same_name_is_refused(world: World) -> None:
    first = await world.node(machine_id="m1")
    second = await world.node(machine_id="m2")
    await world.clock.advance(1)
    assert first.session.connected
    assert not second.session.connected
    assert "another machine" in second.dialer.refusals[0]


async def test_a_newer_session_of_the_same_machine_replaces_the_older(world: World) -> None:
    world.pod("a")
    await world.node()
    second = await world.node()
    session = world.master.sessions.get("n1")
    assert session is not None
    assert second.session.connected
    assert second.names() == {"a"}


async def test_a_deleted_node_object_is_made_again_by_a_living_node(world: World) -> None:
    node = await world.node()
    world.access.remove(Key("Node", "", "n1"))
    await world.clock.advance(10)
    assert world.node_object().metadata.name == "n1"
    assert node.session.connected


async def test_sessions_that_begin_and_end_are_told_to_who_waits(world: World) -> None:
    sessions = world.master.sessions
    count = await sessions.changed(-1)
    node = await world.node()
    count = await sessions.changed(count)
    assert sessions.connected("n1")
    node.dialer.master = None
    await node.dialer.close()
    await settle()
    await sessions.changed(count)
    assert not sessions.connected("n1")
    assert sessions.last_heard("n1") is not None


async def test_assignments_of_the_last_session_are_acted_upon_without_a_master(world: World) -> None:
    world.pod("a")
    first = await world.node()
    dialer = MemoryDialer("n1", None, world.scope)
    again = RecordingNode(dialer, world.clock)
    again.session.restore(first.kept[-1])
    assert again.names() == {"a"}


# ---------------------------------------------------------------- usage


async def test_usage_comes_as_often_as_somebody_looks(world: World) -> None:
    node = await world.node()
    node.node_usage = UsageReport(pods=[PodUsage(namespace="ns", name="web", uid="u")])

    async def reports(seconds: int) -> int:
        before = node.usage_asked
        for _ in range(seconds):
            await world.clock.advance(1)
        return node.usage_asked - before

    await reports(20)  # until the master has said how often
    assert await reports(20) == 10
    assert [usage.name for usage in world.master.usage.nodes()] == ["n1"]
    assert list(world.master.usage.of_node("n1")) == ["u"]
    world.master.usage.watch(Key("HorizontalPodAutoscaler", "ns", "web"), ["n1"])
    await reports(3)
    assert await reports(20) == 20
    world.master.usage.watch(Key("HorizontalPodAutoscaler", "ns", "web"), [])
    await reports(3)
    assert await reports(20) == 10
