"""Streams into pods, served: logs, exec, attach, port-forward, copy.

When the master asks, the nodelet opens a stream to it and serves one call there, against the narrow Protocols that a
runtime may implement (`Exec`, `Logs`, `Archives`). Every call is two flows, output up and input down, and each waits
for the other side: nothing is read from a container faster than the caller takes it. How a call failed is its last
frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from google.rpc import code_pb2
from prometheus_client import Gauge

from nodelet.runtime.protocol import (
    Archives,
    ContainerRecord,
    Exec,
    ExecStream,
    Logs,
    Runtime,
    RuntimeDown,
    RuntimeFault,
    State,
)
from nodelet.session import forward
from podium.aio.link import Link, LinkClosed
from podium.aio.tasks import TaskScope
from podium.errors import BadRequest, Conflict, NotFound, PodiumError, Unavailable
from podium.objects.meta import to_datetime
from podium.telemetry.log import get_logger
from podium.v1.node_session_pb2 import OpenStream
from podium.v1.pods_service_pb2 import (
    AttachRequest,
    CopyRequest,
    ExecRequest,
    ExitStatus,
    LogsRequest,
    PodKey,
    PortForwardRequest,
    StreamError,
    StreamFrame,
)

log = get_logger(__name__)

FrameLink = Link[StreamFrame, StreamFrame]
Dial = Callable[[str], Awaitable[FrameLink]]

CHUNK_BYTES = 64 * 1024
EXIT_SECONDS = 5.0

OPEN = Gauge("podium_nodelet_streams", "Streams into pods that are open now.")


class Streams:
    """Implements the session's StreamServer. `dial` opens the stream of an id; tasks belong to `scope`."""

    def __init__(self, *, runtime: Runtime, dial: Dial, scope: TaskScope) -> None:
        self._runtime, self._dial, self._scope = runtime, dial, scope

    def open(self, request: OpenStream) -> None:
        """Serve a stream; returns at once."""
        task = self._scope.start(self._serve(request), name=f"stream {request.stream_id}")
        OPEN.inc()
        task.add_done_callback(lambda _: OPEN.dec())

    async def _serve(self, request: OpenStream) -> None:
        try:
            link = await self._dial(request.stream_id)
        except LinkClosed as error:
            log.warning("could not open a stream to the master", why=str(error))
            return
        try:
            await self._serve_on(link, request.open)
            await link.finish()
        except LinkClosed as error:
            log.debug("the caller of a stream has gone", why=str(error))
        finally:
            await link.close()

    async def _serve_on(self, link: FrameLink, first: StreamFrame) -> None:
        try:
            await self._call(link, first)
        except PodiumError as error:
            await link.send(StreamFrame(error=StreamError(code=error.code, message=error.message)))
        except RuntimeFault as fault:
            code = code_pb2.UNAVAILABLE if isinstance(fault, RuntimeDown) else code_pb2.FAILED_PRECONDITION
            await link.send(StreamFrame(error=StreamError(code=code, message=fault.message)))

    async def _call(self, link: FrameLink, first: StreamFrame) -> None:
        match first.WhichOneof("frame"):
            case "logs":
                await self._logs(link, first.logs)
            case "exec":
                await self._exec(link, first.exec)
            case "attach":
                await self._attach(link, first.attach)
            case "port_forward":
                await self._forward(link, first.port_forward)
            case "copy":
                await self._copy(link, first.copy)
            case other:
                raise BadRequest(f"a stream can't begin with frame {other}")

    # ------------------------------------------------------------ logs

    async def _logs(self, link: FrameLink, request: LogsRequest) -> None:
        runtime = self._runtime
        if not isinstance(runtime, Logs):
            raise _unable("logs")
        record = await self._container(request.pod, previous=request.previous)
        pieces = runtime.logs(
            record.id,
            follow=request.follow,
            tail=request.tail_lines if request.HasField("tail_lines") else None,
            since=to_datetime(request.since_time) if request.HasField("since_time") else None,
            timestamps=request.timestamps,
        )
        limit = request.limit_bytes if request.HasField("limit_bytes") else None
        await _both(_copy_logs(link, pieces, limit), _until_closed(link))
        await link.send(StreamFrame(close=True))

    # ------------------------------------------------------------ processes

    async def _exec(self, link: FrameLink, request: ExecRequest) -> None:
        if not request.command:
            raise BadRequest("exec needs a command")
        runtime = self._runtime
        if not isinstance(runtime, Exec):
            raise _unable("exec")
        record = await self._running(request.pod)
        process = await runtime.exec(record.id, request.command, stdin=request.stdin, tty=request.tty)
        if request.tty and request.size.width:
            await process.resize(request.size.width, request.size.height)
        await self._process(link, process)

    async def _attach(self, link: FrameLink, request: AttachRequest) -> None:
        runtime = self._runtime
        if not isinstance(runtime, Exec):
            raise _unable("attach")
        record = await self._running(request.pod)
        process = await runtime.attach(record.id, stdin=request.stdin)
        if request.size.width:
            await process.resize(request.size.width, request.size.height)
        await self._process(link, process)

    async def _process(self, link: FrameLink, process: ExecStream) -> None:
        try:
            await _both(_copy_output(link, process), _feed_process(link, process))
        finally:
            await process.close()

    # ------------------------------------------------------------ port-forward

    async def _forward(self, link: FrameLink, request: PortForwardRequest) -> None:
        path = await self._netns(request.pod)
        try:
            reader, writer = await forward.connect(path, request.port)
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"can't connect to port {request.port} in pod {request.pod.name}: {error}") from error
        try:
            await _both(_copy_socket(link, reader), _feed_socket(link, writer))
        except ConnectionError as error:
            raise Unavailable(f"the connection to port {request.port} broke: {error}") from error
        finally:
            writer.close()

    async def _netns(self, key: PodKey) -> str:
        listing = await self._runtime.pod_listing(key.uid)
        for sandbox in sorted(listing.sandboxes, key=lambda s: s.attempt, reverse=True):
            if sandbox.state is State.RUNNING and sandbox.netns_path:
                return sandbox.netns_path
        raise Conflict(f"pod {key.name} has no running sandbox on this node")

    # ------------------------------------------------------------ copy

    async def _copy(self, link: FrameLink, request: CopyRequest) -> None:
        runtime = self._runtime
        if not isinstance(runtime, Archives):
            raise _unable("copy")
        record = await self._container(request.pod)
        if request.upload:
            await runtime.write_archive(record.id, request.path, _data(link))
        else:
            async for data in runtime.read_archive(record.id, request.path):
                await _send_output(link, 1, data)
        await link.send(StreamFrame(exit=ExitStatus(code=0)))

    # ------------------------------------------------------------ which container

    async def _container(self, key: PodKey, *, previous: bool = False) -> ContainerRecord:
        listing = await self._runtime.pod_listing(key.uid)
        runs = sorted((c for c in listing.containers if c.name == key.container), key=lambda c: c.attempt)
        if previous:
            runs = runs[:-1]
        if not runs:
            which = "previous run of " if previous else ""
            raise NotFound(f'no {which}container "{key.container}" of pod {key.name} on this node')
        return runs[-1]

    async def _running(self, key: PodKey) -> ContainerRecord:
        record = await self._container(key)
        if record.state is not State.RUNNING:
            raise Conflict(f'container "{key.container}" of pod {key.name} is not running')
        return record


