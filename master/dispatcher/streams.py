"""The broker of streams into pods: a caller's call and the stream that the pod's nodelet opens, joined.

The master never dials a node. `open` sends OpenStream over the node's session; the nodelet answers by opening
NodeSession.Stream with the id, which `accept` hands to the waiting caller. From there frames are passed on one at a
time each way, so a slow side slows the other and nothing piles up here.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import Counter, Gauge

from podium.aio.link import Link, LinkClosed
from podium.aio.tasks import TaskScope
from podium.errors import NotFound, Unavailable
from podium.telemetry.log import get_logger
from podium.v1.node_session_pb2 import OpenStream
from podium.v1.pods_service_pb2 import StreamFrame

log = get_logger(__name__)

FrameLink = Link[StreamFrame, StreamFrame]

OPEN_SECONDS = 10.0
LAST_FRAMES = frozenset({"exit", "close", "error"})

OPEN = Gauge("podium_master_streams", "Streams into pods that are open now.")
FAILED = Counter("podium_master_streams_failed_total", "Streams into pods that could not be opened.")


class StreamOpener(Protocol):
    """A node's session, as the broker sees it."""

    def open_stream(self, request: OpenStream) -> None: ...


@dataclass(slots=True, eq=False)
class _Expected:
    """A stream that a nodelet was asked for. `over`: the caller needs it no more. `gone`: the nodelet's side ended."""

    node: str
    link: asyncio.Future[FrameLink]
    over: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class StreamBroker:
    """See the module. `session_of` finds the session of a node."""

    def __init__(self, session_of: Callable[[str], StreamOpener | None], *, open_seconds: float = OPEN_SECONDS) -> None:
        self._session_of = session_of
        self._open_seconds = open_seconds
        self._expected: dict[str, _Expected] = {}

    async def relay(self, node: str, first: StreamFrame, caller: FrameLink) -> None:
        """Open a stream on `node` with the caller's first frame, and pass frames until the node ends it.

        Raises:
            Unavailable: The node is away, does not answer, or went away in between.
        """
        async with self._opened(node, first) as (link, expected):
            await self._splice(node, caller, link, expected)

    async def accept(self, node: str, stream_id: str, link: FrameLink) -> None:
        """A nodelet opened a stream; returns when it is over.

        Raises:
            NotFound: Nobody waits for it (any more), or another node was asked.
        """
        expected = self._expected.get(stream_id)
        if expected is None or expected.node != node or expected.link.done():
            raise NotFound("no such stream: its caller has gone")
        expected.link.set_result(link)
        try:
            await expected.over.wait()
        finally:
            expected.gone.set()

    @asynccontextmanager
    async def _opened(self, node: str, first: StreamFrame) -> AsyncIterator[tuple[FrameLink, _Expected]]:
        session = self._session_of(node)
        if session is None:
            FAILED.inc()
            raise Unavailable(
                f"node {node} is not connected to this master; its pods can't be reached until it is back"
            )
        stream_id = secrets.token_hex(16)
        expected = _Expected(node, asyncio.get_running_loop().create_future())
        self._expected[stream_id] = expected
        session.open_stream(OpenStream(stream_id=stream_id, open=first))
        OPEN.inc()
        try:
            yield await self._answer(node, expected), expected
        finally:
            OPEN.dec()
            del self._expected[stream_id]
            expected.over.set()

    async def _answer(self, node: str, expected: _Expected) -> FrameLink:
        try:
            async with asyncio.timeout(self._open_seconds):
                return await expected.link
        except TimeoutError:
            FAILED.inc()
            raise Unavailable(f"node {node} did not open the stream within {self._open_seconds:g} s") from None

    async def _splice(self, node: str, caller: FrameLink, link: FrameLink, expected: _Expected) -> None:
        """Pass frames until the node's side has ended. The caller's end of data becomes a `close` frame."""
        async with TaskScope(on_error=lambda name, error: None) as pumps:
            down = pumps.start(_pump_down(link, caller), name="frames to the caller")
            _ = pumps.start(_pump_up(caller, link), name="frames to the node")
            gone = pumps.start(expected.gone.wait(), name="the node's side of the stream")
            await asyncio.wait({down, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not down.done():
                raise Unavailable(f"node {node} went away while the stream was open")
        try:
            whole = down.result()
        except LinkClosed as error:
            raise Unavailable(f"the stream with node {node} broke: {error}") from error
        if not whole:
            raise Unavailable(f"the stream with node {node} was cut")


async def _pump_down(node: FrameLink, caller: FrameLink) -> bool:
    """Pass frames to the caller; whether the last one said that it is the last."""
    last = ""
    while (frame := await node.receive()) is not None:
        last = frame.WhichOneof("frame") or ""
        await caller.send(frame)
    return last in LAST_FRAMES


async def _pump_up(caller: FrameLink, node: FrameLink) -> None:
    try:
        while (frame := await caller.receive()) is not None:
            await node.send(frame)
        await node.send(StreamFrame(close=True))
    except LinkClosed as error:
        log.debug("a stream's caller or node has gone", error_message=str(error))
