"""The user's terminal joined to a remote process: raw mode, window size, standard input as a stream."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Callable, Iterator

from podium.client._async.pods import raise_error
from podium.v1.pods_service_pb2 import StreamFrame, TerminalSize

_CHUNK = 32 * 1024


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
    try:
        tty.setraw(handle)
        yield
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


async def frames(first: StreamFrame, *, stdin: bool, tty: bool) -> AsyncIterator[StreamFrame]:
    """The request stream of exec and attach: what to do, then input and window sizes until input ends."""
    yield first
    if not stdin and not tty:
        return
    queue: asyncio.Queue[StreamFrame | None] = asyncio.Queue(maxsize=64)
    loop = asyncio.get_running_loop()
    with _input(queue.put_nowait, loop, enabled=stdin), _resizes(queue.put_nowait, loop, enabled=tty):
        while (frame := await queue.get()) is not None:
            yield frame
            if frame.WhichOneof("frame") == "close":
                return


@contextlib.contextmanager
def _input(put: Callable[[StreamFrame], None], loop: asyncio.AbstractEventLoop, *, enabled: bool) -> Iterator[None]:
    if not enabled:
        yield
        return
    handle = sys.stdin.fileno()

    def readable() -> None:
        data = os.read(handle, _CHUNK)
        if not data:
            loop.remove_reader(handle)
        put(StreamFrame(data=data) if data else StreamFrame(close=True))

    try:
        loop.add_reader(handle, readable)
    except PermissionError:
        # epoll cannot wait for a regular file (`podium exec … < file`): such a file never blocks, read it at once.
        while data := os.read(handle, _CHUNK):
            put(StreamFrame(data=data))
        put(StreamFrame(close=True))
        yield
        return
    try:
        yield
    finally:
        loop.remove_reader(handle)


@contextlib.contextmanager
def _resizes(put: Callable[[StreamFrame], None], loop: asyncio.AbstractEventLoop, *, enabled: bool) -> Iterator[None]:
    if not enabled or not sys.stdout.isatty():
        yield
        return
    loop.add_signal_handler(signal.SIGWINCH, lambda: put(StreamFrame(resize=size())))
    try:
        yield
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
