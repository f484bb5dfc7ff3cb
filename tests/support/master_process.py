"""A master as its users run it: the `podium-master` program in a process of its own, that can be killed."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import closing
from pathlib import Path

from podium.client import AsyncClient
from podium.client.config import Context, load

START_SECONDS = 20.0
STOP_SECONDS = 10.0


def free_port() -> int:
    """A port that is free now; a program started at once will most likely get it."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class MasterProcess:
    """One data folder and one set of ports; started, stopped and killed as often as a test likes.

    `log`: where its standard error goes; by default, where the test's own does.
    """

    def __init__(self, folder: Path, *, log: Path | None = None) -> None:
        self.folder = folder
        self._log = log
        self.api, self.join, self.http = free_port(), free_port(), free_port()
        self.process: asyncio.subprocess.Process | None = None

    @property
    def arguments(self) -> list[str]:
        """The command line."""
        return [
            sys.executable, "-m", "master", "run",
            "--data-dir", str(self.folder),
            "--listen", f"127.0.0.1:{self.api}",
            "--join-listen", f"127.0.0.1:{self.join}",
            "--http-listen", f"127.0.0.1:{self.http}",
        ]  # fmt: skip

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        if self._log is None:
            self.process = await asyncio.create_subprocess_exec(*self.arguments)
        else:
            with self._log.open("ab") as log:
                self.process = await asyncio.create_subprocess_exec(*self.arguments, stderr=log)
        async with asyncio.timeout(START_SECONDS):
            while not await self._is_ready():
                assert self.process.returncode is None, f"the master ended with {self.process.returncode}"
                await asyncio.sleep(0.02)

    async def _is_ready(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.http)
        except OSError:
            return False
        with closing(writer):
            writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
            return b" 200 " in await reader.readline()

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal; returns its exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), STOP_SECONDS)

    def context(self) -> Context:
        """The administrator's."""
        return load(self.folder / "admin.yaml").context()

    def client(self) -> AsyncClient:
        """A client that is the administrator."""
        return AsyncClient(self.context())
