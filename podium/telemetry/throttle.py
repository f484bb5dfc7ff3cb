"""Say the same thing once in a while, and how often it was left unsaid."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from podium.aio.clock import Clock


class Throttle:
    """Lets a key through at most once every `seconds`; remembers the `capacity` newest keys."""

    def __init__(self, clock: Clock, seconds: float, capacity: int = 1024) -> None:
        self._clock = clock
        self._seconds = seconds
        self._capacity = capacity
        self._seen: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def admit(self, key: Hashable) -> int | None:
        """None when `key` should be left out now; else how many of it were left out since it was last let through."""
        now = self._clock.monotonic()
        last, left_out = self._seen.get(key, (float("-inf"), 0))
        if now - last < self._seconds:
            self._seen[key] = (last, left_out + 1)
            return None
        self._seen[key] = (now, 0)
        self._seen.move_to_end(key)
        if len(self._seen) > self._capacity:
            self._seen.popitem(last=False)
        return left_out
