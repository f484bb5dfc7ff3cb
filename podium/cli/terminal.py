"""The user's terminal joined to a remote process: raw mode, window size, standard input as a stream."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator

from podium.aio.tasks import TaskScope
from podium.client._async.pods import raise_error
from podium.v1.pods_service_pb2 import StreamFrame, TerminalSize

_CHUNK = 32 * 1024
_AHEAD = 16


def size() -> TerminalSize:
    """The window's size now."""
    columns, lines = os.get_terminal_size(sys.stdout.fileno()) if sys.stdout.isatty() else (80, 24)
    return TerminalSize(width=columns, height=lines)


@contextlib.contextmanager
def raw(enabled: bool) -> Iterator[None]:
    """Hand every key to the remote side while inside; the terminal is restored whatever happens."""
    if not enabled or not sys.stdin.isatty():
        yield
        return
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    ended = signal.signal(signal.SIGTERM, _leave)
    try:
        tty.setraw(handle)
        yield
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTERM, ended)


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)


async def frames(first: StreamFrame, *, stdin: bool, tty: bool) -> AsyncIterator[StreamFrame]:
    """The request stream of exec and attach: what to do, then input and window sizes until input ends.

    Input is read no faster than the remote side takes it.
    """
    yield first
    if not stdin and not tty:
        return
    queue: asyncio.Queue[StreamFrame] = asyncio.Queue(maxsize=_AHEAD)
    async with TaskScope(_fail) as scope:
        if stdin:
            _ = scope.start(_feed_input(queue), name="standard input")
        if tty and sys.stdout.isatty():
            _ = scope.start(_feed_sizes(queue), name="window size")
        while True:
            frame = await queue.get()
            yield frame
            if frame.WhichOneof("frame") == "close":
                return


def _fail(name: str, error: BaseException) -> None:
    raise error


async def _feed_input(queue: asyncio.Queue[StreamFrame]) -> None:
    handle = sys.stdin.fileno()
    while True:
        await _readable(handle)
        try:
            data = os.read(handle, _CHUNK)
        except OSError:  # the terminal has gone
            data = b""
        await queue.put(StreamFrame(data=data) if data else StreamFrame(close=True))
        if not data:
            return


async def _readable(handle: int) -> None:
    """Wait for input. The terminal stays blocking: its other side is our standard output."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(handle, ready.set)
    except PermissionError:
        return  # a regular file (`podium exec … < file`): epoll cannot wait for it, and it never blocks
    try:
        await ready.wait()
    finally:
        loop.remove_reader(handle)


async def _feed_sizes(queue: asyncio.Queue[StreamFrame]) -> None:
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGWINCH, changed.set)
    try:
        while True:
            await changed.wait()
            changed.clear()
            await queue.put(StreamFrame(resize=size()))
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


async def pump(answers: AsyncIterator[StreamFrame]) -> int:
    """Write what comes back to standard output and error; returns the remote exit code.

    Raises:
        PodiumError: The stream failed.
    """
    async for frame in answers:
        match frame.WhichOneof("frame"):
            case "data":
                _write(sys.stdout.fileno(), frame.data)
            case "stderr":
                _write(sys.stderr.fileno(), frame.stderr)
            case "exit":
                return frame.exit.code
            case _:
                raise_error(frame)
    return 0


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
