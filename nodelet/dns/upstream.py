"""Names that are not the cluster's: asked of the host's own resolvers, and remembered for as long as they say.

Each question goes out from a socket of its own, so with a port that nobody can guess, under a random id; only an answer
from the address that was asked is looked at. A question that is on its way is not asked twice.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nodelet import resolv_conf
from nodelet.dns import wire
from podium.aio.clock import Clock
from podium.telemetry.log import get_logger
from podium.telemetry.throttle import Throttle

log = get_logger(__name__)

TIMEOUT = 2.0
PORT = 53
REMEMBERED = 4096
LONGEST = 30
"""Seconds; a name that moves must not stay where it was for long."""


class _Remembered(NamedTuple):
    """An answer without its id, from when to when it is given to others, and where its lifetimes stand."""

    since: float
    until: float
    answer: bytes
    lifetimes: Sequence[int]


def resolvers(text: str, own: Sequence[str] = ()) -> list[str]:
    """The servers of a resolv.conf(5), less this node's own."""
    found = (server.partition("%")[0] for server in resolv_conf.parse(text).servers)
    return [server for server in dict.fromkeys(found) if server not in own]


class Upstream:
    """See the module."""

    def __init__(self, *, clock: Clock, resolv_conf: Path = Path("/etc/resolv.conf"), own: Sequence[str] = (),
                 port: int = PORT) -> None:  # fmt: skip
        self._clock, self._file, self._own, self._port = clock, resolv_conf, own, port
        self._cache: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._asking: dict[bytes, asyncio.Future[bytes | None]] = {}
        self._throttle = Throttle(clock, 60.0)

    async def ask(self, query: bytes) -> bytes | None:
        """The answer to a query, under the query's id; None when no server gives one."""
        question = query[2:]
        kept = self._cache.get(question)
        now = self._clock.monotonic()
        if kept is not None and kept.until > now:
            return wire.aged(query[:2] + kept.answer, kept.lifetimes, int(now - kept.since))
        asking = self._asking.get(question)
        if asking is None:
            asking = self._asking[question] = asyncio.get_running_loop().create_future()
            try:
                asking.set_result(await self._ask_all(query))
            except asyncio.CancelledError:
                asking.set_result(None)
                raise
            finally:
                del self._asking[question]
        answer = await asking
        return None if answer is None else query[:2] + answer

    async def _ask_all(self, query: bytes) -> bytes | None:
        text = await asyncio.to_thread(self._file.read_text)
        servers = resolvers(text, self._own)
        for server in servers:
            try:
                async with asyncio.timeout(TIMEOUT):
                    answer = await self._ask_one(query, server)
            except (OSError, TimeoutError) as error:
                if self._throttle.admit(server) is not None:
                    log.warning("a resolver does not answer", server=server, why=str(error) or "timed out")
                continue
            self._remember(query[2:], answer[2:])
            return answer[2:]
        return None

    async def _ask_one(self, query: bytes, server: str) -> bytes:
        loop = asyncio.get_running_loop()
        id_ = secrets.token_bytes(2)
        transport, protocol = await loop.create_datagram_endpoint(
            lambda: _Asking(id_, loop.create_future()), remote_addr=(server, self._port)
        )
        try:
            transport.sendto(id_ + query[2:])
            answer = await protocol.answer
        finally:
            transport.close()
        if answer[2] & 0x02:  # cut: there is more to be had over TCP
            return await self._ask_over_tcp(id_ + query[2:], server)
        return answer

    async def _ask_over_tcp(self, query: bytes, server: str) -> bytes:
        reader, writer = await asyncio.open_connection(server, self._port)
        try:
            writer.write(len(query).to_bytes(2, "big") + query)
            await writer.drain()
            length = int.from_bytes(await reader.readexactly(2), "big")
            return await reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise OSError("the connection ended early") from error
        finally:
            writer.close()

    def _remember(self, question: bytes, answer: bytes) -> None:
        whole = b"\0\0" + answer
        ttl = wire.least_ttl(whole)
        if not ttl:
            return
        now = self._clock.monotonic()
        self._cache[question] = _Remembered(now, now + min(ttl, LONGEST), answer, wire.lifetimes(whole))
        self._cache.move_to_end(question)
        if len(self._cache) > REMEMBERED:
            self._cache.popitem(last=False)


class _Asking(asyncio.DatagramProtocol):
    def __init__(self, id_: bytes, answer: asyncio.Future[bytes]) -> None:
        self._id, self.answer = id_, answer

    def datagram_received(self, data: bytes, addr: object) -> None:
        if len(data) >= 12 and data[:2] == self._id and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)
