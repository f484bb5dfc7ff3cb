"""Time in which this master listened. A node's silence is measured in it, not on the wall.

A master that is overloaded, paused or short of CPU reads late what nodes said in time. Were that silence of theirs, it
would replace the pods of healthy nodes, which is more load, which is more silence. So time counts only as far as the
event loop keeps up: a tick that comes late adds no more than `MOST_A_TICK`. What is read is some passes of the loop
old, and that is little attentive time however slow the passes are; while the loop keeps up, both clocks agree.
"""

from __future__ import annotations

from prometheus_client import Counter

from podium.aio.clock import Clock

TICK_SECONDS = 0.2
MOST_A_TICK = 0.25

MISSED = Counter("podium_master_inattentive_seconds_total", "Time in which the event loop did not keep up.")


class Attention:
    """A clock that stands still while nobody listens. `run` must be running."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counted = 0.0
        self._last = clock.monotonic()

    def now(self) -> float:
        """Attentive seconds since the start."""
        return self._counted + min(self._clock.monotonic() - self._last, MOST_A_TICK)

    def monotonic_of(self, stamp: float) -> float:
        """An attentive moment on the clock's monotonic scale, as far back as it is in attentive time."""
        return self._clock.monotonic() - (self.now() - stamp)

    async def run(self) -> None:
        """Count, for ever."""
        while True:
            await self._clock.sleep(TICK_SECONDS)
            now = self._clock.monotonic()
            counted = min(now - self._last, MOST_A_TICK)
            MISSED.inc(now - self._last - counted)
            self._counted, self._last = self._counted + counted, now
