"""This host's address for other hosts: the source address of the route to a master. Sends nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from podium.telemetry.log import get_logger

log = get_logger(__name__)

RESOLVE_SECONDS = 5.0
_ELSEWHERE = (("192.0.2.1", 9), ("2001:db8::1", 9))
"""Documentation addresses: whatever reaches them is the default route."""


async def node_ip(masters: Sequence[tuple[str, int]]) -> str:
    """By the first master whose name resolves, else by the default route; empty when there is neither."""
    loop = asyncio.get_running_loop()
    for host, port in (*masters, *_ELSEWHERE):
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except (OSError, TimeoutError) as error:
            log.warning("could not resolve a master", master=host, why=str(error))
            continue
        for family, type_, _, _, address in found:
            source = source_address(family, type_, address)
            if source:
                return source
    return ""


def source_address(family: int, type_: int, address: tuple[object, ...]) -> str:
    """The address that packets to `address` would come from; empty without a route, or when it is this host's loop."""
    with socket.socket(family, type_) as probe:
        try:
            probe.connect(address)
            source = str(probe.getsockname()[0])
        except OSError:
            return ""
    return "" if source.startswith("127.") or source == "::1" else source
