"""What the client repeats, where, and for how long: decided by whether a master can have seen the call."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from grpc import aio

from podium.client._async.connection import Connection, Stubs
from podium.client.config import Context
from podium.errors import DeadlineExceeded, NotFound, PodiumError, Unavailable

NOT_CONNECTED = "failed to connect to all addresses; last error: Connection refused"
BROKEN = "Socket closed"


def failure(code: grpc.StatusCode, details: str) -> aio.AioRpcError:
    return aio.AioRpcError(code, aio.Metadata(), aio.Metadata(), details, "")


def unavailable(details: str) -> aio.AioRpcError:
    return failure(grpc.StatusCode.UNAVAILABLE, details)


class Masters(Connection):
    """A connection whose calls meet with what a script says, and which remembers whom it asked."""

    def __init__(self, *script: aio.AioRpcError | str, endpoints: tuple[str, ...] = ("a:1", "b:1")) -> None:
        super().__init__(Context(endpoints=endpoints, ca=""), timeout=5)
        self.script, self.asked = list(script), list[str]()
        self.limits = list[float]()

    def stubs(self) -> Stubs:
        self.asked.append(self._endpoints.address)
        return Stubs(channel=None)  # type: ignore[arg-type]

    async def answer(self, _: Stubs, limit: float) -> str:
        self.limits.append(limit)
        turn = self.script.pop(0)
        if isinstance(turn, str):
            return turn
        raise turn

    async def messages(self, _: Stubs) -> AsyncIterator[str]:
        while self.script:
            yield await self.answer(_, 0)


async def test_a_write_that_nobody_saw_goes_to_the_next_address() -> None:
    masters = Masters(unavailable(NOT_CONNECTED), "done")
    assert await masters.call(masters.answer, repeatable=False) == "done"
    assert masters.asked == ["a:1", "b:1"]


async def test_a_write_that_may_have_happened_is_not_repeated() -> None:
    masters = Masters(unavailable(BROKEN), "done")
    with pytest.raises(Unavailable, match="Socket closed"):
        await masters.call(masters.answer, repeatable=False)
    assert masters.asked == ["a:1"]


async def test_a_read_is_repeated_and_stays_where_it_was_answered() -> None:
    masters = Masters(unavailable(BROKEN), "one", "two")
    assert await masters.call(masters.answer, repeatable=True) == "one"
    assert await masters.call(masters.answer, repeatable=True) == "two"
    assert masters.asked == ["a:1", "b:1", "b:1"]


async def test_a_call_that_the_master_broke_off_counts_as_unanswered() -> None:
    broken_off = failure(grpc.StatusCode.CANCELLED, "Received RST_STREAM with error code 8")
    masters = Masters(broken_off, "done", broken_off)
    assert await masters.call(masters.answer, repeatable=True) == "done"
    with pytest.raises(Unavailable, match="RST_STREAM"):
        await masters.call(masters.answer, repeatable=False)
    assert masters.asked == ["a:1", "b:1", "b:1"]


async def test_a_call_that_the_caller_broke_off_is_not_repeated() -> None:
    masters = Masters(failure(grpc.StatusCode.CANCELLED, "Locally cancelled by application!"), "done")
    with pytest.raises(PodiumError) as raised:
        await masters.call(masters.answer, repeatable=True)
    assert not isinstance(raised.value, Unavailable)
    assert masters.asked == ["a:1"]


@pytest.mark.parametrize(
    ("code", "error"),
    [(grpc.StatusCode.NOT_FOUND, NotFound), (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded)],
)
async def test_an_answer_is_an_answer(code: grpc.StatusCode, error: type[PodiumError]) -> None:
    masters = Masters(failure(code, "x"), "done")
    with pytest.raises(error):
        await masters.call(masters.answer, repeatable=True)
    assert masters.asked == ["a:1"]


async def test_repetitions_end_and_share_one_time_limit() -> None:
    masters = Masters(*[unavailable(NOT_CONNECTED)] * 50)
    with pytest.raises(Unavailable):
        await masters.call(masters.answer, repeatable=True, timeout=1.0)
    assert 2 <= len(masters.asked) <= 10
    assert masters.limits == sorted(masters.limits, reverse=True)
    assert masters.limits[0] <= 1.0


async def test_a_stream_is_opened_again_only_if_nobody_saw_it() -> None:
    masters = Masters(unavailable(NOT_CONNECTED), "a", "b")
    assert [m async for m in masters.stream(lambda s: masters.messages(s), repeatable=True)] == ["a", "b"]
    broken = Masters("a", unavailable(BROKEN), "b")
    messages = broken.stream(lambda s: broken.messages(s), repeatable=True)
    assert await anext(messages) == "a"
    with pytest.raises(Unavailable):
        await anext(messages)
    once = Masters(unavailable(NOT_CONNECTED), "a")
    with pytest.raises(Unavailable):
        [m async for m in once.stream(lambda s: once.messages(s))]
