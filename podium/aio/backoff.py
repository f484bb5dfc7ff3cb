"""Exponential back-off: how long to wait after the n-th failure in a row.

The delay doubles from `initial` to `maximum`. Jitter takes up to that share off, so that many that failed together do
not return together; the caller supplies the randomness, which keeps the arithmetic testable.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays after failures.

    Attributes:
        initial: Seconds after the first failure.
        maximum: Longest delay, in seconds, before jitter.
        factor: Growth from one failure to the next.
        jitter: Largest share (0 to 1) taken off a delay.
    """

    initial: float
    maximum: float
    factor: float = 2.0
    jitter: float = 0.0

    def delay(self, failures: int, chance: float = 0.0) -> float:
        """Seconds to wait after `failures` failures in a row (0: none); `chance` in [0, 1) picks within the jitter."""
        if failures <= 0:
            return 0.0
        # Beyond this power every sensible range is exhausted; a float power would overflow instead.
        grown = self.initial * self.factor ** min(failures - 1, 64)
        return min(grown, self.maximum) * (1.0 - self.jitter * chance)
