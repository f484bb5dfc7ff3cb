"""Pods that end are stopped when no node leads to them any more: master and nodes, under virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from master.dispatcher import telling
from master.dispatcher.telling import PATIENCE_SECONDS
from podium.aio.tasks import TaskScope
from podium.objects.kinds import Key
from podium.v1.core_pb2 import Pod
from podium.v1.networking_pb2 import EndpointSlice, Service
from tests.integration.test_session import World
from tests.support.clock import settle
from tests.support.links import MemoryDialer
from tests.support.nodes import RecordingNode

Node = RecordingNode[MemoryDialer]


class Served(World):
    """A service `web`, and pods on node `n1` that it leads to."""

    def __init__(self, scope: TaskScope) -> None:
        super().__init__(scope)
        self.uids: dict[str, str] = {}
        self.serve()

    def serve(self) -> None:
        service = Service()
        service.metadata.namespace, service.metadata.name, service.spec.cluster_ip = "ns", "web", "10.63.0.9"
        self.access.put(service)

    def lead(self, **ready: bool) -> None:
        """Write the slice: each pod is ready, or ends."""
        made = EndpointSlice(address_type="IPv4")
        made.metadata.namespace, made.metadata.name = "ns", "web-1"
        made.metadata.labels["kubernetes.io/service-name"] = "web"
        for name, is_ready in ready.items():
            endpoint = made.endpoints.add(addresses=[f"10.64.0.{len(made.endpoints)}"], node_name="n1")
            endpoint.conditions.ready, endpoint.conditions.terminating = is_ready, not is_ready
            endpoint.conditions.serving = True
            endpoint.target_ref.uid = self.uids[name]
        self.access.put(made)

    def run_pod(self, name: str) -> Pod:
        made = self.pod(name)
        self.uids[name] = made.metadata.uid
        return made

    async def end(self, *names: str) -> None:
        for name in names:
            pod = self.stored(name)
            assert pod is not None
            ending = Pod()
            ending.CopyFrom(pod)
            ending.metadata.deletion_timestamp.seconds = 1
            self.access.put(ending)
        await self.clock.advance(0.2)

    async def leave(self, *names: str) -> None:
        """The pods end, and the endpoints controller says so."""
        await self.end(*names)
        self.lead(**dict.fromkeys(names, False))
        await self.clock.advance(0.2)


@pytest.fixture
async def world() -> AsyncIterator[Served]:
    failures: list[BaseException] = []
    async with TaskScope(on_error=lambda name, error: failures.append(error)) as scope:
        yield Served(scope)
    assert not failures


async def _two(world: Served) -> tuple[Node, Node]:
    world.run_pod("a")
    world.lead(a=True)
    nodes = await world.node("n1", "m1"), await world.node("n2", "m2")
    await world.clock.advance(0.2)
    return nodes


async def test_a_pod_is_drained_when_every_node_has_it_in_force(world: Served) -> None:
    here, there = await _two(world)
    await world.end("a")
    assert here.drained_pods == {}
    world.lead(a=False)
    await world.clock.advance(0.2)
    here.in_force()
    await world.clock.advance(0.2)
    assert here.drained_pods == {}, "the other may lead to it"
    there.in_force()
    await world.clock.advance(0.05)
    assert here.drained_pods == {world.uids["a"]: True}
    assert there.drained_pods == {}, "it is none of its pods"


async def test_a_pod_without_a_service_is_drained_at_once(world: Served) -> None:
    here, _ = await _two(world)
    other = world.run_pod("other")
    await world.clock.advance(0.2)
    await world.end("other")
    assert here.drained_pods == {other.metadata.uid: False}


async def test_a_node_that_does_not_answer_is_waited_for_so_long_and_then_no_more(world: Served) -> None:
    here, _ = await _two(world)
    world.run_pod("b")
    world.lead(a=True, b=True)
    await world.clock.advance(0.2)
    await world.leave("a")
    here.in_force()
    await world.clock.advance(PATIENCE_SECONDS - 1)
    assert here.drained_pods == {}
    await world.clock.advance(1.5)
    assert here.drained_pods == {world.uids["a"]: True}
    await world.end("b")
    here.in_force()
    await world.clock.advance(0.5)
    assert here.drained_pods.keys() == {world.uids["a"], world.uids["b"]}, "not again for every pod"


async def test_a_node_that_answers_again_is_waited_for_again(world: Served) -> None:
    here, there = await _two(world)
    await world.leave("a")
    here.in_force()
    await world.clock.advance(PATIENCE_SECONDS + 1)
    there.in_force()
    b = world.run_pod("b")
    world.lead(a=False, b=True)
    await world.clock.advance(0.2)
    await world.leave("b")
    here.in_force()
    await world.clock.advance(1)
    assert b.metadata.uid not in here.drained_pods
    there.in_force()
    await world.clock.advance(0.1)
    assert b.metadata.uid in here.drained_pods


async def test_a_node_that_is_away_is_waited_for_until_it_was_silent_for_a_while(world: Served) -> None:
    here, there = await _two(world)
    there.dialer.master = None
    await there.dialer.close()
    await world.clock.advance(0.1)
    await world.leave("a")
    here.in_force()
    await world.clock.advance(1)
    assert here.drained_pods == {}
    await world.clock.advance(PATIENCE_SECONDS)
    assert here.drained_pods == {world.uids["a"]: True}


async def test_a_node_whose_object_is_gone_is_waited_for_no_more(world: Served) -> None:
    here, _ = await _two(world)
    await world.leave("a")
    here.in_force()
    world.access.remove(Key("Node", "", "n2"))
    await world.clock.advance(0.5)
    assert here.drained_pods == {world.uids["a"]: True}


async def test_a_node_that_comes_back_has_in_force_what_it_says_and_nothing_else(world: Served) -> None:
    here, there = await _two(world)
    await world.leave("a")
    here.in_force()
    stale = there.in_force
    await there.dialer.close()
    await world.clock.advance(1)
    assert there.session.connected
    stale()
    await world.clock.advance(0.5)
    assert here.drained_pods == {}, "that was another session"
    there.in_force()
    await world.clock.advance(0.1)
    assert here.drained_pods == {world.uids["a"]: True}


async def test_a_nodelet_that_starts_again_hears_which_of_its_pods_are_drained(world: Served) -> None:
    here, there = await _two(world)
    await world.leave("a")
    here.in_force()
    there.in_force()
    await world.clock.advance(0.1)
    here.drained_pods.clear()
    await here.dialer.close()
    await world.clock.advance(1)
    assert here.session.connected
    assert here.drained_pods == {world.uids["a"]: True}


async def test_a_master_that_starts_again_waits_for_nodes_that_have_not_come_back(world: Served) -> None:
    here, there = await _two(world)
    await world.leave("a")
    there.dialer.master = None
    here.dialer.master = world.start_master()
    await there.dialer.close()
    await here.dialer.close()
    await world.clock.advance(2)
    here.in_force()
    await world.clock.advance(1)
    assert here.drained_pods == {}, "nobody knows what the other one leads to"
    await world.clock.advance(PATIENCE_SECONDS)
    assert here.drained_pods == {world.uids["a"]: True}


async def test_a_node_knows_who_is_in_a_namespace_before_it_gets_its_first_pod_of_it(
    world: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "GATHER_A_SESSION", 1.0)  # as in a large fleet
    _, there = await _two(world)
    await world.clock.advance(1)
    world.lead(a=False)
    await settle()  # from here on what is new is gathered
    world.pod("first", "n2")
    await settle()
    assert there.names() == {"first"}
    assert "members/ns" in [record.id for update in there.network_updates for record in update.records]


async def test_many_pods_that_end_at_once_are_drained_by_one_answer(world: Served) -> None:
    names = [f"p{number}" for number in range(300)]
    for name in names:
        world.run_pod(name)
    world.lead(**dict.fromkeys(names, True))
    here = await world.node()
    await world.clock.advance(0.2)
    heard = len(here.network_updates)
    await world.leave(*names)
    here.in_force()
    await settle()
    await world.clock.advance(0.05)
    assert len(here.drained_pods) == 300
    assert len(here.network_updates) - heard <= 2
