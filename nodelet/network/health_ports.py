"""Tells balancers outside, service by service, whether this node has endpoints (`healthCheckNodePort`).

A service with `externalTrafficPolicy: Local` is answered only by nodes that have endpoints of it. Who balances over the
nodes asks each at this port (any node answers for itself, over HTTP):

    GET /healthz    200 {"service": {"namespace": "default", "name": "web"}, "localEndpoints": 2}
                    503 the same with 0

Ports open and close as services come and go. One that cannot be had is tried again now and then.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Protocol

from podium.aio.clock import Clock
from podium.errors import Unavailable
from podium.objects.service import takes_connections, wants_health_port
from podium.telemetry.http import Answer, HttpPort
from podium.telemetry.log import get_logger
from podium.telemetry.throttle import Throttle
from podium.v1.node_session_pb2 import ServiceRoute

log = get_logger(__name__)

RETRY_SECONDS = 5.0
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - that is what it is for


class Services(Protocol):
    """Who knows the cluster's services, by `namespace/name`."""

    def on_service(self, listener: Callable[[str], None]) -> None: ...
    def service(self, key: str) -> ServiceRoute | None: ...
    def services(self) -> Mapping[str, ServiceRoute]: ...


def plan_ports(services: Mapping[str, ServiceRoute]) -> dict[int, str]:
    """The ports to answer, and for which service; by name, should two have one."""
    return {
        route.spec.health_check_node_port: key
        for key, route in sorted(services.items(), reverse=True)
        if wants_health_port(route.spec) and route.spec.health_check_node_port
    }


def local_endpoints(route: ServiceRoute, node: str) -> int:
    """How many endpoints of a node take new connections."""
    return len({
        address
        for each in route.slices
        for endpoint in each.endpoints
        if endpoint.node_name == node and takes_connections(endpoint)
        for address in endpoint.addresses
    })  # fmt: skip


def answer(route: ServiceRoute | None, node: str) -> Answer:
    """What is said of a service; None: it is gone."""
    if route is None:
        return Answer(b"no such service\n", HTTPStatus.NOT_FOUND)
    count = local_endpoints(route, node)
    said = {"service": {"namespace": route.namespace, "name": route.name}, "localEndpoints": count}
    status = HTTPStatus.OK if count else HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(f"{json.dumps(said)}\n".encode(), status, "application/json")


class HealthPorts:
    """See the module. `run` is the whole of its use."""

    def __init__(self, *, services: Services, node: str, clock: Clock, host: str = _EVERYWHERE) -> None:
        self._services, self._node, self._clock, self._host = services, node, clock, host
        self._wake = asyncio.Event()
        self._open: dict[int, tuple[str, HttpPort]] = {}
        self._throttle = Throttle(clock, 300.0)
        services.on_service(lambda key: self._wake.set())

    async def run(self) -> None:
        """Answer, for ever."""
        try:
            while True:
                self._wake.clear()
                if not await self._settle():
                    await self._clock.sleep(RETRY_SECONDS)
                    continue
                await self._wake.wait()
        finally:
            for _, port in self._open.values():
                await port.stop()

    async def _settle(self) -> bool:
        """Open and close what is to be; whether all could be had."""
        wanted = plan_ports(self._services.services())
        for number, (key, port) in list(self._open.items()):
            if wanted.get(number) != key:
                await port.stop()
                del self._open[number]
        opened = [await self._try(number, key) for number, key in wanted.items() if number not in self._open]
        return all(opened)

    async def _try(self, number: int, key: str) -> bool:
        async def said() -> Answer:
            return answer(self._services.service(key), self._node)

        port = HttpPort(self._host, number, {"/healthz": said, "/": said})
        try:
            await port.start()
        except Unavailable as error:
            if self._throttle.admit(number) is not None:
                log.warning("cannot tell whether a service has endpoints here", service=key, why=str(error))
            return False
        self._open[number] = key, port
        return True
