"""What every store must do, shown on each implementation."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from master.store.keyring import Keyring
from master.store.memory import MemoryStore
from master.store.protocol import ABSENT, Compacted, Entry, Mismatch, Op, Put, Remove, Revision, Store, StoreEvent
from master.store.sealed import SealedStore
from master.store.sqlite import SqliteStore
from podium.objects.kinds import Key

Open = Callable[[], Awaitable[Store]]
T = TypeVar("T")


def key(name: str, kind: str = "Pod", namespace: str = "default") -> Key:
    return Key(kind, namespace, name)


def sealing(inner: Store, folder: Path) -> Store:
    """A store that seals everything."""
    keyring = Keyring.open(folder / "keys", datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    return SealedStore(inner, keyring, frozenset({"Pod", "Node", "Lease", "Secret"}))


@pytest.fixture(params=["memory", "sqlite", "sealed memory", "sealed sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    sort: str = request.param
    opened: Store = MemoryStore() if "memory" in sort else await SqliteStore.open(tmp_path / "podium.db")
    if "sealed" in sort:
        opened = sealing(opened, tmp_path)
    yield opened
    await opened.close()


async def events(store: Store, after: int, until: int) -> list[StoreEvent]:
    """Every event after one revision, up to another."""
    seen: list[StoreEvent] = []
    async with asyncio.timeout(10), aclosing(store.watch(Revision(after))) as batches:  # type: ignore[type-var]
        async for batch in batches:
            seen += batch
            if seen[-1].revision >= until:
                return seen
    return seen


async def test_starts_empty(store: Store) -> None:
    assert store.revision == ABSENT
    assert await store.list() == ([], ABSENT)
    assert await store.get(key("a")) is None


async def test_a_put_is_read_back_with_its_revisions(store: Store) -> None:
    assert await store.commit([Put(key("a"), b"1")]) == [1]
    assert await store.commit([Put(key("a"), b"2")]) == [2]
    assert await store.get(key("a")) == Entry(key("a"), b"2", Revision(1), Revision(2))
    assert store.revision == 2


async def test_compare_and_set(store: Store) -> None:
    await store.commit([Put(key("a"), b"1", ABSENT)])
    with pytest.raises(Mismatch) as exists:
        await store.commit([Put(key("a"), b"2", ABSENT)])
    assert (exists.value.key, exists.value.expected, exists.value.actual) == (key("a"), 0, 1)
    with pytest.raises(Mismatch):
        await store.commit([Put(key("b"), b"2", Revision(1))])
    with pytest.raises(Mismatch):
        await store.commit([Remove(key("a"), Revision(7))])
    assert await store.commit([Put(key("a"), b"2", Revision(1))]) == [2]


async def test_when_a_commit_of_nothing_returns_all_before_it_have_come_to_an_end(store: Store) -> None:
    left = [asyncio.get_running_loop().create_task(store.commit([Put(key(f"a{n}"), b"1")])) for n in range(20)]
    await asyncio.sleep(0)
    for task in left:
        task.cancel()
    assert await store.commit([]) == []
    revision = store.revision
    assert {entry.key.name for entry in (await store.list())[0]} == {f"a{n}" for n in range(20)}
    assert [event.key.name for event in await events(store, 0, revision)] == [f"a{n}" for n in range(20)]
    assert await store.commit([Put(key("b"), b"1")]) == [revision + 1]


async def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    await store.commit([Put(key("a"), b"1")])
    with pytest.raises(Mismatch):
        await store.commit([Put(key("b"), b"1"), Remove(key("a")), Put(key("c"), b"1", Revision(9))])
    assert [entry.key for entry in (await store.list())[0]] == [key("a")]
    assert await store.commit([Put(key("b"), b"1"), Remove(key("a"), Revision(1)), Put(key("c"), b"1")]) == [2, 3, 4]
    assert [entry.key.name for entry in (await store.list())[0]] == ["b", "c"]


async def test_a_transaction_sees_itself(store: Store) -> None:
    revisions = await store.commit([Put(key("a"), b"1", ABSENT), Put(key("a"), b"2", Revision(1)), Remove(key("a"))])
    assert revisions == [1, 2, 3]
    assert await store.get(key("a")) is None
    assert [(e.revision, e.removed, e.created) for e in await events(store, 0, 3)] == [
        (1, False, 1), (2, False, 1), (3, True, 1),
    ]  # fmt: skip


async def test_removing_what_is_not_there(store: Store) -> None:
    with pytest.raises(Mismatch):
        await store.commit([Remove(key("a"))])
    assert store.revision == 0


async def test_a_new_life_has_a_new_created_revision(store: Store) -> None:
    await store.commit([Put(key("a"), b"1")])
    await store.commit([Remove(key("a"), value=b"last")])
    await store.commit([Put(key("a"), b"2")])
    assert await store.get(key("a")) == Entry(key("a"), b"2", Revision(3), Revision(3))
    assert [(e.value, e.removed) for e in await events(store, 0, 3)] == [(b"1", False), (b"last", True), (b"2", False)]


async def test_lists_by_kind_and_namespace(store: Store) -> None:
    for each in (key("a"), key("a", "Node", ""), key("a", namespace="other"), key("b")):
        await store.commit([Put(each, b"x")])
    assert [e.key for e in (await store.list("Pod"))[0]] == [key("a"), key("a", namespace="other"), key("b")]
    assert [e.key for e in (await store.list("Pod", "other"))[0]] == [key("a", namespace="other")]
    assert [e.key for e in (await store.list("", "default"))[0]] == [key("a"), key("b")]
    assert (await store.list("Secret"))[0] == []


async def test_independent_transactions_are_answered_in_their_places(store: Store) -> None:
    outcomes = await store.commit_each([
        [Put(key("a"), b"1", ABSENT)], [Put(key("a"), b"2", ABSENT)], [Put(key("b"), b"1"), Put(key("c"), b"1")],
    ])  # fmt: skip
    assert isinstance(outcomes[1], Mismatch)
    assert (outcomes[0], outcomes[2]) == ([1], [2, 3])
    assert await store.commit_each([]) == []


async def test_concurrent_creates_of_one_key_have_one_winner(store: Store) -> None:
    outcomes = await asyncio.gather(
        *(store.commit([Put(key("a"), str(i).encode(), ABSENT)]) for i in range(50)), return_exceptions=True
    )
    assert sum(isinstance(outcome, list) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Mismatch) for outcome in outcomes) == 49


async def test_concurrent_increments_lose_none(store: Store) -> None:
    await store.commit([Put(key("n"), b"0")])

    async def increment() -> None:
        while True:
            entry = await store.get(key("n"))
            assert entry is not None
            try:
                await store.commit([Put(key("n"), str(int(entry.value) + 1).encode(), entry.revision)])
            except Mismatch:
                continue
            return

    await asyncio.gather(*(increment() for _ in range(20)))
    entry = await store.get(key("n"))
    assert entry is not None
    assert entry.value == b"20"


async def test_watch_from_any_revision_has_no_gap(store: Store) -> None:
    for i in range(20):
        await store.commit([Put(key(f"k{i % 3}"), str(i).encode())])
    for after in range(20):
        assert [e.revision for e in await events(store, after, 20)] == list(range(after + 1, 21))


async def test_watchers_see_what_is_written_while_they_watch(store: Store) -> None:
    watching = [asyncio.ensure_future(events(store, 0, 300)) for _ in range(3)]
    await asyncio.gather(*(store.commit([Put(key(f"k{i}"), b"x")], durable=i % 3 > 0) for i in range(300)))
    for seen in await asyncio.gather(*watching):
        assert [e.revision for e in seen] == list(range(1, 301))


async def test_relaxed_writes_are_ordered_visible_and_checked(store: Store) -> None:
    assert await store.commit([Put(key("e", "Event"), b"1", ABSENT)], durable=False) == [1]
    assert await store.get(key("e", "Event")) == Entry(key("e", "Event"), b"1", Revision(1), Revision(1))
    with pytest.raises(Mismatch):
        await store.commit([Put(key("e", "Event"), b"2", ABSENT)], durable=False)
    assert await store.commit([Put(key("a"), b"1")]) == [2]
    assert [e.key.kind for e in await events(store, 0, 2)] == ["Event", "Pod"]


async def test_compaction_forgets_history_and_keeps_the_living(store: Store) -> None:
    for i in range(10):
        await store.commit([Put(key("a"), str(i).encode())])
    await store.commit([Put(key("b"), b"x")])
    await store.commit([Remove(key("b"))])
    await store.compact(Revision(11))
    with pytest.raises(Compacted) as compacted:
        await events(store, 9, 12)
    assert (compacted.value.asked, compacted.value.oldest) == (9, 10)
    assert [e.revision for e in await events(store, 10, 12)] == [11, 12]
    assert [(e.key.name, e.value) for e in (await store.list())[0]] == [("a", b"9")]
    await store.compact(Revision(3))  # going back changes nothing
    await store.compact(Revision(10_000))
    assert [e.key.name for e in (await store.list())[0]] == ["a"]
    with pytest.raises(Compacted):
        await events(store, 11, 12)


async def test_a_revision_of_the_future_is_of_another_history(store: Store) -> None:
    await store.commit([Put(key("a"), b"1")])
    with pytest.raises(Compacted):
        await events(store, 2, 3)


async def test_large_values_and_odd_names(store: Store) -> None:
    odd = Key("Secret", "naïve – ns", "ключ/'\"; DROP TABLE log")
    value = bytes(range(256)) * 8192
    await store.commit([Put(odd, value), Put(key("empty"), b"")])
    entry = await store.get(odd)
    assert entry is not None
    assert entry.value == value
    assert (await store.list("Secret", odd.namespace))[0] == [entry]


# ---------------------------------------------------------------- against a model


class Model(RuleBasedStateMachine):
    """Random histories, compared with a dictionary. `reopen` closes and opens again, where the store can."""

    open: Open
    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.entries: dict[Key, Entry] = {}
        self.log: list[StoreEvent] = []
        self.floor = 0

    def run(self, awaitable: Awaitable[T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(10):
                return await awaitable

        return self.loop.run_until_complete(bounded())

    @initialize()
    def start(self) -> None:
        self.store: Store = self.run(type(self).open())

    @rule(target=keys, kind=st.sampled_from(["Pod", "Node"]), name=st.sampled_from("abc"))
    def a_key(self, kind: str, name: str) -> Key:
        return Key(kind, "ns", name)

    @rule(
        each=st.lists(st.tuples(keys, st.sampled_from(["put", "remove", "cas", "wrong"])), min_size=1, max_size=4),
        value=st.binary(max_size=20),
        durable=st.booleans(),
    )
    def commit(self, each: list[tuple[Key, str]], value: bytes, durable: bool) -> None:
        staged = dict(self.entries)
        log: list[StoreEvent] = []
        ops: list[Op] = []
        revision, refused = self.revision, False
        for each_key, how in each:
            current = staged.get(each_key)
            at = current.revision if current else ABSENT
            expect = {"cas": at, "wrong": Revision(at + 1)}.get(how)
            revision = Revision(revision + 1)
            removed = how == "remove"
            refused |= how == "wrong" or (removed and current is None)
            created = current.created if current else revision
            if removed:
                staged.pop(each_key, None)
                ops.append(Remove(each_key, expect, value))
            else:
                staged[each_key] = Entry(each_key, value, created, revision)
                ops.append(Put(each_key, value, expect))
            log.append(StoreEvent(revision, each_key, value, removed, created))
        try:
            assert self.run(self.store.commit(ops, durable=durable)) == [e.revision for e in log]
            assert not refused
        except Mismatch:
            assert refused
            return
        self.entries = staged
        self.log += log

    @property
    def revision(self) -> Revision:
        return self.log[-1].revision if self.log else ABSENT

    @rule(back=st.integers(0, 5))
    def compact(self, back: int) -> None:
        before = Revision(max(self.revision - back, 0))
        self.run(self.store.compact(before))
        self.floor = max(self.floor, min(before, self.revision + 1) - 1)

    @rule()
    def reopen(self) -> None:
        if isinstance(self.store, SqliteStore):
            self.run(self.store.close())
            self.store = self.run(type(self).open())

    @rule(back=st.integers(0, 8))
    def watch(self, back: int) -> None:
        after = max(self.revision - back, 0)
        if after == self.revision:
            return
        try:
            seen = self.run(events(self.store, after, self.revision))
        except Compacted:
            assert after < self.floor
            return
        assert seen == [e for e in self.log if e.revision > after]

    @invariant()
    def same_state(self) -> None:
        if hasattr(self, "store"):
            listed, revision = self.run(self.store.list())
            assert revision == self.revision
            assert listed == sorted(self.entries.values(), key=lambda entry: entry.revision)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.run(self.store.close())
        self.loop.close()


async def _memory() -> Store:
    return MemoryStore()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_random_histories(kind: str, tmp_path: Path) -> None:
    count = iter(range(10**9))

    class Run(Model):
        def __init__(self) -> None:
            super().__init__()
            path = tmp_path / f"{next(count)}.db"

            async def sqlite() -> Store:
                return await SqliteStore.open(path)

            type(self).open = staticmethod(_memory if kind == "memory" else sqlite)

    examples = settings(max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Run, settings=examples)
