"""Defaults of PersistentVolume, PersistentVolumeClaim and StorageClass.

The finalizers that protect what is in use are put on every volume and claim, and never again once it is being deleted.
Which class a claim without one gets depends on other objects: `master.access.claims` decides it.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

from podium.errors import BadRequest
from podium.objects import storage
from podium.objects.meta import is_terminating
from podium.objects.quantity import canonical
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, StorageClass

FILESYSTEM = "Filesystem"


def volume(obj: PersistentVolume) -> None:
    """A volume is kept when its claim is gone, unless it says otherwise."""
    if not obj.spec.persistent_volume_reclaim_policy:
        obj.spec.persistent_volume_reclaim_policy = storage.RETAIN
    if not obj.spec.volume_mode:
        obj.spec.volume_mode = FILESYSTEM
    if not obj.status.phase:
        obj.status.phase = storage.PENDING
    _canonicalize(obj.spec.capacity)
    _protect(obj, storage.VOLUME_PROTECTION)


def claim(obj: PersistentVolumeClaim) -> None:
    """A claim waits for a file system."""
    claim_spec(obj.spec)
    if not obj.status.phase:
        obj.status.phase = storage.PENDING
    _protect(obj, storage.CLAIM_PROTECTION)


def claim_spec(spec: PersistentVolumeClaimSpec) -> None:
    """Of a claim's spec, or a claim template's."""
    if not spec.volume_mode:
        spec.volume_mode = FILESYSTEM
    if spec.HasField("resources"):
        _canonicalize(spec.resources.requests)
        _canonicalize(spec.resources.limits)


def storage_class(obj: StorageClass) -> None:
    """Volumes made for claims go with them, and are made at once."""
    if not obj.reclaim_policy:
        obj.reclaim_policy = storage.DELETE
    if not obj.volume_binding_mode:
        obj.volume_binding_mode = storage.IMMEDIATE


def _protect(obj: Any, finalizer: str) -> None:
    if not is_terminating(obj) and finalizer not in obj.metadata.finalizers:
        obj.metadata.finalizers.append(finalizer)


def _canonicalize(quantities: MutableMapping[str, str]) -> None:
    for name, text in list(quantities.items()):
        with suppress(BadRequest):  # validation names it
            written = canonical(text)
            if written != text:
                quantities[name] = written
