"""Where nodes tell whether they have endpoints of a service, and what they tell."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping

import pytest

from nodelet.network.health_ports import RETRY_SECONDS, HealthPorts, answer, plan_ports
from podium.v1.networking_pb2 import Endpoint, EndpointSlice, ServiceSpec
from podium.v1.node_session_pb2 import ServiceRoute
from tests.support.clock import VirtualClock, settle


def _route(port: int, *endpoints: tuple[str, str, bool], policy: str = "Local", name: str = "web") -> ServiceRoute:
    """Endpoints as (address, node, ready)."""
    spec = ServiceSpec(type="LoadBalancer", external_traffic_policy=policy, health_check_node_port=port)
    made = EndpointSlice()
    for address, node, ready in endpoints:
        endpoint = Endpoint(addresses=[address], node_name=node)
        endpoint.conditions.ready = ready
        made.endpoints.append(endpoint)
    return ServiceRoute(namespace="default", name=name, spec=spec, slices=[made])


@pytest.mark.parametrize(
    ("route", "status", "count"),
    [
        (_route(1, ("10.64.1.2", "n1", True), ("10.64.1.3", "n1", True), ("10.64.2.2", "n2", True)), 200, 2),
        (_route(1, ("10.64.1.2", "n1", False), ("10.64.2.2", "n2", True)), 503, 0),
    ],
)
def test_a_node_tells_of_its_own_endpoints(route: ServiceRoute, status: int, count: int) -> None:
    said = answer(route, "n1")
    assert said.status.value == status
    assert json.loads(said.body) == {"service": {"namespace": "default", "name": "web"}, "localEndpoints": count}


def test_only_services_that_keep_local_have_a_port() -> None:
    services = {"default/a": _route(30001), "default/b": _route(30002, policy="Cluster"), "default/c": _route(0)}
    assert plan_ports(services) == {30001: "default/a"}


class Services:
    """Services by hand."""

    def __init__(self) -> None:
        self.routes: dict[str, ServiceRoute] = {}
        self._listeners: list[Callable[[str], None]] = []

    def on_service(self, listener: Callable[[str], None]) -> None:
        self._listeners.append(listener)

    def service(self, key: str) -> ServiceRoute | None:
        return self.routes.get(key)

    def services(self) -> Mapping[str, ServiceRoute]:
        return self.routes

    def put(self, key: str, route: ServiceRoute | None) -> None:
        self.routes.pop(key, None)
        if route is not None:
            self.routes[key] = route
        for listener in self._listeners:
            listener(key)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def _get(port: int) -> str:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return "closed"
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    status = (await reader.readline()).decode().split()[1]
    writer.close()
    return status


async def test_ports_open_and_close_with_their_services() -> None:
    services, number = Services(), _free_port()
    ports = HealthPorts(services=services, node="n1", clock=VirtualClock(), host="127.0.0.1")
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(ports.run())
        services.put("default/web", _route(number, ("10.64.1.2", "n1", True)))
        await _until(number, "200")
        services.put("default/web", _route(number, ("10.64.2.2", "n2", True)))
        await _until(number, "503")
        services.put("default/web", None)
        await _until(number, "closed")
        running.cancel()


async def test_a_port_that_is_taken_is_tried_again() -> None:
    services, number, clock = Services(), _free_port(), VirtualClock()
    ports = HealthPorts(services=services, node="n1", clock=clock, host="127.0.0.1")
    async with asyncio.TaskGroup() as tasks:
        with socket.create_server(("127.0.0.1", number)):
            running = tasks.create_task(ports.run())
            services.put("default/web", _route(number, ("10.64.1.2", "n1", True)))
            await settle()
        await clock.advance(RETRY_SECONDS)
        await _until(number, "200")
        running.cancel()


async def _until(port: int, status: str) -> None:
    async with asyncio.timeout(10):
        while await _get(port) != status:  # noqa: ASYNC110 - the port belongs to the kernel
            await asyncio.sleep(0.01)
