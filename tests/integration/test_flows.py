"""Flows that connection tracking would lead to nobody for ever are led anew, in this machine's kernel."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from nodelet.network.cluster import ClusterNetwork
from podium.v1.networking_pb2 import Endpoint, EndpointPort, EndpointSlice, ServicePort, ServiceSpec
from podium.v1.node_session_pb2 import NetworkRecord, NetworkUpdate, ServiceRoute
from tests.support.two_pods import HOST, NOBODY, PODS, PORT, running_network, two_pods
from tests.support.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.skipif(os.getuid() != 0, reason="network namespaces take root")]

ADDRESS = "10.63.0.9"
ONE, TWO = PODS["one"], PODS["two"]


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[ClusterNetwork]:
    async with two_pods(), running_network(tmp_path) as made:
        yield made


@pytest.fixture
def client() -> Iterator[socket.socket]:
    """Asks from one port, as a resolver does that keeps its socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        yield made


def _update(endpoints: dict[str, str]) -> NetworkUpdate:
    """The service has these endpoints: by address, whether it is `ready`, or `ending`."""
    made = EndpointSlice()
    for protocol in ("UDP", "TCP"):
        made.ports.append(EndpointPort(name=protocol.lower(), port=PORT, protocol=protocol))
    for address, state in endpoints.items():
        endpoint = Endpoint(addresses=[address], node_name="n1")
        endpoint.conditions.ready, endpoint.conditions.serving = state == "ready", True
        made.endpoints.append(endpoint)
    ports = [ServicePort(name="udp", port=53, protocol="UDP", node_port=30053), ServicePort(name="tcp", port=80)]
    spec = ServiceSpec(cluster_ip=ADDRESS, ports=ports)
    route = ServiceRoute(namespace="default", name="web", spec=spec, slices=[made])
    return NetworkUpdate(records=[NetworkRecord(id="service/default/web", service=route)])


def _ask(client: socket.socket, place: tuple[str, int]) -> str:
    client.settimeout(0.2)
    try:
        client.sendto(b"who", place)
        return client.recvfrom(99)[0].decode()
    except OSError:
        return ""


async def _until_answered(client: socket.socket, place: tuple[str, int], by: str) -> None:
    await until(lambda: _ask(client, place) == by)


async def _until_led(place: tuple[str, int], to: str) -> None:
    """Wait until who asks for the first time is led there."""
    await until(lambda: _ask_first(place) == to)


def _ask_first(place: tuple[str, int]) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as another:
        return _ask(another, place)


async def test_a_udp_client_keeps_an_endpoint_that_ends_and_leaves_one_that_is_gone(
    network: ClusterNetwork, client: socket.socket
) -> None:
    network.take(_update({ONE: "ready"}))
    await _until_answered(client, (ADDRESS, 53), "one")
    network.take(_update({ONE: "ending", TWO: "ready"}))
    await _until_led((ADDRESS, 53), "two")
    assert _ask(client, (ADDRESS, 53)) == "one", "it still answers"
    network.take(_update({TWO: "ready"}))
    await _until_answered(client, (ADDRESS, 53), "two")


async def test_a_udp_client_of_a_node_port_is_led_to_the_first_endpoint(
    network: ClusterNetwork, client: socket.socket
) -> None:
    network.take(_update({}))
    assert _ask(client, (HOST, 30053)) == ""
    network.take(_update({TWO: "ready"}))
    await _until_answered(client, (HOST, 30053), "two")


async def test_a_udp_flow_of_a_service_that_went_is_led_nowhere(network: ClusterNetwork, client: socket.socket) -> None:
    network.take(_update({ONE: "ready"}))
    await _until_answered(client, (ADDRESS, 53), "one")
    network.take(NetworkUpdate(removed=["service/default/web"]))
    await _until_answered(client, (ADDRESS, 53), "")


async def test_a_connection_that_was_begun_to_nobody_is_made_to_somebody(network: ClusterNetwork) -> None:
    network.take(_update({ONE: "ready"}))
    await _until_led((ADDRESS, 53), "one")
    network.take(_update({NOBODY: "ready"}))
    await _until_led((ADDRESS, 53), "")
    waiting = asyncio.create_task(asyncio.to_thread(_connect))
    await until(_begun)
    network.take(_update({TWO: "ready"}))
    assert await waiting == "two"


def _connect() -> str:
    with socket.create_connection((ADDRESS, 80), timeout=20) as connection:
        return connection.recv(99).decode()


def _begun() -> bool:
    """Whether a connection waits for its first answer (SYN_SENT)."""
    table = Path("/proc/thread-self/net/tcp").read_text().splitlines()
    return any(line.split()[3] == "02" for line in table[1:])
