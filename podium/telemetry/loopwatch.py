"""How long the event loop was held up, and by how much of that the garbage collector.

Everything in a process shares one loop: whatever blocks it delays heartbeats and watches. A tick every quarter of a
second measures by how much it came late; a collector callback measures each collection.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping

from prometheus_client import Counter, Histogram

from podium.aio.clock import Clock
from podium.telemetry.log import get_logger
from podium.telemetry.throttle import Throttle

LAG = Histogram(
    "podium_loop_lag_seconds",
    "Delay of a periodic tick of the event loop.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
GC_SECONDS = Counter("podium_gc_pause_seconds", "Time the garbage collector held the process.", ["generation"])

TICK = 0.25
log = get_logger(__name__)


class LoopWatch:
    """Run `run()` as a task for the life of the process; `worst` is the greatest lag seen, in seconds."""

    def __init__(self, clock: Clock, *, warn_above: float = 0.5) -> None:
        self._clock = clock
        self._warn_above = warn_above
        self._throttle = Throttle(clock, 10.0)
        self.worst = 0.0

    async def run(self) -> None:
        """Measure for ever."""
        meter = _GcMeter()
        gc.callbacks.append(meter)
        try:
            while True:
                due = self._clock.monotonic() + TICK
                await self._clock.sleep(TICK)
                self._observe(max(0.0, self._clock.monotonic() - due))
        finally:
            gc.callbacks.remove(meter)

    def _observe(self, lag: float) -> None:
        LAG.observe(lag)
        self.worst = max(self.worst, lag)
        if lag > self._warn_above and (left_out := self._throttle.admit("stall")) is not None:
            log.warning("the event loop was held up", seconds=lag, unsaid=left_out)


class _GcMeter:
    """A `gc.callbacks` entry. Collections are timed by the real clock: they happen in real time, whoever rules time."""

    def __init__(self) -> None:
        self._began = 0.0
        self._pauses = [GC_SECONDS.labels(str(generation)) for generation in range(3)]

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self._pauses[info["generation"]].inc(time.perf_counter() - self._began)
