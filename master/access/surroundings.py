"""Which policies a new or changed object meets: read from memory, in the step in which its write is planned.

Policies change seldom and objects are written all the time: what a namespace has is remembered until one changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from master.admission import limit_ranges
from master.admission.surroundings import NONE, Surroundings
from master.cache.cache import WatchCache
from master.cache.item import Event
from podium.objects.kinds import Kind
from podium.v1.policy_pb2 import PriorityClass


class Policies:
    """See the module. Made on a loaded cache, which it follows for as long as that lives."""

    def __init__(self, cache: WatchCache) -> None:
        self._cache = cache
        self._known: dict[tuple[str, str], Surroundings] = {}
        self._forget(())
        cache.follow(("LimitRange", "PriorityClass", "Namespace"), self._forget)

    def around(self, kind: Kind, namespace: str) -> Surroundings:
        """What the admission of an object of this kind, in this namespace, depends on."""
        found = self._known.get((kind.name, namespace))
        if found is None:
            found = self._known[kind.name, namespace] = self._read(kind.name, namespace)
        return found

    def _read(self, kind: str, namespace: str) -> Surroundings:
        if kind == "PriorityClass":
            return Surroundings(priority_classes=self._classes)
        if not limit_ranges.concerns(kind):
            return NONE
        ranges = [item.message for item in self._cache.tables["LimitRange"].scan(namespace)] if namespace else ()
        if kind == "Pod":
            return Surroundings(limit_ranges=ranges, priority_classes=self._classes)
        return Surroundings(limit_ranges=ranges) if ranges else NONE

    def _forget(self, events: Sequence[Event]) -> None:
        self._known.clear()
        self._classes = CachedClasses(self._cache)


class CachedClasses:
    """See `master.admission.priority.PriorityClasses`. Good for as long as no class changes."""

    def __init__(self, cache: WatchCache) -> None:
        self._table = cache.tables["PriorityClass"]

    def named(self, name: str) -> PriorityClass | None:
        item = self._table.get("", name)
        if item is None:
            return None
        cls: PriorityClass = item.message
        return cls

    def default(self) -> PriorityClass | None:
        return self._default

    @cached_property
    def _default(self) -> PriorityClass | None:
        """Of several (which two writers at once could make) the one of the lowest value."""
        found = [item.message for item in self._table.scan() if item.message.global_default]
        return min(found, key=lambda cls: cls.value, default=None)

    def names(self) -> Sequence[str]:
        return [item.key.name for item in self._table.scan()]
