"""Streams of a running container: exec, attach, logs, archives.

Output without a terminal is multiplexed by Docker into frames of an 8-byte head (stream, three zeros, big-endian
length) and that many bytes; with a terminal it is raw, and all of it standard output.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import signal
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from docker import APIClient

from nodelet.runtime.docker.engine import Engine
from nodelet.runtime.docker.wire import PIECE, Wire
from nodelet.runtime.protocol import ExecStream, RuntimeDown, RuntimeFault
from podium.aio.clock import Clock

STDOUT, STDERR = 1, 2
UPLOAD_TIMEOUT = 600.0
EXIT_CODE_WAIT = 10.0
KILL_LOOKS = 20
KILL_LOOK_SECONDS = 0.05
"""Seconds after the end of output in which the engine must have noted the exit code."""


async def demultiplex(reader: asyncio.StreamReader) -> AsyncIterator[tuple[int, bytes]]:
    """Frames of a multiplexed stream, a long one in pieces.

    Raises:
        asyncio.IncompleteReadError: It ends within a frame.
    """
    while True:
        try:
            head = await reader.readexactly(8)
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            return
        stream, left = struct.unpack(">BxxxI", head)
        while left:
            piece = await reader.read(min(left, PIECE))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield stream, piece


async def demultiplex_pieces(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """The same of a body that comes in pieces cut anywhere; frames are log lines, so they are kept whole."""
    rest = bytearray()
    async for piece in pieces:
        rest += piece
        start = 0
        while len(rest) - start >= 8:
            stream, length = struct.unpack_from(">BxxxI", rest, start)
            if len(rest) - start - 8 < length:
                break
            yield stream, bytes(rest[start + 8 : start + 8 + length])
            start += 8 + length
        del rest[:start]


class HijackedStream:
    """Implements `ExecStream` on a connection that has become the process's streams."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        tty: bool,
        resize: Callable[[int, int], Awaitable[None]],
        exit_code: Callable[[], Awaitable[int]],
        abandon: Callable[[], Awaitable[None]],
    ) -> None:
        self._reader, self._writer, self._tty = reader, writer, tty
        self._resize, self._exit_code, self._abandon = resize, exit_code, abandon
        self._ended = False

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Raises: RuntimeDown when the engine goes before the process ends."""
        try:
            if self._tty:
                while piece := await self._reader.read(PIECE):
                    yield STDOUT, piece
            else:
                async for stream, piece in demultiplex(self._reader):
                    yield stream, piece
        except (asyncio.IncompleteReadError, OSError) as error:
            raise RuntimeDown(f"the stream broke off: {error}") from error
        self._ended = True

    async def write(self, data: bytes) -> None:
        """Send to standard input. A process that has ended reads nothing, which is no error here."""
        with suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def close_stdin(self) -> None:
        with suppress(OSError, RuntimeError):
            self._writer.write_eof()

    async def resize(self, width: int, height: int) -> None:
        await self._resize(width, height)

    async def exit_code(self) -> int:
        return await self._exit_code()

    async def close(self) -> None:
        """Hang up; a process started by exec that still runs is killed, for nobody is left to hear it."""
        self._writer.transport.abort()
        with suppress(OSError):
            await self._writer.wait_closed()
        if not self._ended:
            await self._abandon()


class DockerStreams:
    """Implements Exec, Logs and Archives of `nodelet.runtime.protocol`."""

    def __init__(self, engine: Engine, wire: Wire, clock: Clock) -> None:
        self._engine, self._wire, self._clock = engine, wire, clock

    # ------------------------------------------------------------ exec and attach

    async def exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool = False, tty: bool = False
    ) -> ExecStream:
        """Raises: RuntimeFault with reason ExecError (no such container, or it does not run)."""
        exec_id = await self._engine.call(
            "ExecError",
            lambda api: str(api.exec_create(container_id, list(command), stdin=stdin, tty=tty)["Id"]),
        )
        body = {"Detach": False, "Tty": tty}
        response = await self._wire.request(
            "POST", f"/exec/{exec_id}/start", reason="ExecError", body=body, upgrade=True
        )
        return HijackedStream(
            response.reader,
            response.writer,
            tty=tty,
            resize=lambda width, height: self._resize(lambda api: api.exec_resize(exec_id, height, width)),
            exit_code=lambda: self._exec_exit_code(exec_id),
            abandon=lambda: self._kill_exec(exec_id, container_id),
        )

    async def attach(self, container_id: str, *, stdin: bool) -> ExecStream:
        """Join the streams of the container's own process. Raises: RuntimeFault with reason AttachError."""
        tty = await self._has_terminal(container_id, "AttachError")
        query = {"stream": "1", "stdout": "1", "stderr": "1", "stdin": "1" if stdin else "0"}
        response = await self._wire.request(
            "POST", f"/containers/{container_id}/attach", reason="AttachError", query=query, upgrade=True
        )
        return HijackedStream(
            response.reader,
            response.writer,
            tty=tty,
            resize=(lambda width, height: self._resize(lambda api: api.resize(container_id, height, width)))
            if tty
            else _no_terminal,
            exit_code=lambda: self._container_exit_code(container_id),
            abandon=_nothing,
        )

    async def _has_terminal(self, container_id: str, reason: str) -> bool:
        """How the engine sends a container's output, raw or in frames, is settled by this alone."""
        return await self._engine.call(reason, lambda api: bool(api.inspect_container(container_id)["Config"]["Tty"]))

    async def _resize(self, work: Callable[[APIClient], object]) -> None:
        # The process may have ended, or not begun; a terminal that could not be resized is no reason to break it off.
        with suppress(RuntimeFault):
            await self._engine.call("ResizeError", work)

    async def _exec_exit_code(self, exec_id: str) -> int:
        return await self._settled("ExecError", lambda api: api.exec_inspect(exec_id))

    async def _container_exit_code(self, container_id: str) -> int:
        return await self._settled("AttachError", lambda api: api.inspect_container(container_id)["State"])

    async def _settled(self, reason: str, inspect: Callable[[APIClient], dict[str, Any]]) -> int:
        """The exit code, which the engine notes a moment after it has closed the stream."""
        deadline, pause = self._clock.monotonic() + EXIT_CODE_WAIT, 0.002
        while True:
            seen = await self._engine.call(reason, inspect)
            if not seen["Running"] and seen["ExitCode"] is not None:
                return int(seen["ExitCode"])
            if self._clock.monotonic() >= deadline:
                raise RuntimeFault(reason, f"the process still runs {EXIT_CODE_WAIT:.0f} s after its streams ended")
            await self._clock.sleep(pause)
            pause = min(pause * 2, 0.5)

    async def _kill_exec(self, exec_id: str, container_id: str) -> None:
        """Docker has no call for this; the process id is the host's, so it can be signalled from here.

        The engine learns that id a moment after the process has begun to write, so it is asked more than once.
        """
        with suppress(RuntimeFault, OSError):
            for _ in range(KILL_LOOKS):
                seen = await self._engine.call("ExecError", lambda api: api.exec_inspect(exec_id))
                if seen["Pid"] and seen["Running"] and _belongs(seen["Pid"], container_id):
                    os.kill(seen["Pid"], signal.SIGKILL)
                    return
                if seen["ExitCode"] is not None:
                    return
                await self._clock.sleep(KILL_LOOK_SECONDS)

    # ------------------------------------------------------------ logs

    async def logs(
        self, container_id: str, *, follow: bool, tail: int | None, since: datetime.datetime | None, timestamps: bool
    ) -> AsyncIterator[tuple[int, bytes]]:
        """Raises: RuntimeFault with reason LogsError; RuntimeDown when the engine goes while following."""
        tty = await self._has_terminal(container_id, "LogsError")
        query = {
            "stdout": "1",
            "stderr": "1",
            "follow": "1" if follow else "0",
            "timestamps": "1" if timestamps else "0",
            "tail": "all" if tail is None else str(tail),
        }
        if since is not None:
            query["since"] = f"{since.timestamp():.6f}"
        path = f"/containers/{container_id}/logs"
        async with await self._wire.request("GET", path, reason="LogsError", query=query) as response:
            if tty:
                async for piece in response.body():
                    yield STDOUT, piece
            else:
                async for stream, line in demultiplex_pieces(response.body()):
                    yield stream, line

    # ------------------------------------------------------------ archives

    async def read_archive(self, container_id: str, path: str) -> AsyncIterator[bytes]:
        """Raises: RuntimeFault with reason ArchiveError (no such path, among others)."""
        target = f"/containers/{container_id}/archive"
        async with await self._wire.request("GET", target, reason="ArchiveError", query={"path": path}) as response:
            async for piece in response.body():
                yield piece

    async def write_archive(self, container_id: str, path: str, data: AsyncIterator[bytes]) -> None:
        """Unpack a tar stream into a directory. Raises: RuntimeFault with reason ArchiveError."""
        response = await self._wire.request(
            "PUT",
            f"/containers/{container_id}/archive",
            reason="ArchiveError",
            query={"path": path},
            body=data,
            answer_timeout=UPLOAD_TIMEOUT,
        )
        await response.close()


async def _nothing() -> None:
    """An attached process goes on without us."""


async def _no_terminal(width: int, height: int) -> None:
    """A process without a terminal has nothing to resize."""


def _belongs(pid: int, container_id: str) -> bool:
    """Whether that process id, in our own namespace, is a process of the container."""
    return pid > 0 and container_id in Path(f"/proc/{pid}/cgroup").read_text()
