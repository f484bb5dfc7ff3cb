"""The stall meter: a late tick is seen, and the collector's callback does not outlive the watch."""

from __future__ import annotations

import gc
import logging

import pytest

from podium.aio.tasks import TaskScope
from podium.telemetry.loopwatch import TICK, LoopWatch
from tests.support.clock import VirtualClock


def nothing_fails(name: str, error: BaseException) -> None:
    raise AssertionError(name) from error


async def test_a_late_tick_is_a_stall(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    watch = LoopWatch(clock, warn_above=0.5)
    callbacks = len(gc.callbacks)
    async with TaskScope(nothing_fails) as scope:
        _ = scope.start(watch.run(), name="watch")
        await clock.advance(TICK)
        assert watch.worst == 0.0
        clock._elapsed += TICK + 0.75  # the loop is held up: time passes, and no sleeper is woken
        await clock.advance(TICK)
    assert watch.worst == pytest.approx(0.75)
    assert [r.levelno for r in caplog.records if r.getMessage() == "the event loop was held up"] == [logging.WARNING]
    assert len(gc.callbacks) == callbacks
