"""A work queue of keys for level-triggered workers: no key is ever processed twice at once, and none is forgotten.

    add(key) ──► dirty ──► get() ──► processing ──► done(key)
                   ▲                      │
                   └── added meanwhile ◄──┘   queued again once, however often it was added

A key is *dirty* from `add` until a worker takes it. Adding a dirty key is a no-op; adding one that is being processed
queues it again after `done`. So a burst of changes costs one run, and a change during a run is never missed.

`add_after` keeps one deadline a key, the earliest; taking a key drops it, because whoever processes a key decides
anew when to look at it again. `retry` is `add_after` with the key's own exponential back-off, reset by `forget`.

A key that is costly to process may be given a rest with `done`: what is added meanwhile waits for its end, so that a
key under constant change takes a share of the loop and not all of it.

The queue is bounded by the number of keys. All methods are for one event loop; leave the context to stop its timer.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Hashable
from types import TracebackType
from typing import Generic, TypeVar

from podium.aio.backoff import Backoff
from podium.aio.clock import Clock
from podium.aio.tasks import TaskScope

K = TypeVar("K", bound=Hashable)

DEFAULT_BACKOFF = Backoff(initial=0.005, maximum=60.0)


class WorkQueue(Generic[K]):
    """See the module."""

    def __init__(self, clock: Clock, backoff: Backoff = DEFAULT_BACKOFF) -> None:
        self._clock = clock
        self._backoff = backoff
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._failures: dict[K, int] = {}
        self._rests_until: dict[K, float] = {}
        self._deadlines: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._pushed = 0
        self._timers = TaskScope(self._timer_failed)
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = 0.0

    def __len__(self) -> int:
        """Keys that wait for a worker now; not those with a deadline."""
        return self._ready.qsize()

    @property
    def idle(self) -> bool:
        """Whether nothing waits for a worker and no worker is at work."""
        return not self._dirty and not self._processing

    def add(self, key: K) -> None:
        """Have the key processed as soon as a worker is free, and its rest is over."""
        if key in self._dirty:
            return
        if (rest := self._rest_left(key)) > 0:
            self.add_after(key, rest)
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Have the key processed in `seconds`, or at the deadline that it already has if that is earlier."""
        if seconds <= 0:
            self.add(key)
            return
        at = self._clock.monotonic() + seconds
        if at >= self._deadlines.get(key, float("inf")):
            return
        self._deadlines[key] = at
        self._pushed += 1
        heapq.heappush(self._heap, (at, self._pushed, key))
        self._arm()

    def retry(self, key: K) -> float:
        """Have a key that failed processed again after its back-off; returns the delay in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(failures)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Reset the back-off of a key that succeeded."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for a key and take it; the taker calls `done` when finished with it."""
        key = await self._ready.get()
        self._dirty.discard(key)
        self._processing.add(key)
        self._deadlines.pop(key, None)
        return key

    def done(self, key: K, rest: float = 0.0) -> None:
        """Give a taken key back; if it was added meanwhile it is queued again, after `rest` seconds."""
        self._processing.discard(key)
        if rest > 0:
            self._rests_until[key] = self._clock.monotonic() + rest
        if key not in self._dirty:
            return
        if rest > 0:
            self._dirty.discard(key)
            self.add_after(key, rest)
        else:
            self._ready.put_nowait(key)

    def _rest_left(self, key: K) -> float:
        if not self._rests_until or (until := self._rests_until.get(key)) is None:
            return 0.0
        left = until - self._clock.monotonic()
        if left <= 0:
            del self._rests_until[key]
        return left

    def _arm(self) -> None:
        self._drop_stale()
        if not self._heap:
            return
        at = self._heap[0][0]
        if self._timer is not None and not self._timer.done():
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._timers.start(self._fire(at), name="workqueue timer")

    async def _fire(self, at: float) -> None:
        await self._clock.sleep(at - self._clock.monotonic())
        now = max(self._clock.monotonic(), at)
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._deadlines.get(key) == due:
                del self._deadlines[key]
                self._rests_until.pop(key, None)
                self.add(key)
        self._timer = None
        self._arm()

    def _drop_stale(self) -> None:
        while self._heap and self._deadlines.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)

    def _timer_failed(self, name: str, error: BaseException) -> None:
        # Without its timer the queue would silently lose every deadline: fail whoever waits on it instead.
        asyncio.get_running_loop().call_exception_handler({"message": f"{name} failed", "exception": error})

    async def __aenter__(self) -> WorkQueue[K]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._timers.close()
