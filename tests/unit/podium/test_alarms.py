"""Alarms: many timers on one sleeping task."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from podium.aio.alarms import Alarms
from podium.aio.tasks import TaskScope
from tests.support.clock import VirtualClock, settle


class Ringing:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.errors: list[str] = []
        self.scope = TaskScope(lambda name, error: self.errors.append(name))
        self.alarms = Alarms(self.clock, self.scope, lambda name, error: self.errors.append(name))
        self.rung: list[tuple[float, str]] = []

    def set(self, key: str, due: float) -> None:
        self.alarms.set(key, due, lambda: self.rung.append((self.clock.monotonic(), key)))


async def test_each_rings_once_at_its_moment() -> None:
    at = Ringing()
    for key, due in (("b", 2), ("a", 1), ("c", 3)):
        at.set(key, due)
    await at.clock.advance(10)
    assert at.rung == [(1, "a"), (2, "b"), (3, "c")]
    assert len(at.alarms) == 0


async def test_setting_again_moves_it_both_ways() -> None:
    at = Ringing()
    at.set("a", 5)
    at.set("a", 2)
    at.set("b", 2)
    at.set("b", 5)
    await at.clock.advance(10)
    assert at.rung == [(2, "a"), (5, "b")]


async def test_a_cancelled_one_is_silent() -> None:
    at = Ringing()
    at.set("a", 1)
    at.set("b", 2)
    at.alarms.cancel("a")
    at.alarms.cancel("never set")
    await at.clock.advance(10)
    assert at.rung == [(2, "b")]


async def test_one_in_the_past_rings_soon_and_one_may_set_the_next() -> None:
    at = Ringing()
    at.alarms.set("a", -1, lambda: at.set("b", 4))
    await settle()
    await at.clock.advance(4)
    assert at.rung == [(4, "b")]


async def test_a_failing_one_does_not_silence_the_others() -> None:
    at = Ringing()
    at.alarms.set("bad", 1, lambda: 1 / 0)  # type: ignore[arg-type]
    at.set("good", 1)
    await at.clock.advance(1)
    assert at.rung == [(1, "good")]
    assert at.errors == ["alarm 'bad'"]


async def test_a_thousand_need_one_task() -> None:
    at = Ringing()
    for i in range(1000):
        at.set(str(i), 1000 - i)
    await settle()
    assert len(at.scope) == 1


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 20) | st.none()), max_size=30))
async def test_whatever_was_set_last_rings_at_its_time(steps: list[tuple[str, int | None]]) -> None:
    at = Ringing()
    expected: dict[str, int] = {}
    for key, due in steps:
        if due is None:
            at.alarms.cancel(key)
            expected.pop(key, None)
        else:
            at.set(key, due)
            expected[key] = due
    await at.clock.advance(30)
    assert sorted((key, when) for when, key in at.rung) == sorted(expected.items())
