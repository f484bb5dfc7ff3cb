"""What is told to many, each of whom may be a different while behind: values by key, and what changed since a version.

Keys are kept in the order of their last change, so what changed since a version is found from the end, at the cost of
what changed. Of keys that are gone the newest are remembered; who is further behind is told everything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

REMEMBERED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class News(Generic[K, V]):
    """What somebody does not know yet. `whole`: everything there is; what it has besides is gone."""

    whole: bool
    changed: Mapping[K, V]
    removed: tuple[K, ...]
    version: int

    @property
    def empty(self) -> bool:
        """Whether there is none."""
        return not (self.whole or self.changed or self.removed)


class Records(Generic[K, V]):
    """See the module. Version 0 is that of somebody who knows nothing."""

    def __init__(self) -> None:
        self.version = 1
        self._values: OrderedDict[K, tuple[int, V]] = OrderedDict()
        self._gone: OrderedDict[K, int] = OrderedDict()
        self._horizon = 0
        self._last: News[K, V] | None = None
        self._last_from = -1

    def values(self) -> Iterator[V]:
        """All values."""
        return (value for _, value in self._values.values())

    def get(self, key: K) -> V | None:
        """The value of a key."""
        found = self._values.get(key)
        return found[1] if found is not None else None

    def put(self, key: K, value: V) -> bool:
        """Set a value; whether that changed anything."""
        found = self._values.get(key)
        if found is not None and found[1] == value:
            return False
        self.version += 1
        self._values[key] = (self.version, value)
        self._values.move_to_end(key)
        self._gone.pop(key, None)
        return True

    def drop(self, key: K) -> bool:
        """Remove a key; whether it was there."""
        if self._values.pop(key, None) is None:
            return False
        self.version += 1
        self._gone[key] = self.version
        if len(self._gone) > REMEMBERED:
            _, self._horizon = self._gone.popitem(last=False)
        return True

    def since(self, version: int) -> News[K, V]:
        """What happened after a version. Many ask the same: the last answer is kept."""
        if self._last is None or self._last_from != version or self._last.version != self.version:
            self._last, self._last_from = self._news(version), version
        return self._last

    def _news(self, version: int) -> News[K, V]:
        if version == 0 or version < self._horizon:
            changed = {key: value for key, (_, value) in self._values.items()}
            return News(whole=True, changed=changed, removed=(), version=self.version)
        changed = {}
        for key, (at, value) in reversed(self._values.items()):
            if at <= version:
                break
            changed[key] = value
        removed = []
        for key, at in reversed(self._gone.items()):
            if at <= version:
                break
            removed.append(key)
        return News(whole=False, changed=changed, removed=tuple(removed), version=self.version)
