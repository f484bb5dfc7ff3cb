"""Guessing costs time: a host that failed too often is turned away for a while."""

from __future__ import annotations

from collections import OrderedDict, deque

from podium.aio.clock import Clock
from podium.errors import TooManyRequests


class FailureLimiter:
    """Allows each key `allowed` failures in any `window` seconds; remembers the `capacity` newest keys."""

    def __init__(self, clock: Clock, *, allowed: int = 10, window: float = 60.0, capacity: int = 4096) -> None:
        self._clock = clock
        self._allowed = allowed
        self._window = window
        self._capacity = capacity
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, key: str) -> None:
        """Return when `key` may try.

        Raises:
            TooManyRequests: It failed too often; says when to try again.
        """
        failures = self._failures.get(key)
        if failures is None or len(failures) < self._allowed:
            return
        wait = failures[0] + self._window - self._clock.monotonic()
        if wait > 0:
            raise TooManyRequests(f"too many failed attempts from {key}: try again in {wait:.0f} s")

    def failed(self, key: str) -> None:
        """Note a failure."""
        failures = self._failures.setdefault(key, deque(maxlen=self._allowed))
        failures.append(self._clock.monotonic())
        self._failures.move_to_end(key)
        if len(self._failures) > self._capacity:
            self._failures.popitem(last=False)
