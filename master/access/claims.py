"""What a claim's write needs to know of storage classes: which one is the default, and whether a claim may grow."""

from __future__ import annotations

from master.cache.cache import WatchCache
from podium.errors import Violation
from podium.objects import storage
from podium.objects.kinds import Key
from podium.objects.refusal import refusal
from podium.v1.storage_pb2 import PersistentVolumeClaim, StorageClass


def choose_class(claim: PersistentVolumeClaim, cache: WatchCache) -> None:
    """Give a new claim that names no class the default one, if there is one. In place."""
    if claim.spec.HasField("storage_class_name"):
        return
    classes = (item.message for item in cache.tables["StorageClass"].scan())
    chosen = storage.default_class(classes)
    if chosen is not None:
        claim.spec.storage_class_name = chosen.metadata.name


def check_growth(new: PersistentVolumeClaim, old: PersistentVolumeClaim, cache: WatchCache) -> None:
    """Return when a claim's request did not grow, or may.

    Raises:
        Invalid: Its class does not allow it.
    """
    if storage.requested_storage(new) <= storage.requested_storage(old) or not storage.is_bound(old):
        return
    name = new.spec.storage_class_name
    item = cache.get(Key("StorageClass", "", name)) if name else None
    cls: StorageClass | None = item.message if item is not None else None
    if cls is not None and cls.allow_volume_expansion:
        return
    path, subject = "spec.resources.requests[storage]", f'PersistentVolumeClaim "{new.metadata.name}"'
    if cls is None:
        why = f'its storage class "{name}" is not there' if name else "it has no storage class"
        raise refusal(subject, [Violation(path, f"must not grow: {why}")])
    hint = f"set allowVolumeExpansion: true on StorageClass {name}"
    raise refusal(subject, [Violation(path, f'must not grow: storage class "{name}" does not allow it', hint)])
