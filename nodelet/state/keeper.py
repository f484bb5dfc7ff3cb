"""Writes the newest assignments to disk in the background: often enough to restart from, never once a change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nodelet.state.assignments import AssignmentFiles
from podium.aio.clock import Clock
from podium.telemetry.log import get_logger
from podium.v1.node_session_pb2 import Assignments

log = get_logger(__name__)

SPACING_SECONDS = 1.0
RETRY_SECONDS = 10.0


class AssignmentKeeper:
    """Implements the session's AssignmentStore."""

    def __init__(self, files: AssignmentFiles, clock: Clock) -> None:
        self._files, self._clock = files, clock
        self._newest: Callable[[], Assignments] | None = None
        self._dirty = asyncio.Event()

    def keep(self, assignments: Callable[[], Assignments]) -> None:
        """Something changed: write what `assignments` returns soon."""
        self._newest = assignments
        self._dirty.set()

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await self._dirty.wait()
            await self._clock.sleep(SPACING_SECONDS if await self.flush() else RETRY_SECONDS)

    async def flush(self) -> bool:
        """Write now what has changed; whether that went well."""
        if self._newest is None or not self._dirty.is_set():
            return True
        self._dirty.clear()
        try:
            await asyncio.to_thread(self._files.save, self._newest())
        except OSError as error:
            self._dirty.set()
            log.error("could not save the assignments", why=str(error), directory=str(self._files.path))
            return False
        return True


class NoStore:
    """Keeps nothing: for hollow nodes, which have no restart."""

    def keep(self, assignments: Callable[[], Assignments]) -> None:
        """Forget it."""
