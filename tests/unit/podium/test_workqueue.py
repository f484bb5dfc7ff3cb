"""The work queue's promises: nothing twice at once, nothing forgotten, deadlines and back-off by the clock."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.aio.backoff import Backoff
from podium.aio.workqueue import WorkQueue
from tests.support.clock import VirtualClock, settle


async def test_adding_twice_queues_once() -> None:
    async with WorkQueue[str](VirtualClock()) as queue:
        queue.add("a")
        queue.add("a")
        assert len(queue) == 1
        assert await queue.get() == "a"
        assert len(queue) == 0


async def test_a_key_added_while_it_is_processed_comes_again_after_it() -> None:
    async with WorkQueue[str](VirtualClock()) as queue:
        queue.add("a")
        key = await queue.get()
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0, "it must not be processed twice at once"
        queue.done(key)
        assert len(queue) == 1


async def test_idle_tells_whether_anything_is_left_to_do() -> None:
    async with WorkQueue[str](VirtualClock()) as queue:
        told = [queue.idle]
        queue.add("a")
        told.append(queue.idle)
        key = await queue.get()
        told.append(queue.idle)
        queue.done(key)
        told.append(queue.idle)
        assert told == [True, False, False, True]


async def test_the_earliest_deadline_counts() -> None:
    clock = VirtualClock()
    async with WorkQueue[str](clock) as queue:
        queue.add_after("a", 10)
        queue.add_after("a", 5)
        queue.add_after("a", 8)
        await clock.advance(4.9)
        assert len(queue) == 0
        await clock.advance(0.2)
        assert len(queue) == 1
        queue.done(await queue.get())
        await clock.advance(60)
        assert len(queue) == 0, "the later deadlines are void"


async def test_taking_a_key_drops_its_deadline() -> None:
    clock = VirtualClock()
    async with WorkQueue[str](clock) as queue:
        queue.add_after("a", 5)
        queue.add("a")
        queue.done(await queue.get())
        await clock.advance(60)
        assert len(queue) == 0


async def test_an_earlier_deadline_of_another_key_rearms_the_timer() -> None:
    clock = VirtualClock()
    async with WorkQueue[str](clock) as queue:
        queue.add_after("late", 10)
        queue.add_after("early", 1)
        await clock.advance(1)
        assert await queue.get() == "early"
        await clock.advance(9)
        assert await queue.get() == "late"


async def test_failures_back_off_and_success_resets() -> None:
    clock = VirtualClock()
    async with WorkQueue[str](clock, Backoff(initial=1, maximum=5)) as queue:
        assert [queue.retry("a") for _ in range(4)] == [1, 2, 4, 5]
        queue.forget("a")
        assert queue.retry("a") == 1
        assert queue.retry("b") == 1


async def test_a_resting_key_waits_for_the_end_of_its_rest_whenever_it_is_added() -> None:
    clock = VirtualClock()
    async with WorkQueue[str](clock) as queue:
        queue.add("a")
        key = await queue.get()
        queue.add("a")
        queue.done(key, rest=2)
        await clock.advance(1.9)
        assert len(queue) == 0
        await clock.advance(0.2)
        assert len(queue) == 1
        queue.done(await queue.get(), rest=2)
        queue.add("a")
        await clock.advance(1)
        queue.add("a")
        assert len(queue) == 0
        await clock.advance(1)
        assert len(queue) == 1
        queue.done(await queue.get(), rest=2)
        await clock.advance(3)
        queue.add("a")
        assert len(queue) == 1, "its rest is over"


@pytest.mark.parametrize("seconds", [0, -1])
async def test_no_delay_is_now(seconds: float) -> None:
    async with WorkQueue[str](VirtualClock()) as queue:
        queue.add_after("a", seconds)
        assert len(queue) == 1


async def test_workers_never_share_a_key_and_miss_no_change() -> None:
    async with WorkQueue[int](VirtualClock()) as queue:
        wanted, seen, busy = dict.fromkeys(range(5), 0), dict.fromkeys(range(5), 0), set[int]()

        async def work() -> None:
            while True:
                key = await queue.get()
                assert key not in busy
                busy.add(key)
                version = wanted[key]
                await asyncio.sleep(0)
                seen[key] = version
                busy.remove(key)
                queue.done(key)

        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(work()) for _ in range(3)]
            for turn in range(200):
                wanted[turn % 5] += 1
                queue.add(turn % 5)
                await asyncio.sleep(0)
            await settle()
            for worker in workers:
                worker.cancel()
        assert seen == wanted


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_back_off_stays_within_its_bounds(failures: int, chance: float) -> None:
    backoff = Backoff(initial=0.5, maximum=60, jitter=0.5)
    delay = backoff.delay(failures, chance)
    assert 0 <= delay <= 60
    assert delay >= 0.25 or failures == 0
