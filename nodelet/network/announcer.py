"""Answers on the node's link for addresses of pools, while the master says that this node does.

    master says so  ──►  rules, then the address on `podium0`: the kernel answers ARP for it on every link
                    ──►  gratuitous ARP, several times: no cache leads to the node before any more
    says otherwise, or this node is cut off  ──►  the address is gone

Two nodes must not answer for one address for long. The master gives an address to another node when it has not heard
this one for the lease; then this one has to let go by itself. When that is, is the fence's business
(`nodelet.session.fence`): a node that hears no master, while other nodes do, is cut off, lets go, and answers again
when a master has said so. When most nodes lost their masters together, nobody gives addresses away, and all go on
answering.

The addresses have scope `host`: no connection of the host's own begins from one, and those of an earlier run are known
by it. A nodelet that starts begins with what it knew; one that is gone leaves its addresses to the kernel, which goes
on answering until a nodelet starts or the watchdog lets them go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from nodelet.network.protocol import NetworkFault
from podium.aio.clock import Clock
from podium.telemetry.log import get_logger
from podium.telemetry.throttle import Throttle
from podium.v1.node_session_pb2 import ServiceRoute

log = get_logger(__name__)

LOOK_SECONDS = 1.0
SHOUT_AFTER = (0.0, 1.0, 1.0, 2.0, 4.0)
"""Seconds between one gratuitous ARP and the next; longer than a cut-off node takes to let go."""


class Services(Protocol):
    """Who knows the cluster's services, by `namespace/name`."""

    def on_service(self, listener: Callable[[str], None]) -> None: ...
    def service(self, key: str) -> ServiceRoute | None: ...
    def services(self) -> Mapping[str, ServiceRoute]: ...


class Link(Protocol):
    """Where addresses are answered for."""

    async def answer_for(self, addresses: Collection[str]) -> Collection[str]:
        """Answer for exactly these; returns those that are new.

        Raises: NetworkFault.
        """
        ...

    async def shout(self, addresses: Collection[str]) -> None:
        """Tell everybody on the link.

        Raises: NetworkFault.
        """
        ...


def addresses_of(route: ServiceRoute | None, node: str) -> frozenset[str]:
    """The addresses of a service for which a node answers."""
    return frozenset(route.load_balancer) if route is not None and route.announcer == node else frozenset()


class Announcer:
    """See the module. `run` is the whole of its use.

    Args:
        may: Whether the node is known to its master, as far as it can tell.
    """

    def __init__(
        self, *, services: Services, node: str, link: Link, may: Callable[[], bool], clock: Clock
    ) -> None:  # fmt: skip
        self._services, self._node, self._link, self._may, self._clock = services, node, link, may, clock
        self._wake = asyncio.Event()
        self._of: dict[str, frozenset[str]] = {}
        self._answering: frozenset[str] = frozenset()
        self._throttle = Throttle(clock, 60.0)
        for key in services.services():
            self._changed(key)
        services.on_service(self._changed)

    def _changed(self, key: str) -> None:
        self._of.pop(key, None)
        if mine := addresses_of(self._services.service(key), self._node):
            self._of[key] = mine
        self._wake.set()

    async def run(self) -> None:
        """Answer, for ever; what is answered for stays so when this ends."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_again(), name="look at the node's standing")
            while True:
                await self._wake.wait()
                self._wake.clear()
                if come := await self._settle():
                    tasks.create_task(self._shout(come), name="gratuitous ARP")

    async def _look_again(self) -> None:
        """Being cut off wakes nobody, and addresses may be taken away by others."""
        while True:
            self._wake.set()
            await self._clock.sleep(LOOK_SECONDS)

    async def _settle(self) -> Collection[str]:
        """Answer for what is this node's now; what of it is new."""
        wanted = frozenset[str]().union(*self._of.values()) if self._may() else frozenset[str]()
        try:
            come = await self._link.answer_for(wanted)
        except NetworkFault as fault:
            if self._throttle.admit("answer") is not None:
                log.warning("cannot answer for addresses of pools; trying again", why=str(fault))
            return ()
        if gone := self._answering - wanted:
            log.info("no longer answering for addresses of pools", addresses=sorted(gone), cut_off=not self._may())
        if come:
            log.info("answering for addresses of pools", addresses=sorted(come))
        self._answering = wanted
        return come

    async def _shout(self, come: Collection[str]) -> None:
        for seconds in SHOUT_AFTER:
            await self._clock.sleep(seconds)
            still = self._answering & frozenset(come)
            if not still:
                return
            try:
                await self._link.shout(still)
            except NetworkFault as fault:
                if self._throttle.admit("shout") is not None:
                    log.warning("cannot tell the link of addresses of pools", why=str(fault))
