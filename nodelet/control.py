"""A socket in the data folder, by which programs of the same host ask the nodelet for something; root's only.

A request is one line, the name of a command. The answer is lines of text, as they come; it ends with the connection.
A request whose caller hangs up is carried out all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

from podium.aio.tasks import TaskScope
from podium.errors import Unavailable
from podium.telemetry.log import get_logger

SOCKET = "control.sock"
_REQUEST_SECONDS = 5.0

log = get_logger(__name__)

Command = Callable[[Callable[[str], None]], Awaitable[None]]


class ControlSocket:
    """See the module. A command that runs is not begun again: who asks for it meanwhile waits for its end."""

    def __init__(self, path: Path, commands: Mapping[str, Command]) -> None:
        self._path, self._commands = path, commands
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Serve for ever."""
        self._path.unlink(missing_ok=True)
        async with TaskScope(on_error=_log_failure) as scope:
            server = await asyncio.start_unix_server(lambda r, w: self._answer(r, w, scope), self._path)
            os.chmod(self._path, 0o600)
            async with server:
                await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, scope: TaskScope) -> None:
        def tell(line: str) -> None:
            if not writer.is_closing():
                writer.write(f"{line}\n".encode())

        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                name = (await reader.readline()).decode(errors="replace").strip()
            await self._carry_out(name, tell, scope)
            await writer.drain()
        except (TimeoutError, OSError) as error:
            log.warning("a request was not carried through", why=str(error) or "it came too slowly")
        finally:
            writer.close()

    async def _carry_out(self, name: str, tell: Callable[[str], None], scope: TaskScope) -> None:
        command = self._commands.get(name)
        if command is None:
            tell(f'unknown command "{name}": expected one of {", ".join(sorted(self._commands))}')
            return
        running = self._running.get(name)
        if running is None:
            running = self._running[name] = scope.start(_awaited(command, tell), name=name)
            running.add_done_callback(lambda _: self._running.pop(name, None))
        else:
            tell("it is under way already")
        await asyncio.wait({running})


async def _awaited(command: Command, tell: Callable[[str], None]) -> None:
    await command(tell)


async def ask(path: Path, name: str) -> AsyncIterator[str]:
    """The lines of an answer.

    Raises:
        Unavailable: No nodelet listens there.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError as error:
        raise Unavailable(f"no nodelet answers at {path}: {error.strerror}") from error
    try:
        writer.write(f"{name}\n".encode())
        while line := await reader.readline():
            yield line.decode(errors="replace").rstrip("\n")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _log_failure(name: str, error: BaseException) -> None:
    log.error("task failed", task=name, error=error)
