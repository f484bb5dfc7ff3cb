"""Many timers for the price of one: callbacks at moments of an injected clock, with a single sleeping task.

An alarm is named by its key: setting it again moves it, and only the earliest one of all is slept for. A thousand idle
pods with ten probes each are ten thousand entries of a heap, not ten thousand tasks. Callbacks run in the event loop,
must not block, and are not run late because another one failed: a failing callback is passed to `on_error`.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from podium.aio.clock import Clock
from podium.aio.tasks import TaskScope


@dataclass(slots=True)
class _Alarm:
    due: float
    ring: Callable[[], None]


class Alarms:
    """See the module. Owns its sleeper through `scope`; starts nothing until the first alarm is set."""

    def __init__(self, clock: Clock, scope: TaskScope, on_error: Callable[[str, BaseException], None]) -> None:
        self._clock, self._scope, self._on_error = clock, scope, on_error
        self._alarms: dict[Hashable, _Alarm] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._order = itertools.count()
        self._sleeper: asyncio.Task[None] | None = None
        self._sleeps_until = float("inf")

    def __len__(self) -> int:
        return len(self._alarms)

    def set(self, key: Hashable, due: float, ring: Callable[[], None]) -> None:
        """Call `ring` once, at `due` (on the clock's monotonic scale) or soon after; replaces the alarm of `key`."""
        known = self._alarms.get(key)
        if known is not None and known.due == due:
            known.ring = ring
            return
        self._alarms[key] = _Alarm(due, ring)
        heapq.heappush(self._heap, (due, next(self._order), key))
        if due < self._sleeps_until:
            self._rearm()

    def cancel(self, key: Hashable) -> None:
        """Forget `key`'s alarm, if it has one."""
        self._alarms.pop(key, None)

    def _earliest(self) -> float | None:
        while self._heap:
            due, _, key = self._heap[0]
            alarm = self._alarms.get(key)
            if alarm is not None and alarm.due == due:
                return due
            heapq.heappop(self._heap)
        return None

    def _rearm(self) -> None:
        due = self._earliest()
        if due is not None and due == self._sleeps_until:
            return
        if self._sleeper is not None:
            self._sleeper.cancel()
        self._sleeper, self._sleeps_until = None, float("inf")
        if due is not None:
            self._sleeps_until = due
            self._sleeper = self._scope.start(self._sleep(due), name="alarms")

    async def _sleep(self, due: float) -> None:
        await self._clock.sleep(due - self._clock.monotonic())
        self._sleeper, self._sleeps_until = None, float("inf")
        self._ring_due()
        self._rearm()

    def _ring_due(self) -> None:
        now = self._clock.monotonic()
        while (due := self._earliest()) is not None and due <= now:
            _, _, key = heapq.heappop(self._heap)
            alarm = self._alarms.pop(key)
            try:
                alarm.ring()
            except Exception as error:  # noqa: BLE001 — one owner's bug must not silence the others' alarms
                self._on_error(f"alarm {key!r}", error)
