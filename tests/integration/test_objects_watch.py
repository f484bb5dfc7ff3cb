"""Watching objects over gRPC: nothing missed, selections respected, slow watchers told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from master.api import objects
from master.cache.retention import Retention
from master.store.memory import MemoryStore
from podium.client.failures import from_rpc_error
from podium.errors import BadRequest, Expired, Forbidden, PodiumError, TooSlow
from podium.v1 import objects_service_pb2 as wire
from podium.v1.core_pb2 import Binding, Pod
from podium.v1.objects_service_pb2_grpc import ObjectsStub
from tests.support.objects_api import ADMIN, Api, any_unpacked, objects_api, packed, pod
from tests.support.waiting import until

Seen = tuple[str, str]
"""Type of event and name of object."""


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with objects_api(MemoryStore()) as served:
        yield served


class Watcher:
    """Reads a watch, event by event."""

    def __init__(self, api: Api, **request: Any) -> None:
        metadata = request.pop("metadata", None)
        self._call = api.stub.raw.Watch(wire.WatchRequest(kind="Pod", **request), metadata=metadata)
        self._events: list[Any] = []
        self.revision = 0

    async def next(self) -> Any:
        """The next event."""
        while not self._events:
            async with asyncio.timeout(10):
                try:
                    frame = await self._call.read()
                except grpc.aio.AioRpcError as error:
                    raise from_rpc_error(error) from None
            assert isinstance(frame, wire.WatchResponse), "the watch ended"
            self._events += frame.events
            self.revision = int(frame.resource_version or 0)
        return self._events.pop(0)

    async def take(self, count: int) -> list[Seen]:
        """The next events, in short."""
        return [short(await self.next()) for _ in range(count)]

    def stop(self) -> None:
        self._call.cancel()


def short(event: Any) -> Seen:
    return wire.WatchEvent.Type.Name(event.type), any_unpacked(event.object).metadata.name


async def label(api: Api, name: str, **labels: str) -> Pod:
    changed = await api.get(Pod, name)
    changed.metadata.labels.clear()
    changed.metadata.labels.update(labels)
    return await api.update(changed)


async def test_first_what_exists_then_a_bookmark_then_changes(api: Api) -> None:
    for name in "ab":
        await api.create(pod(name))
    listed = api.reader.revision
    watcher = Watcher(api)
    assert await watcher.take(2) == [("ADDED", "a"), ("ADDED", "b")]
    bookmark = await watcher.next()
    assert bookmark.type == wire.WatchEvent.BOOKMARK
    assert any_unpacked(bookmark.object).metadata.resource_version == str(listed)
    await label(api, "a", x="y")
    await api.delete(Pod, "b")
    assert await watcher.take(2) == [("MODIFIED", "a"), ("DELETED", "b")]
    assert watcher.revision == api.reader.revision
    watcher.stop()


async def test_events_carry_the_object_as_it_was_written(api: Api) -> None:
    watcher = Watcher(api, resource_version=str(api.reader.revision))
    created = await api.create(pod("a"))
    assert any_unpacked((await watcher.next()).object) == created
    deleted = await api.delete(Pod, "a")
    last = any_unpacked((await watcher.next()).object)
    assert last == deleted
    assert int(last.metadata.resource_version) > int(created.metadata.resource_version)
    watcher.stop()


async def test_resuming_at_any_revision_misses_nothing(api: Api) -> None:
    start = api.reader.revision
    for i in range(20):
        await api.create(pod(f"p{i:02}"))
    for after in range(20):
        watcher = Watcher(api, resource_version=str(start + after))
        assert await watcher.take(20 - after) == [("ADDED", f"p{i:02}") for i in range(after, 20)]
        watcher.stop()


async def test_a_selection_is_entered_and_left(api: Api) -> None:
    await api.create(pod("a", app="x"))
    watcher = Watcher(api, label_selector="app=x")
    assert await watcher.take(2) == [("ADDED", "a"), ("BOOKMARK", "")]
    await label(api, "a", app="x", more="yes")
    left = await label(api, "a", app="y")
    await label(api, "a", app="z")
    await label(api, "a", app="x")
    await api.create(pod("b", app="y"))
    await api.delete(Pod, "b")
    await api.delete(Pod, "a")
    modified, deleted, added, gone = [await watcher.next() for _ in range(4)]
    assert [short(e)[0] for e in (modified, deleted, added, gone)] == ["MODIFIED", "DELETED", "ADDED", "DELETED"]
    last = any_unpacked(deleted.object).metadata
    assert dict(last.labels) == {"app": "x", "more": "yes"}, "the last state that was selected"
    assert last.resource_version == left.metadata.resource_version, "at the revision of leaving"
    watcher.stop()


async def test_watching_the_pods_of_a_node(api: Api) -> None:
    watcher = Watcher(api, field_selector="spec.nodeName=n1", resource_version=str(api.reader.revision))
    for name, node in (("a", "n2"), ("b", "n1")):
        created = await api.create(pod(name))
        binding = Binding(metadata=created.metadata)
        binding.target.name = node
        await api.stub.Create(wire.CreateRequest(object=packed(binding), subresource="binding"))
    assert await watcher.take(1) == [("ADDED", "b")]
    watcher.stop()


async def test_an_object_made_anew_is_deleted_and_added(api: Api) -> None:
    watcher = Watcher(api, resource_version=str(api.reader.revision))
    for _ in range(2):
        await api.create(pod("a"))
        await api.delete(Pod, "a")
    assert await watcher.take(4) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a"), ("DELETED", "a")]
    watcher.stop()


async def test_bookmarks_come_when_nothing_else_does(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "BOOKMARK_SECONDS", 0.05)
    watcher = Watcher(api, resource_version=str(api.reader.revision), allow_bookmarks=True, label_selector="app=none")
    await api.create(pod("a"))
    assert await watcher.take(1) == [("BOOKMARK", "")]
    while watcher.revision < api.reader.revision:
        await watcher.take(1)
    watcher.stop()


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        ({"resource_version": "soon"}, BadRequest, "not one that this server gave"),
        ({"resource_version": "999999"}, Expired, "not of this history"),
        ({"label_selector": "a=("}, BadRequest, "label selector"),
        ({"metadata": (("groups", "nobody"),)}, Forbidden, "cannot watch Pod"),
    ],
)
async def test_refused_watches(api: Api, request_: dict[str, Any], error: type[PodiumError], says: str) -> None:
    with pytest.raises(error, match=says):
        await Watcher(api, **request_).next()


async def test_history_that_is_gone_is_expired(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    start = api.reader.revision
    monkeypatch.setattr(api.cache.history("Pod"), "_retention", Retention(events=4))
    for i in range(20):
        await api.create(pod(f"p{i}"))
    with pytest.raises(Expired, match="list again"):
        await Watcher(api, resource_version=str(start)).next()


def refused_watches() -> float:
    labels = {"method": "Objects/Watch", "code": "RESOURCE_EXHAUSTED"}
    return REGISTRY.get_sample_value("podium_master_grpc_requests_total", labels) or 0.0


async def read_all(call: Any) -> None:
    async with asyncio.timeout(10):
        async for _ in call:
            pass


async def test_who_never_reads_is_told_and_slows_nobody(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "SEND_SECONDS", 0.2)
    monkeypatch.setattr(api.cache.history("Pod"), "_retention", Retention(events=50))
    start, before = str(api.reader.revision), refused_watches()
    options = [("grpc.http2.lookahead_bytes", 1024), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{api.port}", options=options) as channel:
        stub: Any = ObjectsStub(channel)
        sleeper = stub.Watch(wire.WatchRequest(kind="Pod", resource_version=start))
        quick = Watcher(api, resource_version=start)
        for i in range(300):
            big = pod(f"p{i:03}")
            big.metadata.annotations["fill"] = "x" * 100_000
            await api.writer.create(big, by=ADMIN)
            assert await quick.take(1) == [("ADDED", f"p{i:03}")]
        quick.stop()
        await until(lambda: refused_watches() > before)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await read_all(sleeper)
        error = from_rpc_error(failed.value)
        assert isinstance(error, TooSlow)
        assert "list again" in error.message


async def test_a_hundred_watchers_with_selections_agree_with_lists(api: Api) -> None:
    """Random changes; each watcher's picture, kept from events only, is what a list says at the end."""
    rng = random.Random(7)
    selectors = [f"app={app}" for app in "abc"] + ["", "app!=a", "tier"]
    watchers = [(s, Watcher(api, label_selector=s)) for s in selectors * 4]
    pictures: list[dict[str, Pod]] = [{} for _ in watchers]

    async def follow(picture: dict[str, Pod], watcher: Watcher) -> None:
        while True:
            event = await watcher.next()
            obj = any_unpacked(event.object)
            name = obj.metadata.name
            match event.type:
                case wire.WatchEvent.ADDED:
                    assert name not in picture
                    picture[name] = obj
                case wire.WatchEvent.MODIFIED:
                    assert name in picture
                    picture[name] = obj
                case wire.WatchEvent.DELETED:
                    del picture[name]
                    if name == "end":
                        return

    async with asyncio.TaskGroup() as tasks:
        for picture, (_, watcher) in zip(pictures, watchers, strict=True):
            tasks.create_task(follow(picture, watcher))
        for _ in range(400):
            name = f"p{rng.randrange(20)}"
            labels = {k: rng.choice(v) for k, v in {"app": "abc", "tier": "xy"}.items() if rng.random() < 0.7}
            existing = api.reader.get(Pod, "default", name)
            if existing is None:
                await api.create(pod(name, **labels))
            elif rng.random() < 0.3:
                await api.delete(Pod, name)
            else:
                await label(api, name, **labels)
        for app in "abc":  # an end that every selection sees
            await api.create(pod("end", app=app, tier="x"))
            await api.delete(Pod, "end")
    for picture, (selector, watcher) in zip(pictures, watchers, strict=True):
        listed = await api.stub.List(wire.ListRequest(kind="Pod", label_selector=selector))
        assert picture == {(o := any_unpacked(item)).metadata.name: o for item in listed.items}
        watcher.stop()
