"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import datetime
import heapq
import itertools

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


async def settle(rounds: int = 50) -> None:
    """Let every task that can go on do so, until what they wake has gone on, too."""
    for _ in range(rounds):
        await asyncio.sleep(0)


class VirtualClock:
    """A `podium.aio.clock.Clock` under a test's rule."""

    def __init__(self, start: datetime.datetime = START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime.datetime:
        return self._start + datetime.timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    @property
    def sleeping(self) -> int:
        """How many wait for time to move on."""
        return len(self._sleepers)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), done))
        await done

    async def advance(self, seconds: float) -> None:
        """Move time on, waking each sleeper at its moment and letting what it wakes run before the next."""
        until = self._elapsed + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            due, _, done = heapq.heappop(self._sleepers)
            self._elapsed = max(self._elapsed, due)
            if not done.done():
                done.set_result(None)
                await settle()
        self._elapsed = until
        await settle()
