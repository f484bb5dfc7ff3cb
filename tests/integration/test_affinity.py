"""Session affinity in this machine's kernel: who comes again is led to where it was."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
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
CLIENTS = [f"198.51.100.{n}" for n in range(1, 11)]


@pytest.fixture
async def node() -> AsyncIterator[None]:
    async with two_pods():
        for address in CLIENTS:
            await asyncio.to_thread(subprocess.run, ["ip", "addr", "add", f"{address}/32", "dev", "lo"], check=True)
        yield


def _update(endpoints: Mapping[str, str], seconds: int = 100) -> NetworkUpdate:
    """The service has these endpoints: by address, whether it is `ready`, or `ending`."""
    made = EndpointSlice(ports=[EndpointPort(port=PORT, protocol="TCP")])
    for address, state in endpoints.items():
        endpoint = Endpoint(addresses=[address], node_name="n1")
        endpoint.conditions.ready, endpoint.conditions.serving = state == "ready", True
        made.endpoints.append(endpoint)
    spec = ServiceSpec(cluster_ip=ADDRESS, ports=[ServicePort(port=80, node_port=30080)], session_affinity="ClientIP")
    spec.session_affinity_config.client_ip.timeout_seconds = seconds
    route = ServiceRoute(namespace="default", name="web", spec=spec, slices=[made])
    return NetworkUpdate(records=[NetworkRecord(id="service/default/web", service=route)])


BOTH = {ONE: "ready", TWO: "ready"}


def _ask(client: str, place: tuple[str, int] = (ADDRESS, 80)) -> str:
    try:
        with socket.create_connection(place, timeout=2, source_address=(client, 0)) as connection:
            return connection.recv(99).decode()
    except OSError:
        return ""


def _who(place: tuple[str, int] = (ADDRESS, 80)) -> dict[str, str]:
    return {client: _ask(client, place) for client in CLIENTS}


def _rules() -> str:
    return subprocess.run(["nft", "list", "table", "ip", "podium"], check=False, capture_output=True, text=True).stdout


async def _in_force(network: ClusterNetwork, update: NetworkUpdate, chain: str) -> None:
    network.take(update)
    await until(lambda: f"goto tcp_{chain}" in _rules())


async def test_clients_stay_when_endpoints_come_and_leave_those_that_go(node: None, tmp_path: Path) -> None:
    async with running_network(tmp_path) as network:
        await _in_force(network, _update(BOTH), "a2")
        first = _who()
        assert set(first.values()) == {"one", "two"}
        await _in_force(network, _update({**BOTH, NOBODY: "ready"}), "a3")
        assert _who() == first, "nobody moves to the new one"
        await _in_force(network, _update({ONE: "ending", TWO: "ready"}), "a1")
        await until(lambda: f": {ONE} . " not in _rules(), what="what was learned of it is given up")
        assert set(_who().values()) == {"two"}
        await _in_force(network, _update(BOTH), "a2")
        assert set(_who().values()) == {"two"}, "they stay where they are by now"
    async with running_network(tmp_path) as anew:
        await _in_force(anew, _update(BOTH), "a2")
        assert set(_who().values()) == {"two"}, "a nodelet that starts keeps what its table had learned"


async def test_a_client_that_does_not_come_is_forgotten(node: None, tmp_path: Path) -> None:
    async with running_network(tmp_path) as network:
        await _in_force(network, _update(BOTH, seconds=2), "a2")
        first = _who()
        await _in_force(network, _update({TWO: "ready"}, seconds=2), "a1")
        await until(lambda: set(_who().values()) == {"two"})
        await _in_force(network, _update(BOTH, seconds=2), "a2")
        assert set(_who().values()) == {"two"}
        await until(lambda: "expires" not in _rules(), what="their time is over")
        assert _who() == first, "they are new again, and chosen for as at first"


async def test_clients_of_node_ports_are_remembered_too(node: None, tmp_path: Path) -> None:
    place = (HOST, 30080)
    async with running_network(tmp_path) as network:
        await _in_force(network, _update({TWO: "ready"}), "node_a1")
        assert set(_who(place).values()) == {"two"}
        await _in_force(network, _update(BOTH), "node_a2")
        assert set(_who(place).values()) == {"two"}
        await _in_force(network, _update({ONE: "ready"}), "node_a1")
        await until(lambda: set(_who(place).values()) == {"one"})
        network.take(NetworkUpdate(removed=["service/default/web"]))
        await until(lambda: "expires" not in _rules(), what="what was learned goes with its service")
