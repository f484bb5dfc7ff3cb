"""The way to read: objects from the watch cache, at one revision."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import TypeVar

from google.protobuf.message import Message

from master.access.listing import Page, list_page
from master.access.listing import Selection as Selection
from master.access.subscription import CacheSubscription
from master.access.watch import Newest, Watch
from master.access.watch import Seen as Seen
from master.access.watch import WatchBatch as WatchBatch
from master.cache.cache import WatchCache
from master.cache.item import Item as Item
from podium.errors import NotFound
from podium.objects.kinds import Key, kind_of
from podium.objects.selectors import Selector
from podium.v1.core_pb2 import Pod

M = TypeVar("M", bound=Message)


class CacheReader:
    """See `master.access.protocol.Reader`; and, for the API, lists and watches of encoded objects."""

    def __init__(self, cache: WatchCache) -> None:
        self._cache = cache
        self._newest: Newest = {}

    @property
    def revision(self) -> int:
        return self._cache.revision

    def get(self, kind: type[M], namespace: str, name: str) -> M | None:
        item = self._cache.tables[kind_of(kind).name].get(namespace, name)
        if item is None:
            return None
        message: M = item.message
        return message

    def list(self, kind: type[M], namespace: str = "", selector: Selector | None = None) -> builtins.list[M]:
        items = self._cache.tables[kind_of(kind).name].scan(namespace)
        if selector is None or selector.empty:
            return [item.message for item in items]
        matches = selector.matches
        return [m for item in items if matches((m := item.message).metadata.labels)]

    def count(self, kind: type[Message], namespace: str = "") -> int:
        return self._cache.tables[kind_of(kind).name].size(namespace)

    def longest_unchanged(self, kind: type[M]) -> Iterator[M]:
        items = sorted(self._cache.tables[kind_of(kind).name].scan(), key=attrgetter("revision"))
        return (item.message for item in items)

    def owned_by(self, kind: type[M], uid: str) -> builtins.list[M]:
        return [item.message for item in self._cache.tables[kind_of(kind).name].owned_by(uid)]

    def versions_owned_by(self, kind: type[Message], uid: str) -> builtins.list[tuple[Key, int]]:
        return [(item.key, item.revision) for item in self._cache.tables[kind_of(kind).name].owned_by(uid)]

    def orphans(self, kind: type[M], namespace: str) -> builtins.list[M]:
        return [item.message for item in self._cache.tables[kind_of(kind).name].orphans(namespace)]

    def pods_on(self, node: str) -> builtins.list[Pod]:
        return [item.message for item in self._cache.tables["Pod"].on_node(node)]

    def everything_in(self, namespace: str) -> Iterable[Message]:
        return (item.message for table in self._cache.tables.values() for item in table.scan(namespace))

    def subscribe(self, *kinds: type[Message]) -> CacheSubscription:
        return CacheSubscription(self._cache, kinds)

    # ------------------------------------------------------------ for the API

    def item(self, key: Key) -> Item:
        """An object with its encoded form.

        Raises:
            NotFound: There is none of this key.
        """
        item = self._cache.get(key)
        if item is None:
            raise not_found(key)
        return item

    def page(self, selection: Selection, *, limit: int = 0, continue_token: str = "") -> Page:
        """A list, or one page of it; see `master.access.listing`."""
        return list_page(self._cache, selection, limit=limit, continue_token=continue_token)

    def watch(self, selection: Selection, *, after: int) -> Watch:
        """The changes after a revision of what is selected; see `master.access.watch`."""
        return Watch(self._cache, self._newest, selection, after=after)


def not_found(key: Key) -> NotFound:
    """The error for a key that names nothing."""
    where = f' in namespace "{key.namespace}"' if key.namespace else ""
    return NotFound(f'{key.kind} "{key.name}" not found{where}', {"kind": key.kind, "name": key.name})
