"""Subscriptions: first everything, then changes, coalesced per object however slow the reader is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from master.access.protocol import Change, ChangeType
from master.access.reader import CacheReader
from master.cache.cache import WatchCache
from master.store.memory import MemoryStore
from master.store.protocol import Put, Remove
from podium.objects.kinds import Key
from podium.v1.core_pb2 import Node, Pod


class World:
    """A cache over a memory store, and pods written straight into it."""

    def __init__(self, store: MemoryStore, cache: WatchCache) -> None:
        self.store, self.cache, self.reader = store, cache, CacheReader(cache)

    async def put(self, name: str, uid: str = "u", label: str = "") -> None:
        pod = Pod()
        pod.metadata.name, pod.metadata.namespace, pod.metadata.uid = name, "d", uid
        pod.metadata.labels["l"] = label
        [revision] = await self.store.commit([Put(Key("Pod", "d", name), pod.SerializeToString(deterministic=True))])
        await self.cache.wait_for(revision)

    async def remove(self, name: str) -> None:
        item = self.cache.get(Key("Pod", "d", name))
        assert item is not None
        [revision] = await self.store.commit([Remove(Key("Pod", "d", name), value=item.value)])
        await self.cache.wait_for(revision)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    store = MemoryStore()
    async with WatchCache(store, detect_mutation=True) as cache:
        yield World(store, cache)


async def following(batches: AsyncIterator[Sequence[Change[Any]]]) -> list[tuple[str, str, str]]:
    """The next batch: what happened, to which object, with which label now."""
    async with asyncio.timeout(5):
        batch = await anext(batches)
    return [(c.type.name, f"{c.new.metadata.name}/{c.new.metadata.uid}", c.new.metadata.labels["l"]) for c in batch]


async def test_the_first_batch_is_what_exists_even_if_nothing(world: World) -> None:
    async with world.reader.subscribe(Pod) as subscription:
        assert await following(aiter(subscription)) == []
    await world.put("a")
    async with world.reader.subscribe(Pod, Node) as subscription:
        assert await following(aiter(subscription)) == [("ADDED", "a/u", "")]


async def test_changes_come_with_before_and_after(world: World) -> None:
    await world.put("a", label="1")
    async with world.reader.subscribe(Pod) as subscription:
        batches = aiter(subscription)
        await following(batches)
        await world.put("a", label="2")
        [change] = await anext(batches)
        assert change.type is ChangeType.MODIFIED
        assert change.old is not None
        assert (change.old.metadata.labels["l"], change.new.metadata.labels["l"]) == ("1", "2")
        assert change.revision == world.reader.revision
        await world.remove("a")
        assert await following(batches) == [("DELETED", "a/u", "2")]


async def test_a_slow_reader_gets_one_change_an_object(world: World) -> None:
    await world.put("kept", label="0")
    await world.put("gone", label="0")
    async with world.reader.subscribe(Pod) as subscription:
        batches = aiter(subscription)
        await following(batches)
        for label in "123":
            for name in ("kept", "gone", "new", "brief"):
                await world.put(name, label=label)
        await world.remove("gone")
        await world.remove("brief")
        assert await following(batches) == [
            ("MODIFIED", "kept/u", "3"),
            ("ADDED", "new/u", "3"),
            ("DELETED", "gone/u", "3"),
        ]


async def test_an_object_made_anew_is_not_the_old_one(world: World) -> None:
    await world.put("a", uid="1")
    async with world.reader.subscribe(Pod) as subscription:
        batches = aiter(subscription)
        await following(batches)
        await world.remove("a")
        await world.put("a", uid="2")
        assert await following(batches) == [("DELETED", "a/1", ""), ("ADDED", "a/2", "")]
        await world.remove("a")
        await world.put("a", uid="3")
        await world.remove("a")
        assert await following(batches) == [("DELETED", "a/2", "")]


async def test_after_leaving_nothing_is_gathered(world: World) -> None:
    async with world.reader.subscribe(Pod) as subscription:
        pass
    await world.put("a")
    assert await following(aiter(subscription)) == []


async def test_random_readers_end_with_the_true_state(world: World) -> None:
    """Whatever was coalesced, applying the changes gives what is, and each change fits the state before it."""
    rng = random.Random(3)
    async with world.reader.subscribe(Pod) as subscription:
        picture: dict[str, str] = {}
        batches = aiter(subscription)
        for turn in range(300):
            name = f"p{rng.randrange(5)}"
            if world.reader.get(Pod, "d", name) is not None and rng.random() < 0.4:
                await world.remove(name)
            else:
                existing = world.reader.get(Pod, "d", name)
                await world.put(name, existing.metadata.uid if existing else str(turn), label=str(turn))
            if turn % 50 == 49 or rng.random() < 0.2:
                await world.put("mark", "mark", label=str(turn))  # so that there is something to read
                async with asyncio.timeout(5):
                    _apply(picture, await anext(batches))
                assert picture == {p.metadata.name: p.metadata.resource_version for p in world.reader.list(Pod)}


def _apply(picture: dict[str, str], batch: Sequence[Change[Pod]]) -> None:
    for change in batch:
        name = change.new.metadata.name
        assert (change.type is ChangeType.ADDED) == (name not in picture)
        assert (change.old is None) == (change.type is ChangeType.ADDED)
        if change.type is ChangeType.DELETED:
            del picture[name]
        else:
            picture[name] = change.new.metadata.resource_version
