"""Which policies a new object meets. Of a namespace that has none, this costs one look into a dictionary."""

from __future__ import annotations

from master.admission import limit_ranges
from master.admission.surroundings import NONE, Surroundings
from master.cache.cache import WatchCache
from podium.objects.kinds import Kind


def surroundings_of(cache: WatchCache, kind: Kind, namespace: str) -> Surroundings:
    """What the admission of an object of this kind, in this namespace, depends on."""
    if not limit_ranges.concerns(kind.name):
        return NONE
    ranges = cache.tables["LimitRange"]
    if not ranges.size(namespace):
        return NONE
    return Surroundings(limit_ranges=[item.message for item in ranges.scan(namespace)])
