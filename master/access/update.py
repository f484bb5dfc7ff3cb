"""Changing what exists: optimistic concurrency, spec apart from status, generations, and the end of a deletion."""

from __future__ import annotations

from typing import Any

from master.access.authorship import ROLLED, name_author
from master.access.claims import check_growth
from master.access.planned import Planned, Situation, copy_of, put, remove
from master.access.pod_parts import is_part, with_part
from master.admission import admit, admit_status, check_bounds
from master.cache.item import Item
from podium.codec.apply import track_update
from podium.errors import BadRequest, Conflict
from podium.objects.kinds import Key, Kind, kind_of
from podium.objects.meta import is_terminating
from podium.v1.meta_pb2 import ObjectMeta

STATUS, RESIZE = "status", "resize"


def plan_update(
    new: Any, current: Item, situation: Situation, *, subresource: str = "", manager: str = "", applied: bool = False
) -> Planned:
    """Decide the replacement of `current` by `new`, which is completed in place.

    Args:
        new: The object as its author wants it.
        current: The object as it is.
        situation: See there.
        subresource: "", "status", or a part of a pod's spec.
        manager: Who owns the fields that change; empty: the caller.
        applied: `new` comes of an apply, so its managedFields are right already.

    Raises:
        Conflict: `new` names another resourceVersion or uid.
        Invalid: Fields are refused.
        Forbidden: It is beyond the bounds of its namespace.
        BadRequest: There is no such sub-resource.
    """
    kind, key = kind_of(new), current.key
    check_same(key, new.metadata, current)
    if subresource == STATUS:
        return put(key, _with_status(kind, new, current), current)
    old = current.message
    if is_part(kind.name, subresource):
        new, before, applied = *with_part(new, current, subresource), False
    elif subresource:
        raise BadRequest(f'{kind.name} has no sub-resource "{subresource}" that can be written so')
    else:
        before = old
    _keep_identity(new.metadata, old.metadata)
    if STATUS in kind.subresources:
        _keep_status(new, old)
    if kind.name == "Service":
        situation.addresses.complete(new, old, situation.cache, situation.now)
    around = situation.policies.around(kind, key.namespace)
    admit(new, before, around)
    if subresource == RESIZE:
        check_bounds(new, around)
    if kind.name in ROLLED:
        name_author(new, old, situation.by)
    if kind.name == "PersistentVolumeClaim":
        check_growth(new, old, situation.cache)
    if kind.has_generation and new.spec != old.spec:
        new.metadata.generation = old.metadata.generation + 1
    if not applied and new.metadata.managed_fields == old.metadata.managed_fields:
        track_update(old, new, manager or situation.by.user, situation.now)
    if is_finished(kind, new):
        return remove(key, new, current)
    return put(key, new, current)


def check_same(key: Key, metadata: ObjectMeta, current: Item) -> None:
    """Return when `metadata` names no other revision and no other object than `current`.

    Raises:
        Conflict: It does.
    """
    if metadata.uid and metadata.uid != current.message.metadata.uid:
        raise Conflict(
            f'{key.kind} "{key.name}" is another object than meant: its uid is {current.message.metadata.uid}, '
            f"not {metadata.uid}",
            {"kind": key.kind, "name": key.name},
        )
    if metadata.resource_version and metadata.resource_version != str(current.revision):
        raise Conflict(
            f'{key.kind} "{key.name}" was changed in the meantime: it is at resourceVersion {current.revision}, '
            f"not {metadata.resource_version}; read it again and retry",
            {"kind": key.kind, "name": key.name, "resourceVersion": str(current.revision)},
        )


def is_finished(kind: Kind, obj: Any) -> bool:
    """Whether nothing holds an object any more whose deletion was asked for: neither finalizers nor grace."""
    if not is_terminating(obj) or obj.metadata.finalizers:
        return False
    if kind.name == "Namespace" and obj.spec.finalizers:
        return False
    return not obj.metadata.deletion_grace_period_seconds


def _with_status(kind: Kind, new: Any, current: Item) -> Any:
    if STATUS not in kind.subresources:
        raise BadRequest(f'{kind.name} has no sub-resource "status"')
    changed = copy_of(current)
    changed.ClearField("status")
    if new.HasField("status"):
        changed.status.CopyFrom(new.status)
    admit_status(changed, current.message)
    return changed


def _keep_status(new: Any, old: Any) -> None:
    """Undo changes of what is written through `status`."""
    new.ClearField("status")
    if old.HasField("status"):
        new.status.CopyFrom(old.status)


def _keep_identity(new: ObjectMeta, old: ObjectMeta) -> None:
    """Undo changes of what only the writer may change."""
    new.resource_version = ""
    new.uid = old.uid
    new.generation = old.generation
    new.generate_name = old.generate_name
    for name in ("creation_timestamp", "deletion_timestamp", "deletion_grace_period_seconds"):
        new.ClearField(name)
    new.creation_timestamp.CopyFrom(old.creation_timestamp)
    if old.HasField("deletion_timestamp"):
        new.deletion_timestamp.CopyFrom(old.deletion_timestamp)
    if old.HasField("deletion_grace_period_seconds"):
        new.deletion_grace_period_seconds = old.deletion_grace_period_seconds
    if not new.managed_fields:
        new.managed_fields.extend(old.managed_fields)
