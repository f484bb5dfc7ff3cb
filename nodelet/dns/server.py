"""The node's DNS server, at the node's own address of the pod range: every pod asks the node that it is on.

An answer is put together once and kept under its question: asked again, it costs a look into a dictionary. When a
service changes, what is kept of its names is forgotten, so a record is right as soon as the node has heard of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import cast

from prometheus_client import Counter

from nodelet.dns import wire
from nodelet.dns.kept import Kept
from nodelet.dns.upstream import Upstream
from nodelet.dns.zone import Answer, Zone
from podium.aio.tasks import TaskScope
from podium.telemetry.log import get_logger
from podium.v1.node_session_pb2 import ServiceRoute

log = get_logger(__name__)

QUERIES = Counter("podium_nodelet_dns_queries", "Names asked of this node.", ["answered_by"])

MOST_FORWARDED = 512
"""Questions for others that may be under way; beyond, a client is told to try again."""
TCP_SECONDS = 10.0
_BACKLOG = 128


class DnsServer:
    """See the module."""

    def __init__(self, *, zone: Zone, upstream: Upstream) -> None:
        self._zone, self._upstream = zone, upstream
        self._kept = Kept()
        self._forwarded = 0
        self._scope = TaskScope(lambda name, error: log.error("task failed", task=name, error=error))
        self._of_cluster, self._of_others = QUERIES.labels("cluster"), QUERIES.labels("upstream")
        self._again = QUERIES.labels("memory")

    def put(self, key: str, route: ServiceRoute | None) -> None:
        """A service (`namespace/name`) came or changed; None: it went."""
        self._kept.forget(self._zone.put(key, route))

    def serve(self, zone: Zone) -> None:
        """Answer from another zone from now on."""
        self._zone = zone
        self._kept.clear()

    async def run(self, address: str, port: int = 53) -> None:
        """Serve at an address until cancelled.

        Raises:
            OSError: The address cannot be used.
        """
        loop = asyncio.get_running_loop()
        async with self._scope, contextlib.AsyncExitStack() as stack:
            transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), sock=_socket(address, port))
            stack.callback(transport.close)
            tcp = await asyncio.start_server(self._serve_tcp, address, port, backlog=_BACKLOG)
            stack.callback(tcp.close)
            log.info("answers names", address=address, port=port, domain=self._zone.domain)
            await loop.create_future()

    # ------------------------------------------------------------ over UDP

    def datagram(self, data: bytes, addr: tuple[str, int], transport: asyncio.DatagramTransport) -> None:
        """Answer one datagram."""
        kept = self._kept.answer(data)
        if kept is not None:
            self._again.inc()
            transport.sendto(kept, addr)
            return
        query = wire.read(data)
        if query is None:
            return
        found = self._zone.answer(query.name, query.type)
        if found is not None and not found.onward:
            fitting = wire.fitting(self._own(query, found), query)
            if not _is_alias(found):  # such an answer is right until other names change, too
                self._kept.keep(data, query.name, fitting)
            transport.sendto(fitting, addr)
        elif self._forwarded >= MOST_FORWARDED:
            transport.sendto(wire.failure(query), addr)
        else:
            _ = self._scope.start(self._forward(data, query, found, addr, transport), name="forward a query")

    async def _forward(
        self, data: bytes, query: wire.Query, found: Answer | None, addr: tuple[str, int],
        transport: asyncio.DatagramTransport,
    ) -> None:  # fmt: skip
        answer = await self._others(data, query, found)
        if not transport.is_closing():
            transport.sendto(wire.fitting(answer, query), addr)

    # ------------------------------------------------------------ over TCP

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TCP_SECONDS):
                while True:
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(length)
                    query = wire.read(data)
                    if query is None:
                        return
                    answer = await self._any(data, query)
                    writer.write(len(answer).to_bytes(2, "big") + answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            return  # the client has what it wanted, or has gone
        finally:
            writer.close()

    # ------------------------------------------------------------ answers

    async def _any(self, data: bytes, query: wire.Query) -> bytes:
        found = self._zone.answer(query.name, query.type)
        if found is not None and not found.onward:
            return self._own(query, found)
        return await self._others(data, query, found)

    def _own(self, query: wire.Query, found: Answer) -> bytes:
        self._of_cluster.inc()
        return wire.failure(query) if found.endless else wire.answer(query, found, self._zone.domain)

    async def _others(self, data: bytes, query: wire.Query, found: Answer | None) -> bytes:
        """What others say of the name, or of the one that it stands for. That the latter cannot be asked is told as a
        failure, so that who asks tries again: an alias alone would be taken for the whole answer."""
        self._of_others.inc()
        self._forwarded += 1
        try:
            if found is None:
                return await self._upstream.ask(data) or wire.failure(query)
            told = await self._upstream.ask(wire.question(found.onward, query))
            return wire.completed(query, found, told) if told is not None else wire.failure(query)
        finally:
            self._forwarded -= 1


def _is_alias(found: Answer) -> bool:
    return any(record.type == "CNAME" for record in found.records)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None and len(data) >= 12:
            self._server.datagram(data, addr, self._transport)

    def error_received(self, exc: Exception) -> None:
        log.debug("a client could not be answered", why=str(exc))


def _socket(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made
