"""When a node says that it has in force what it was told of the cluster's network."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nodelet.network import affinity, nft, peers
from nodelet.network.cluster import KEEP_SECONDS, RETRY_SECONDS, UNKNOWN_SECONDS, ClusterNetwork
from nodelet.network.flows import Leads
from nodelet.network.packet_table import PacketTable
from podium.aio.tasks import TaskScope
from podium.objects.service import CLIENT_IP_AFFINITY
from podium.v1.networking_pb2 import EndpointPort, EndpointSlice, ServicePort, ServiceSpec
from podium.v1.node_session_pb2 import NetworkRecord, NetworkUpdate, ServiceRoute
from tests.support.clock import VirtualClock, settle
from tests.support.waiting import until

FRAME = nft.Frame(pod_cidr="10.64.3.0/24", cluster_cidr="10.64.0.0/10", service_cidr="10.63.0.0/16")


class World:
    """A node's view of the network on a kernel that takes what it is given, takes its time, or refuses."""

    def __init__(self, folder: Path, scope: TaskScope) -> None:
        self.clock, self.refuses, self.ways_fail = VirtualClock(), False, False
        self.takes = asyncio.Event()
        self.takes.set()
        self.asked, self.given = 0, list[str]()
        self.table = PacketTable(self._apply)
        self.table.frame_with(FRAME)
        self.said: list[int] = []
        self.network = ClusterNetwork(
            directory=folder, table=self.table, node="n1", own_address="192.0.2.1", clock=self.clock,
            rules_changed=lambda uid: None,
        )  # fmt: skip
        _ = scope.start(self.network.run(), name="cluster network")

    async def _apply(self, text: str) -> None:
        self.asked += 1
        await self.takes.wait()
        if self.refuses:
            raise nft.Refused("busy")
        self.given.append(text)

    def set_peers(self, *_: object) -> list[str]:
        if self.ways_fail:
            raise OSError("the kernel takes no more routes")
        return []

    def hear(self, sequence: int, *, asked: bool = True, snapshot: bool = False, sticky: bool = False) -> None:
        part = EndpointSlice(ports=[EndpointPort(port=8080, protocol="TCP")])
        part.endpoints.add(addresses=[f"10.64.2.{sequence}"], node_name="n2")
        spec = ServiceSpec(cluster_ip="10.63.0.9", ports=[ServicePort(port=80)])
        if sticky:
            spec.session_affinity = CLIENT_IP_AFFINITY
        route = ServiceRoute(namespace="default", name="web", spec=spec, slices=[part])
        record = NetworkRecord(id="service/default/web", service=route)
        update = NetworkUpdate(snapshot=snapshot, records=[record])
        self.network.take(update, (lambda: self.said.append(sequence)) if asked else None)

    async def says(self, sequence: int) -> None:
        """Wait until this is in force, and nothing later; that earlier things are follows."""
        await until(lambda: self.said[-1:] == [sequence])


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    failures: list[BaseException] = []
    async with TaskScope(on_error=lambda name, error: failures.append(error)) as scope:
        made = World(tmp_path, scope)
        monkeypatch.setattr(peers, "set_peers", made.set_peers)
        yield made
    assert not failures


async def test_what_was_told_is_in_force_once_the_kernel_has_taken_it(world: World) -> None:
    world.takes.clear()
    world.hear(1)
    await until(lambda: world.asked, what="the kernel to be told")
    world.hear(2)
    await settle()
    assert world.said == []
    world.takes.set()
    await world.says(2)
    assert "10.64.2.2" in world.given[-1]


async def test_of_what_is_said_at_once_the_newest_is_answered_and_nothing_that_was_not_asked(world: World) -> None:
    world.hear(1)
    world.hear(2)
    world.hear(3, asked=False)
    await world.says(2)
    world.hear(4, asked=False)
    await until(lambda: "10.64.2.4" in world.given[-1])
    await settle()
    assert world.said == [2]


async def test_clients_that_are_remembered_are_led_elsewhere_before_anything_is_said_to_be_in_force(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgets, allowed = asyncio.Event(), list[object]()

    async def forget(doubted: Leads) -> None:
        allowed[:] = [target for targets in doubted.values() for target in targets]
        await forgets.wait()

    monkeypatch.setattr(affinity, "forget", forget)
    forgets.set()
    world.hear(1, sticky=True)
    await world.says(1)
    forgets.clear()
    world.hear(2, sticky=True)
    await until(lambda: allowed == [("10.64.2.2", 8080)])
    assert world.said == [1]
    forgets.set()
    await world.says(2)


@pytest.mark.parametrize("what", ["refuses", "ways_fail"])
async def test_what_fails_is_not_in_force_until_it_is_tried_again(world: World, what: str) -> None:
    setattr(world, what, True)
    world.hear(1)
    await until(lambda: world.asked)
    await world.clock.advance(0.1)
    assert world.said == []
    assert bool(world.given) == (what == "ways_fail"), "rules do not wait for a way that fails"
    setattr(world, what, False)
    while not world.said:
        await world.clock.advance(RETRY_SECONDS)
    assert world.said == [1]


async def test_nothing_is_in_force_before_the_ranges_are_known(world: World) -> None:
    world.table.frame_with(None)  # type: ignore[arg-type]  # as at the start
    world.hear(1)
    await settle()
    assert world.said == []
    world.table.frame_with(FRAME)
    world.network.again()
    await world.says(1)


async def test_what_an_earlier_run_left_stays_until_a_snapshot_comes_or_a_while_has_passed(world: World) -> None:
    world.table.leave()
    world.hear(1)
    await settle()
    assert (world.given, world.said) == ([], [])
    world.hear(2, snapshot=True)
    await world.says(2)
    world.table.leave()
    world.hear(3)
    await world.clock.advance(UNKNOWN_SECONDS + 0.1)
    await world.says(3)


async def test_a_disk_that_is_lost_ends_nothing_and_has_all_when_it_is_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Path] = []

    def lost(path: Path, data: bytes) -> None:
        tries.append(path)
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr("nodelet.network.cluster.write_atomic", lost)
        world.hear(1)
        await world.says(1)
        await world.clock.advance(KEEP_SECONDS + 0.1)
        await until(lambda: tries, what="a try to write")
        await settle()
    world.hear(2)
    await world.says(2)
    async with asyncio.timeout(10):
        while not tries[0].exists():
            await world.clock.advance(1.0)
    assert NetworkUpdate.FromString(tries[0].read_bytes()).records