def _unable(what: str) -> Conflict:
    return Conflict(f"this node's container runtime can't do {what}")


async def _send_output(link: FrameLink, stream: int, data: bytes) -> None:
    for start in range(0, len(data), CHUNK_BYTES):
        piece = data[start : start + CHUNK_BYTES]
        await link.send(StreamFrame(stderr=piece) if stream == 2 else StreamFrame(data=piece))


async def _copy_logs(link: FrameLink, pieces: AsyncIterator[tuple[int, bytes]], limit: int | None) -> None:
    async for stream, data in pieces:
        piece = data if limit is None else data[:limit]
        await _send_output(link, stream, piece)
        limit = None if limit is None else limit - len(piece)
        if limit == 0:
            return


async def _copy_output(link: FrameLink, process: ExecStream) -> None:
    async for stream, data in process.output():
        await _send_output(link, stream, data)
    try:
        async with asyncio.timeout(EXIT_SECONDS):
            code = await process.exit_code()
    except TimeoutError:
        raise Unavailable("the process has ended, but the runtime does not tell how") from None
    await link.send(StreamFrame(exit=ExitStatus(code=code)))


async def _copy_socket(link: FrameLink, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(CHUNK_BYTES):
        await link.send(StreamFrame(data=data))
    await link.send(StreamFrame(close=True))


async def _both(work: Coroutine[Any, Any, None], feed: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end with `feed` beside it. A caller that went away ends it; untaken input does not."""
    async with TaskScope(on_error=lambda name, error: None) as scope:
        main = scope.start(work, name="stream output")
        side = scope.start(feed, name="stream input")
        await asyncio.wait({main, side}, return_when=asyncio.FIRST_COMPLETED)
        if not main.done() and isinstance(gone := side.exception(), LinkClosed):
            raise gone
        await asyncio.wait({main})
        main.result()


async def _until_closed(link: FrameLink) -> None:
    while await link.receive() is not None:
        continue
    raise LinkClosed("the caller has gone")


async def _feed_process(link: FrameLink, process: ExecStream) -> None:
    while (frame := await link.receive()) is not None:
        match frame.WhichOneof("frame"):
            case "data":
                await process.write(frame.data)
            case "resize":
                await process.resize(frame.resize.width, frame.resize.height)
            case "close":
                await process.close_stdin()
            case _:
                continue
    raise LinkClosed("the caller has gone")


async def _feed_socket(link: FrameLink, writer: asyncio.StreamWriter) -> None:
    while (frame := await link.receive()) is not None:
        match frame.WhichOneof("frame"):
            case "data":
                writer.write(frame.data)
                await writer.drain()
            case "close":
                if writer.can_write_eof():
                    writer.write_eof()
            case _:
                continue
    raise LinkClosed("the caller has gone")


async def _data(link: FrameLink) -> AsyncIterator[bytes]:
    while (frame := await link.receive()) is not None:
        match frame.WhichOneof("frame"):
            case "data":
                yield frame.data
            case "close":
                return
            case _:
                continue
    raise LinkClosed("the caller has gone")
