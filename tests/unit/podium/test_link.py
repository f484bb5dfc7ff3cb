"""Links in memory, and the queue that coalesces."""

from __future__ import annotations

import asyncio

import pytest

from podium.aio.link import LinkClosed, memory_pair
from podium.aio.queue import Coalescing
from podium.aio.tasks import TaskScope
from tests.support.clock import settle


def quiet(name: str, error: BaseException) -> None:
    """Tasks of these tests may fail."""


async def test_messages_arrive_in_order_and_the_end_is_seen() -> None:
    a, b = memory_pair(str, int)
    await a.send("one")
    await a.send("two")
    await a.finish()
    assert [await b.receive(), await b.receive(), await b.receive()] == ["one", "two", None]
    await b.send(1)
    assert await a.receive() == 1


async def test_a_slow_reader_slows_the_writer() -> None:
    a, b = memory_pair(int, int, capacity=2)
    async with TaskScope(quiet) as scope:
        sending = scope.start(_send_all(a, 3), name="send")
        await settle()
        assert not sending.done()
        assert await b.receive() == 0
        await settle()
        assert sending.done()


async def _send_all(link: object, count: int) -> None:
    for number in range(count):
        await link.send(number)  # type: ignore[attr-defined]


async def test_closing_breaks_both_sides_at_once() -> None:
    a, b = memory_pair(int, int)
    async with TaskScope(quiet) as scope:
        reading = scope.start(b.receive(), name="read")
        await settle()
        await a.close()
        with pytest.raises(LinkClosed):
            await reading
    with pytest.raises(LinkClosed):
        await b.send(1)
    with pytest.raises(LinkClosed):
        await a.receive()
    await a.close()
    await a.finish()


async def test_a_partition_holds_messages_back() -> None:
    a, b = memory_pair(int, int)
    a.partition(True)
    async with TaskScope(quiet) as scope:
        _ = scope.start(a.send(1), name="send")
        reading = scope.start(b.receive(), name="read")
        await settle()
        assert not reading.done()
        a.partition(False)
        assert await reading == 1


async def test_only_the_newest_value_of_a_key_is_kept() -> None:
    queue: Coalescing[str, int] = Coalescing()
    for number in range(3):
        queue.put("a", number)
    queue.put("b", 9)
    assert len(queue) == 2
    assert await queue.take(limit=1) == {"a": 2}
    assert await queue.take() == {"b": 9}
    assert queue.take_now() == {}


async def test_what_is_put_back_does_not_hide_what_is_newer() -> None:
    queue: Coalescing[str, int] = Coalescing()
    queue.put("a", 1)
    queue.put("b", 1)
    taken = queue.take_now()
    queue.put("a", 2)
    queue.put_back(taken)
    assert await queue.take() == {"a": 2, "b": 1}


async def test_taking_waits_for_something() -> None:
    queue: Coalescing[str, int] = Coalescing()
    async with TaskScope(quiet) as scope:
        taking = scope.start(queue.take(), name="take")
        await settle()
        assert not taking.done()
        queue.put("a", 1)
        assert await asyncio.wait_for(taking, 1) == {"a": 1}
