"""Silence counts only while the master listens."""

from __future__ import annotations

import pytest

from master.dispatcher.attention import Attention
from podium.aio.tasks import TaskScope
from tests.support.clock import VirtualClock


class StallingClock(VirtualClock):
    """Time that passes without anybody being woken: a stalled event loop."""

    def stall(self, seconds: float) -> None:
        self._elapsed += seconds


async def test_attentive_time_is_time_while_the_loop_keeps_up() -> None:
    clock = VirtualClock()
    attention = Attention(clock)
    async with TaskScope(on_error=lambda name, error: None) as scope:
        _ = scope.start(attention.run(), name="attention")
        heard = attention.now()
        await clock.advance(10)
        assert attention.now() - heard == pytest.approx(10, abs=0.3)
        assert attention.monotonic_of(heard) == pytest.approx(0, abs=0.3)


async def test_a_stall_of_our_own_is_nobodys_silence() -> None:
    clock = StallingClock()
    attention = Attention(clock)
    async with TaskScope(on_error=lambda name, error: None) as scope:
        _ = scope.start(attention.run(), name="attention")
        await clock.advance(1)
        heard = attention.now()
        for _pass in range(3):  # a message is read some slow passes after it arrived
            clock.stall(5)
            await clock.advance(0)
        assert clock.monotonic() - attention.monotonic_of(heard) < 2
        assert attention.now() - heard < 2
