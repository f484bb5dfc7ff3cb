"""Keeps the zone in step with the cluster's services, and the server at the node's own address, wherever that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from nodelet.dns.server import DnsServer
from nodelet.dns.zone import Zone
from podium.aio.backoff import Backoff
from podium.aio.clock import Clock
from podium.telemetry.log import get_logger
from podium.v1.node_session_pb2 import ServiceRoute

log = get_logger(__name__)

RETRY = Backoff(initial=0.2, maximum=10.0)


class Services(Protocol):
    """Who knows the cluster's services, by `namespace/name`."""

    def on_service(self, listener: Callable[[str], None]) -> None: ...
    def service(self, key: str) -> ServiceRoute | None: ...
    def services(self) -> Mapping[str, ServiceRoute]: ...


class Place(Protocol):
    """Who knows where this node answers names, and for which domain."""

    @property
    def domain(self) -> str: ...
    async def gateway_after(self, old: str) -> str: ...


class ClusterNames:
    """See the module. `run` is the whole of its use."""

    def __init__(self, *, server: DnsServer, services: Services, place: Place, clock: Clock) -> None:
        self._server, self._services, self._place, self._clock = server, services, place, clock
        services.on_service(self._changed)

    def _changed(self, key: str) -> None:
        self._server.put(key, self._services.service(key))

    async def run(self) -> None:
        """Serve names, for ever; at another address when the node gets one."""
        address = await self._place.gateway_after("")
        while True:
            self._fill(self._place.domain)
            async with asyncio.TaskGroup() as tasks:
                serving = tasks.create_task(self._serve(address), name="dns")
                address = await self._place.gateway_after(address)
                serving.cancel()

    def _fill(self, domain: str) -> None:
        zone = Zone(domain)
        for key, route in self._services.services().items():
            zone.put(key, route)
        self._server.serve(zone)

    async def _serve(self, address: str) -> None:
        failures = 0
        while True:
            try:
                await self._server.run(address)
            except OSError as error:
                failures += 1
                log.warning("cannot answer names; trying again", address=address, why=str(error), failures=failures)
            await self._clock.sleep(RETRY.delay(failures))
