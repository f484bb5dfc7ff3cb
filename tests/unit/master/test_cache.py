"""The watch cache: its indexes against a model, its history, lending, and the mutation detector."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.cache.cache import COOLING_SECONDS, WatchCache
from master.cache.history import History
from master.cache.item import Event, Item
from master.cache.retention import Retention, retention_of
from master.cache.stamp import stamp
from master.cache.table import Table
from master.store.memory import MemoryStore
from master.store.protocol import Put, Remove, Revision
from podium.errors import Expired, TooSlow
from podium.objects.kinds import Key, key_of
from podium.v1.core_pb2 import Event as EventMessage
from podium.v1.core_pb2 import Pod
from tests.support.clock import VirtualClock


def pod(name: str = "a", namespace: str = "default", node: str = "", owners: tuple[str, ...] = ()) -> Pod:
    made = Pod()
    made.metadata.name, made.metadata.namespace, made.spec.node_name = name, namespace, node
    for uid in owners:
        made.metadata.owner_references.add(uid=uid, controller=uid == "u1")
    return made


def item(obj: Pod, revision: int = 1) -> Item:
    return Item(key_of(obj), obj.SerializeToString(deterministic=True), revision)


# ---------------------------------------------------------------- stamps


@given(st.integers(0, 2**63 - 1))
def test_a_stamp_sets_the_resource_version_and_nothing_else(revision: int) -> None:
    plain = pod("a", node="n1")
    stamped = Pod.FromString(plain.SerializeToString() + stamp(revision))
    assert stamped.metadata.resource_version == str(revision)
    stamped.metadata.resource_version = ""
    assert stamped == plain


# ---------------------------------------------------------------- tables

_names = st.sampled_from([f"p{i}" for i in range(6)])
_pods = st.builds(
    pod,
    _names,
    st.sampled_from(["default", "other"]),
    st.sampled_from(["", "n1", "n2"]),
    st.sets(st.sampled_from(["u1", "u2"])).map(lambda owners: tuple(sorted(owners))),
)


@given(st.lists(st.tuples(st.booleans(), _pods, st.booleans()), max_size=40))
def test_indexes_agree_with_a_plain_dictionary(changes: list[tuple[bool, Pod, bool]]) -> None:
    table, model = Table(by_node=True, adoptable=True), dict[Key, Pod]()
    for removing, obj, look in changes:
        key = key_of(obj)
        if removing:
            removed = table.remove(key)
            assert (removed is not None) == (model.pop(key, None) is not None)
        else:
            before = table.put(item(obj))
            assert (before is not None) == (key in model)
            model[key] = obj
        if look:  # sorting happens when order is first asked for: ask at random moments
            _agree(table, model)
    _agree(table, model)


def _agree(table: Table, model: dict[Key, Pod]) -> None:
    assert [i.key for i in table.scan()] == sorted(model)
    assert table.count == len(model)
    for namespace in ("default", "other"):
        within = sorted(k for k in model if k.namespace == namespace)
        assert [i.key for i in table.scan(namespace)] == within
        assert table.size(namespace) == len(within)
        orphans = [k for k in within if not any(r.controller for r in model[k].metadata.owner_references)]
        assert sorted(i.key for i in table.orphans(namespace)) == orphans
    for node in ("n1", "n2"):
        assert {i.key for i in table.on_node(node)} == {k for k, p in model.items() if p.spec.node_name == node}
    for uid in ("u1", "u2"):
        owned = {k for k, p in model.items() if any(r.uid == uid for r in p.metadata.owner_references)}
        assert {i.key for i in table.owned_by(uid)} == owned


# ---------------------------------------------------------------- histories


def added(name: str, revision: int) -> Event:
    return Event(None, item(pod(name), revision), removed=False)


async def test_a_cursor_starts_after_any_revision_that_is_kept() -> None:
    history = History(floor=10)
    for revision in (11, 14, 15):
        history.append(added("a", revision))
    history.publish()
    for after, expected in ((10, [11, 14, 15]), (11, [14, 15]), (12, [14, 15]), (15, []), (99, [])):
        assert [e.revision for e in history.cursor(after).take(10)] == expected
    with pytest.raises(Expired):
        history.cursor(9)


async def test_a_cursor_that_falls_behind_is_told() -> None:
    history = History(floor=0, retention=Retention(events=6))
    cursor = history.cursor(0)
    for revision in range(1, 7):
        history.append(added("a", revision))
    history.publish()
    assert [e.revision for e in cursor.take(2)] == [1, 2]
    for revision in range(7, 20):
        history.append(added("a", revision))
    with pytest.raises(TooSlow, match="list again"):
        cursor.take(2)
    assert history.floor >= 10
    assert [e.revision for e in history.after(history.floor)] == list(range(history.floor + 1, 20))


async def test_cursors_wait_and_are_woken() -> None:
    history = History(floor=0)
    cursors = [history.cursor(0) for _ in range(3)]
    waiting = [asyncio.ensure_future(cursor.ready()) for cursor in cursors]
    await asyncio.sleep(0)
    waiting[0].cancel()
    history.append(added("a", 1))
    history.publish()
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting[1:])
    assert waiting[0].cancelled()


async def test_many_cursors_are_woken_at_once_when_quiet_and_together_when_busy() -> None:
    history = History(floor=0)
    cursor = history.cursor(0)
    frames: list[int] = []

    async def follow() -> None:
        while sum(frames) < 50:
            await cursor.ready()
            frames.append(len(cursor.take(100)))

    idle = [asyncio.ensure_future(history.cursor(10**6).ready()) for _ in range(100)]
    following = asyncio.ensure_future(follow())
    for revision in range(1, 51):
        await asyncio.sleep(0)
        history.append(added("a", revision))
        history.publish()
    async with asyncio.timeout(5):
        await following
    assert frames[0] == 1, "the first goes out at once"
    assert len(frames) < 10, "the rest is gathered"
    for each in idle:
        each.cancel()


def test_only_the_newest_events_stay_framed() -> None:
    history = History(floor=0, retention=Retention(framed=2))
    events = [added("a", 1), added("b", 2), added("c", 3)]
    for event in events:
        event.wire = b"frame"
        history.append(event)
    assert [event.wire for event in events] == [None, b"frame", b"frame"]


async def test_what_is_past_is_bytes_once_it_was_told() -> None:
    store, heard = MemoryStore(), list[Pod]()
    key = Key("Pod", "default", "a")
    first = Revision((await store.commit([Put(key, pod("a").SerializeToString(deterministic=True))]))[0])
    async with WatchCache(store) as cache:
        before = cache.get(key)
        assert before is not None
        message = before.message

        def hear(events: Sequence[Event]) -> None:
            heard.extend(event.old.message for event in events if event.old is not None)

        with cache.listening(["Pod"], hear):
            value = pod("a", node="n").SerializeToString(deterministic=True)
            await cache.wait_for((await store.commit([Put(key, value, first)]))[0])
        assert heard[0] is message, "who is told looks at what was there already"
        assert before.decoded is None
        assert before.message == message, "who asks later has it decoded anew"
        assert before.message is not before.message


async def test_objects_of_a_compact_kind_are_kept_as_bytes_only() -> None:
    store, heard = MemoryStore(), list[EventMessage]()
    key = Key("Event", "default", "a")
    made = EventMessage(message="hello")
    made.metadata.name, made.metadata.namespace = "a", "default"
    async with WatchCache(store) as cache:

        def hear(events: Sequence[Event]) -> None:
            heard.extend(event.new.message for event in events)

        with cache.listening(["Event"], hear):
            value = made.SerializeToString(deterministic=True)
            cache.lend(value, made)
            await cache.wait_for((await store.commit([Put(key, value)]))[0])
        kept = cache.get(key)
        assert kept is not None
        assert heard[0] is made
        assert kept.message is not kept.message


def test_events_are_a_compact_kind_and_others_are_not() -> None:
    assert retention_of("Event").compact
    assert not retention_of("Pod").compact


# ---------------------------------------------------------------- the cache


async def test_loads_then_follows() -> None:
    store = MemoryStore()
    value = pod("a", node="n1").SerializeToString(deterministic=True)
    await store.commit([Put(Key("Pod", "default", "a"), value)])
    async with WatchCache(store) as cache:
        found = cache.get(Key("Pod", "default", "a"))
        assert found is not None
        assert found.message.metadata.resource_version == "1"
        await store.commit([Put(Key("Pod", "default", "b"), value), Remove(Key("Pod", "default", "a"), value=value)])
        await cache.wait_for(3)
        assert cache.get(Key("Pod", "default", "a")) is None
        assert [(e.removed, e.old is not None) for e in cache.history("Pod").after(1)] == [(False, False), (True, True)]
        await cache.wait_for(2)


async def test_a_lent_message_is_used_and_stamped() -> None:
    store = MemoryStore()
    async with WatchCache(store) as cache:
        lent, returned = pod("a"), pod("b")
        values = [each.SerializeToString(deterministic=True) for each in (lent, returned)]
        for value, message in zip(values, (lent, returned), strict=True):
            cache.lend(value, message)
        cache.take_back(values[1])
        await store.commit([Put(key_of(lent), values[0]), Put(key_of(returned), values[1])])
        await cache.wait_for(2)
        first, second = cache.get(key_of(lent)), cache.get(key_of(returned))
        assert first is not None
        assert second is not None
        assert first.message is lent
        assert lent.metadata.resource_version == "1"
        assert second.message is not returned
        cache.verify()


async def test_a_lent_message_that_was_changed_in_place_is_not_kept() -> None:
    store = MemoryStore()
    async with WatchCache(store) as cache:
        for revision, node in enumerate(("", "n1"), start=1):
            message = pod("a", node=node)
            value = message.SerializeToString(deterministic=True)
            cache.lend(value, message)
            await store.commit([Put(key_of(message), value)])
            await cache.wait_for(revision)
            found = cache.get(key_of(message))
            assert found is not None
            assert (found.message is message) == (revision == 1)
            assert found.message.metadata.resource_version == str(revision)


async def test_a_changed_object_is_found() -> None:
    store = MemoryStore()
    value = pod("a").SerializeToString(deterministic=True)
    async with WatchCache(store) as cache:
        await store.commit([Put(Key("Pod", "default", "a"), value)])
        await cache.wait_for(1)
        found = cache.get(Key("Pod", "default", "a"))
        assert found is not None
        found.message.metadata.labels["mine"] = "now"
        with pytest.raises(AssertionError, match="changed in the cache by a reader"):
            cache.verify()


async def test_a_failure_to_follow_ends_what_stands_on_the_cache() -> None:
    store = MemoryStore()

    async def stand_on_it() -> None:
        async with WatchCache(store):
            await store.commit([Put(Key("Nonsense", "", "a"), b"")])
            await asyncio.sleep(10)

    with pytest.raises(ExceptionGroup) as failed:
        await stand_on_it()
    assert failed.group_contains(KeyError)


def test_a_message_that_nobody_asks_for_is_let_go_and_decoded_anew() -> None:
    kept = item(pod(), revision=7)
    first = kept.message
    assert not kept.cool(), "it was asked for"
    assert kept.decoded is first
    assert kept.cool(), "nobody asked since"
    assert kept.decoded is None
    assert kept.message == first
    assert kept.message.metadata.resource_version == "7"


async def test_a_cluster_at_rest_is_mostly_bytes() -> None:
    store, clock = MemoryStore(), VirtualClock()
    key = Key("Pod", "default", "a")
    await store.commit([Put(key, pod().SerializeToString(deterministic=True))])
    async with WatchCache(store) as cache, asyncio.TaskGroup() as group:
        cooling = group.create_task(cache.cool(clock))
        kept = cache.get(key)
        assert kept is not None
        assert kept.message.metadata.name == "a"
        await clock.advance(2 * COOLING_SECONDS)
        assert kept.decoded is None
        cooling.cancel()
