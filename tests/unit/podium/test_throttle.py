"""Saying the same thing once in a while."""

from __future__ import annotations

from podium.aio.clock import SystemClock
from podium.telemetry.throttle import Throttle


class MovableClock(SystemClock):
    """Monotonic time moved by hand."""

    at = 100.0

    def monotonic(self) -> float:
        return self.at


def test_a_key_is_let_through_once_in_a_while_with_the_count_of_what_was_not() -> None:
    clock = MovableClock()
    throttle = Throttle(clock, 10.0)
    assert [throttle.admit("a") for _ in range(3)] == [0, None, None]
    assert throttle.admit("b") == 0
    clock.at += 10
    assert throttle.admit("a") == 2


def test_memory_is_bounded() -> None:
    throttle = Throttle(MovableClock(), 10.0, capacity=2)
    assert [throttle.admit(key) for key in "abc"] == [0, 0, 0]
    assert throttle.admit("a") == 0
