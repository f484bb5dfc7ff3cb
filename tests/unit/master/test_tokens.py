"""Join tokens: made, proved, listed, expired, revoked; and nothing of the secret is stored."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from master.auth.limiter import FailureLimiter
from master.auth.principal import component
from master.auth.tokens import SECRET_TYPE, TokenBook
from podium.aio.clock import SystemClock
from podium.errors import BadRequest, NotFound, TooManyRequests, Unauthenticated
from tests.support.secrets import FakeSecrets

PIN = "ab" * 32
BY = component("test")


class MovableClock(SystemClock):
    """The machine's clock, moved by hand."""

    ahead = 0.0

    def now(self) -> datetime.datetime:
        return super().now() + datetime.timedelta(seconds=self.ahead)

    def monotonic(self) -> float:
        return self.ahead


@pytest.fixture
def secrets() -> FakeSecrets:
    return FakeSecrets()


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def book(secrets: FakeSecrets, clock: MovableClock) -> TokenBook:
    return TokenBook(reader=secrets, writer=secrets, clock=clock, pin=PIN)


async def test_a_token_proves_itself(book: TokenBook) -> None:
    made = await book.create(by=BY, description="rack 4")
    assert book.verify(made.text + "\n").id == made.id
    assert [(t.id, t.description) for t in book.list()] == [(made.id, "rack 4")]


async def test_only_a_hash_is_stored(book: TokenBook, secrets: FakeSecrets) -> None:
    made = await book.create(by=BY)
    (stored,) = secrets.stored.values()
    assert stored.type == SECRET_TYPE
    assert made.text.split(".")[1].encode() not in stored.SerializeToString()
    assert made.text.split(".")[1] not in repr(made)


@pytest.mark.parametrize("text", ["", "abc", "abcdef.short.00", "../../etc.x.y", "a" * 10_000])
def test_a_malformed_token_is_named_so(book: TokenBook, text: str) -> None:
    with pytest.raises(Unauthenticated, match="malformed: expected"):
        book.verify(text)


async def test_an_unknown_id_and_a_wrong_secret_read_alike(book: TokenBook) -> None:
    made = await book.create(by=BY)
    token_id, secret, pin = made.text.split(".")
    wrong = "a" * 32 if secret[0] != "a" else "b" * 32
    said = set()
    for text in (f"{token_id}.{wrong}.{pin}", f"zzzzzz.{secret}.{pin}"):
        with pytest.raises(Unauthenticated) as caught:
            book.verify(text)
        said.add(str(caught.value))
    assert len(said) == 1


async def test_a_token_of_another_cluster_is_named_so(book: TokenBook) -> None:
    made = await book.create(by=BY)
    with pytest.raises(Unauthenticated, match="made by another cluster"):
        book.verify(made.text.replace(PIN, "cd" * 32))


async def test_an_expired_token_is_named_so_and_cleaned_up(book: TokenBook, clock: MovableClock) -> None:
    made = await book.create(by=BY, lifetime=datetime.timedelta(minutes=5))
    kept = await book.create(by=BY)
    clock.ahead = 301
    with pytest.raises(Unauthenticated, match=f"join token {made.id} expired at 2"):
        book.verify(made.text)
    assert await book.remove_expired() == 1
    assert [t.id for t in book.list()] == [kept.id]


async def test_a_revoked_token_is_not_known(book: TokenBook) -> None:
    made = await book.create(by=BY)
    await book.revoke(made.id, by=BY)
    with pytest.raises(Unauthenticated, match="not known here"):
        book.verify(made.text)
    with pytest.raises(NotFound, match="does not exist"):
        await book.revoke(made.id, by=BY)


@pytest.mark.parametrize("days", [-1, 400])
async def test_a_lifetime_is_positive_and_at_most_a_year(book: TokenBook, days: int) -> None:
    with pytest.raises(BadRequest, match="at most a year"):
        await book.create(by=BY, lifetime=datetime.timedelta(days=days))


def test_failures_are_limited_by_host_and_forgiven_with_time(clock: MovableClock, tmp_path: Path) -> None:
    limiter = FailureLimiter(clock, allowed=3, window=60.0)
    for _ in range(3):
        limiter.check("10.0.0.9")
        limiter.failed("10.0.0.9")
    with pytest.raises(TooManyRequests, match="try again in 60 s"):
        limiter.check("10.0.0.9")
    limiter.check("10.0.0.8")
    clock.ahead = 61
    limiter.check("10.0.0.9")
