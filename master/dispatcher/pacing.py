"""When to flush: at once when idle, in groups under load. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MAX_DELAY_SECONDS = 0.05
MAX_CHANGES = 100


@dataclass(slots=True)
class Pacer:
    """Spaces flushes at least `delay` apart unless `limit` changes have gathered."""

    delay: float = MAX_DELAY_SECONDS
    limit: int = MAX_CHANGES
    _last: float = float("-inf")

    def wait(self, now: float, changes: int) -> float:
        """Seconds to wait before the next flush; 0 means now."""
        if changes >= self.limit:
            return 0.0
        return max(0.0, self._last + self.delay - now)

    def flushed(self, now: float) -> None:
        """A flush was sent."""
        self._last = now
