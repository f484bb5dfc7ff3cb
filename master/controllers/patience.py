"""How long to leave what failed before it is made again: at once the first time, then longer each time, by key.

A key that does not fail for twice the longest delay is forgotten. In memory only: after a restart of the master all
is as if nothing had failed.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from podium.aio.backoff import Backoff
from podium.aio.clock import Clock

REPLACEMENT = Backoff(initial=1.0, maximum=900.0)
_SWEEP = 1024


@dataclass(frozen=True, slots=True)
class _Record:
    failures: int
    until: float


class Patience:
    """See the module."""

    def __init__(self, clock: Clock, backoff: Backoff = REPLACEMENT) -> None:
        self._clock, self._backoff = clock, backoff
        self._records: dict[Hashable, _Record] = {}
        self._sweep_at = _SWEEP

    def left(self, key: Hashable) -> float:
        """Seconds for which what failed under this key is to be left; 0: it may be made again."""
        record = self._records.get(key)
        return 0.0 if record is None else max(0.0, record.until - self._clock.monotonic())

    def lose(self, key: Hashable) -> None:
        """Note a failure that is made good now."""
        now, record = self._clock.monotonic(), self._records.get(key)
        failures = 1 if record is None or self._is_old(record, now) else record.failures + 1
        self._records[key] = _Record(failures, now + self._backoff.delay(failures))
        if len(self._records) > self._sweep_at:
            self._records = {k: r for k, r in self._records.items() if not self._is_old(r, now)}
            self._sweep_at = max(_SWEEP, 2 * len(self._records))

    def _is_old(self, record: _Record, now: float) -> bool:
        return now > record.until + 2 * self._backoff.maximum
