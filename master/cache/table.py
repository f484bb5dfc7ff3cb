"""All objects of one kind, with what they are looked up by: namespace and name, owner or the lack of one, node."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from master.cache.item import Item
from podium.objects.kinds import Key


class Shelf:
    """The objects of one namespace. Sorting waits until order is first asked for: loading many is then cheap."""

    __slots__ = ("_names", "_sorted", "items")

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self._names: list[str] = []
        self._sorted = False

    def put(self, item: Item) -> Item | None:
        """Add or replace; returns the one before."""
        name = item.key.name
        old = self.items.get(name)
        if old is None:
            if self._sorted:
                insort(self._names, name)
            else:
                self._names.append(name)
        self.items[name] = item
        return old

    def remove(self, name: str) -> None:
        """Remove what is there."""
        del self.items[name]
        del self._names[bisect_left(self.names, name)]

    @property
    def names(self) -> list[str]:
        """All names, in order. Not to be changed."""
        if not self._sorted:
            self._names.sort()
            self._sorted = True
        return self._names

    def __iter__(self) -> Iterator[Item]:
        return map(self.items.__getitem__, self.names)


class Table:
    """See the module. `put` and `remove` keep all indexes in step.

    Args:
        by_node: Its objects are bound to nodes.
        adoptable: Controllers adopt those of its objects that nobody controls.
    """

    def __init__(self, *, by_node: bool = False, adoptable: bool = False) -> None:
        self._shelves: dict[str, Shelf] = {}
        self._owners: dict[str, dict[Key, Item]] = {}
        self._orphans: dict[str, dict[Key, Item]] = {}
        self._nodes: dict[str, dict[Key, Item]] = {}
        self._by_node, self._adoptable = by_node, adoptable
        self.count = 0

    def get(self, namespace: str, name: str) -> Item | None:
        """The object of this name."""
        shelf = self._shelves.get(namespace)
        return None if shelf is None else shelf.items.get(name)

    def scan(self, namespace: str = "") -> Iterator[Item]:
        """All objects (of a namespace), in order of namespace and name."""
        if namespace:
            yield from self._shelves.get(namespace, ())
            return
        for each in sorted(self._shelves):
            yield from self._shelves[each]

    def everything(self) -> list[Item]:
        """All objects at this moment, in no order."""
        return [item for shelf in self._shelves.values() for item in shelf.items.values()]

    def size(self, namespace: str = "") -> int:
        """How many objects there are (in a namespace)."""
        if not namespace:
            return self.count
        shelf = self._shelves.get(namespace)
        return 0 if shelf is None else len(shelf.items)

    def owned_by(self, uid: str) -> list[Item]:
        """Objects with an ownerReference to `uid`."""
        return list(self._owners.get(uid, {}).values())

    def orphans(self, namespace: str) -> list[Item]:
        """Objects of a namespace that nobody controls, if they are of a kind that can be adopted."""
        return list(self._orphans.get(namespace, {}).values())

    def on_node(self, node: str) -> list[Item]:
        """Objects bound to a node."""
        return list(self._nodes.get(node, {}).values())

    def put(self, item: Item) -> Item | None:
        """Add or replace an object; returns the one before."""
        key = item.key
        shelf = self._shelves.get(key.namespace)
        if shelf is None:
            shelf = self._shelves[key.namespace] = Shelf()
        old = shelf.put(item)
        if old is None:
            self.count += 1
        else:
            self._unindex(old)
        self._index(item)
        return old

    def remove(self, key: Key) -> Item | None:
        """Remove an object; returns it."""
        shelf = self._shelves.get(key.namespace)
        old = None if shelf is None else shelf.items.get(key.name)
        if shelf is None or old is None:
            return None
        shelf.remove(key.name)
        if not shelf.items:
            del self._shelves[key.namespace]
        self.count -= 1
        self._unindex(old)
        return old

    def _index(self, item: Item) -> None:
        message = item.message
        controlled = False
        for reference in message.metadata.owner_references:
            self._owners.setdefault(reference.uid, {})[item.key] = item
            controlled = controlled or reference.controller
        if self._adoptable and not controlled:
            self._orphans.setdefault(item.key.namespace, {})[item.key] = item
        if self._by_node and (node := message.spec.node_name):
            self._nodes.setdefault(node, {})[item.key] = item

    def _unindex(self, item: Item) -> None:
        message = item.message
        for reference in message.metadata.owner_references:
            _drop(self._owners, reference.uid, item.key)
        if self._adoptable:
            _drop(self._orphans, item.key.namespace, item.key)
        if self._by_node and message.spec.node_name:
            _drop(self._nodes, message.spec.node_name, item.key)


def _drop(index: dict[str, dict[Key, Item]], at: str, key: Key) -> None:
    entries = index.get(at)
    if entries is not None:
        entries.pop(key, None)
        if not entries:
            del index[at]
