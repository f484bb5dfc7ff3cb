"""Which policies a new or changed object meets: read from memory, in the step in which its write is planned.

What there is none of costs one look into a dictionary.
"""

from __future__ import annotations

from collections.abc import Sequence

from master.admission import limit_ranges
from master.admission.surroundings import NONE, Surroundings
from master.cache.cache import WatchCache
from podium.objects.kinds import Kind
from podium.v1.policy_pb2 import LimitRange, PriorityClass


def surroundings_of(cache: WatchCache, kind: Kind, namespace: str) -> Surroundings:
    """What the admission of an object of this kind, in this namespace, depends on."""
    if kind.name == "PriorityClass":
        return Surroundings(priority_classes=CachedClasses(cache))
    if not limit_ranges.concerns(kind.name):
        return NONE
    ranges = _limit_ranges(cache, namespace)
    if kind.name == "Pod":
        return Surroundings(limit_ranges=ranges, priority_classes=CachedClasses(cache))
    return Surroundings(limit_ranges=ranges) if ranges else NONE


def _limit_ranges(cache: WatchCache, namespace: str) -> Sequence[LimitRange]:
    table = cache.tables["LimitRange"]
    return [item.message for item in table.scan(namespace)] if table.size(namespace) else ()


class CachedClasses:
    """See `master.admission.priority.PriorityClasses`."""

    __slots__ = ("_table",)

    def __init__(self, cache: WatchCache) -> None:
        self._table = cache.tables["PriorityClass"]

    def named(self, name: str) -> PriorityClass | None:
        item = self._table.get("", name)
        if item is None:
            return None
        cls: PriorityClass = item.message
        return cls

    def default(self) -> PriorityClass | None:
        """Of several (which two writers at once could make) the one of the lowest value."""
        if not self._table.count:
            return None
        found = [item.message for item in self._table.scan() if item.message.global_default]
        return min(found, key=lambda cls: cls.value, default=None)

    def names(self) -> Sequence[str]:
        return [item.key.name for item in self._table.scan()]
