"""The `podium` command as its users run it: a process of its own, whose output goes into a pipe."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

PROGRAM = Path(sys.executable).parent / "podium"
SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Standard output, line by line."""
        return self.out.splitlines()


@dataclass(slots=True)
class Running:
    """A command that goes on until it is told to end."""

    process: asyncio.subprocess.Process
    seen: str = ""

    async def says(self, text: str) -> str:
        """Wait until its standard output holds this text; returns all that it has written so far."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS):
            while text not in self.seen:
                data = await self.process.stdout.read(4096)
                assert data, f"it ended; of {text!r} there was only {self.seen!r}"
                self.seen += data.decode()
        return self.seen

    async def end(self, number: signal.Signals = signal.SIGINT) -> Ran:
        """Send it a signal, and wait for its end."""
        self.process.send_signal(number)
        async with asyncio.timeout(SECONDS):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return Ran(code=self.process.returncode, out=self.seen + out.decode(), err=err.decode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Podium:
    """Runs commands with one configuration file, in one namespace."""

    config: Path
    folder: Path
    namespace: str = "default"
    environment: Mapping[str, str] = field(default_factory=dict)

    async def __call__(
        self, *words: str, stdin: str = "", code: int = 0, environment: Mapping[str, str] | None = None
    ) -> Ran:
        """Run a command to its end, which must be with this exit code."""
        process = await self._start(words, environment or {})
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        ran = Ran(code=process.returncode, out=out.decode(), err=err.decode())
        assert ran.code == code, f"podium {' '.join(words)}: {ran}"
        assert "Traceback" not in ran.err, ran.err
        return ran

    @asynccontextmanager
    async def running(self, *words: str) -> AsyncIterator[Running]:
        """Start a command; at the end of the block it is killed if it still runs."""
        process = await self._start(words, {})
        try:
            yield Running(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def _start(self, words: tuple[str, ...], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "PYTHONPATH")}
        pipe = asyncio.subprocess.PIPE
        # A shell that runs the tests in the background ignores interrupts, and children inherit that.
        return await asyncio.create_subprocess_exec(
            "env", "--default-signal=INT", PROGRAM, "-n", self.namespace, *words,
            stdin=pipe, stdout=pipe, stderr=pipe, cwd=self.folder,
            env={**kept, "PODIUM_CONFIG": str(self.config), **self.environment, **environment},
        )  # fmt: skip
