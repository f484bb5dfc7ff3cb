"""Whether the nodelet's own folder can still be written: a disk that is lost, or was mounted read-only after errors, is
not noticed otherwise until the next restart, when the node would not know itself any more.
"""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

from podium.aio.clock import Clock
from podium.telemetry.log import get_logger

EVERY_SECONDS = 30.0
ANSWER_SECONDS = 5.0
_PROBE = ".probe"
_FULL = (errno.ENOSPC, errno.EDQUOT)
"""A full disk is another condition's matter."""

log = get_logger(__name__)


class StateDisk:
    """See the module. A disk that hangs holds one thread, and no more."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self._due = clock.monotonic()
        self._running: asyncio.Future[str] | None = None
        self._fault = ""

    async def fault(self) -> str:
        """What is wrong with it, in a few words; empty when nothing is."""
        if self._clock.monotonic() < self._due and not self._fault:
            return ""
        if self._running is None:
            self._running = asyncio.get_running_loop().run_in_executor(None, self._write)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await asyncio.shield(self._running)
        except TimeoutError:
            found = f"it does not answer for {ANSWER_SECONDS:g} s"
        else:
            self._running = None
        if found and found != self._fault:
            log.error("the nodelet's folder can't be written", folder=str(self._folder), why=found)
        self._fault, self._due = found, self._clock.monotonic() + EVERY_SECONDS
        return found

    def _write(self) -> str:
        try:
            handle = os.open(self._folder / _PROBE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(handle, b"here\n")
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            return "" if error.errno in _FULL else error.strerror or str(error)
        return ""
