"""The packet table in this machine's kernel: `nft` takes every difference, and what is gone is noticed."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator

import pytest

from nodelet.network import nft
from nodelet.network.isolation import Forward, pod_part, set_part
from nodelet.network.packet_table import PacketTable
from nodelet.network.services import service_part
from nodelet.network.table import NOTHING
from podium.v1.networking_pb2 import Endpoint, EndpointPort, EndpointSlice, ServicePort, ServiceSpec, TrafficSplit
from podium.v1.node_session_pb2 import PodRules, PortRange, ServiceRoute
from tests.support.own_network import own_network

pytestmark = [pytest.mark.docker, pytest.mark.skipif(os.getuid() != 0, reason="network namespaces take root")]

CLUSTER = "10.64.0.0/12"
FRAME = nft.Frame(pod_cidr="10.64.3.0/24", cluster_cidr=CLUSTER, service_cidr="10.63.0.0/16")


@pytest.fixture
async def network() -> AsyncIterator[None]:
    async with own_network():
        yield


def _nft(*words: str) -> str:
    return subprocess.run(["nft", *words], check=True, timeout=20, capture_output=True, text=True).stdout


class Taken:
    """Hands texts to nft, and remembers them."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def __call__(self, text: str) -> None:
        self.texts.append(text)
        await nft.apply(text)

    @property
    def whole(self) -> int:
        """How often the table was set as a whole."""
        return sum("delete table" in text for text in self.texts)


def _route(endpoints: int, protocol: str = "TCP", **spec: object) -> ServiceRoute:
    ports = [ServicePort(name="a", port=80, protocol=protocol, node_port=30080)]
    found = [Endpoint(addresses=[f"10.64.{n // 250}.{n % 250 + 1}"], node_name="n1") for n in range(endpoints)]
    slices = [EndpointSlice(ports=[EndpointPort(name="a", port=8080, protocol=protocol)], endpoints=found)]
    made: dict[str, object] = {"cluster_ip": "10.63.0.9", "ports": ports, **spec}
    return ServiceRoute(namespace="default", name="web", slices=slices, spec=ServiceSpec(**made))  # type: ignore[arg-type]


def _rules() -> PodRules:
    rules = PodRules(uid="a")
    rule = rules.ingress.rules.add(policy="default/web", sets=["selected/1"])
    rule.blocks.add(cidr="192.0.2.0/24", excluded=["192.0.2.7/32"])
    rule.ports.append(PortRange(protocol="TCP", first=80))
    rule.ports.append(PortRange(protocol="UDP", first=100, last=200))
    rules.egress.rules.add(policy="default/web").ports.append(PortRange(protocol="TCP"))
    return rules


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("affinity", ["None", "ClientIP"])
async def test_every_number_of_endpoints_is_a_difference_that_the_kernel_takes(
    network: None, protocol: str, affinity: str
) -> None:
    taken = Taken()
    table = PacketTable(taken)
    table.frame_with(FRAME)
    for count in (0, 1, 2, 5, 2, 300, 1, 0):
        route = _route(count, protocol, session_affinity=affinity, external_ips=["192.0.2.9"])
        table.say("service/default/web", service_part(route, "n1"))
        await table.tell()
    assert taken.whole == 1, "only at first"
    assert len(taken.texts) == 8


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("affinity", ["None", "ClientIP"])
async def test_every_weight_of_a_canary_is_a_difference_that_the_kernel_takes(
    network: None, protocol: str, affinity: str
) -> None:
    taken = Taken()
    table = PacketTable(taken)
    table.frame_with(FRAME)
    for weight in (None, 0, 1, 10, 99, 100, 10, None):
        route = _route(300, protocol, session_affinity=affinity, external_ips=["192.0.2.9"])
        for number, endpoint in enumerate(route.slices[0].endpoints):
            if weight is not None and number < 200:
                endpoint.split.CopyFrom(TrafficSplit(deployment="web", canary=number < 7, weight=weight))
        table.say("service/default/web", service_part(route, "n1"))
        await table.tell()
    assert taken.whole == 1, "only at first"
    assert len(taken.texts) == 8
    assert f"{protocol.lower()}_w" not in await asyncio.to_thread(_nft, "list", "chains", "ip"), "what is over is gone"


async def test_pods_sets_and_policies_are_differences_that_the_kernel_takes(network: None) -> None:
    taken = Taken()
    table = PacketTable(taken)
    table.frame_with(FRAME)
    await table.tell()
    forward = Forward(protocol="UDP", host_port=53, host_ip="192.0.2.1", address="10.64.3.2", port=5353)
    for rules in (None, _rules(), None):
        table.say("pod/a", pod_part("10.64.3.2", "default", (forward,), CLUSTER, rules))
        await table.tell()
    table.say("selected/1", set_part("selected/1", ["10.64.1.2", "10.64.1.3"]))
    await table.tell()
    for owner in ("pod/a", "selected/1"):
        table.say(owner, NOTHING)
    await table.tell()
    assert taken.whole == 1, "only at first"
    assert len(taken.texts) == 6


async def test_a_table_that_somebody_removed_is_noticed_and_set_anew(network: None) -> None:
    taken = Taken()
    table = PacketTable(taken)
    table.frame_with(FRAME)
    table.say("service/default/web", service_part(_route(2), "n1"))
    await table.tell()
    await table.look()
    await table.tell()
    assert taken.whole == 1, "it is there"
    await asyncio.to_thread(_nft, "flush", "ruleset")
    await table.look()
    await table.tell()
    assert taken.whole == 2
    assert "goto tcp_n2" in await asyncio.to_thread(_nft, "list", "map", "ip", "podium", "services")


async def test_who_asks_a_name_while_nobody_answers_is_not_refused_but_asks_again(network: None) -> None:
    table = PacketTable()
    table.frame_with(FRAME)
    await table.tell()
    for words in ("addr add 10.64.3.1/32 dev lo", "link set lo up"):
        await asyncio.to_thread(subprocess.run, ["ip", *words.split()], check=True, timeout=20)

    def ask(port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.5)
            asking.connect(("10.64.3.1", port))
            asking.send(b"who is there")
            asking.recv(512)

    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(ask, 54)
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(ask, 53)
