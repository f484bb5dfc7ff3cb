"""A bounded rate: so many at once, and so many a second from then on. What is beyond is left undone, not delayed."""

from __future__ import annotations

from podium.aio.clock import Clock


class Allowance:
    """A token bucket.

    Args:
        clock: Measures the refill.
        burst: How many may be taken at once.
        per_second: How many come back each second.
    """

    def __init__(self, clock: Clock, *, burst: int, per_second: float) -> None:
        self._clock, self._burst, self._per_second = clock, burst, per_second
        self._left, self._counted = float(burst), clock.monotonic()

    def take(self) -> bool:
        """Whether one more is allowed now; if so, it is taken."""
        now = self._clock.monotonic()
        self._left = min(self._burst, self._left + (now - self._counted) * self._per_second)
        self._counted = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
