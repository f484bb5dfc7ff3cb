"""Server-side apply on objects: `podium.objects.ownership` between the codec and `metadata.managedFields`."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from podium.codec.json import from_dict, object_from_dict, to_dict
from podium.objects import fields, ownership
from podium.objects.kinds import Kind, kind_of
from podium.objects.ownership import APPLY, BEFORE_FIRST_APPLY, UPDATE, Owner
from podium.objects.schema import of_message
from podium.objects.secret import fold_string_data
from podium.v1.core_pb2 import Secret
from podium.v1.meta_pb2 import ManagedFieldsEntry, ObjectMeta

M = TypeVar("M", bound=Message)

_FIELDS_TYPE = "FieldsV1"


def server_side_apply(
    live: Any | None, manifest: dict[str, Any], manager: str, force: bool, now: datetime.datetime
) -> Any:
    """The object that applying `manifest` makes of `live`, with its managedFields.

    Fields of an existing object that has no managedFields yet are taken to belong to `before-first-apply`. The result
    is neither defaulted nor validated. A resourceVersion or uid in the manifest is carried over, for the writer to
    check.

    Args:
        live: The object as it is, or None to create it. Not changed.
        manifest: In Kubernetes' form.
        manager: Who applies.
        force: Take over fields that others own.
        now: When the manager's set of fields is said to have changed.

    Raises:
        Invalid: The manifest has fields that do not exist or have a wrong type.
        Conflict: Another manager owns a field with another value; names each field and manager.
    """
    wanted, applied = _canonical(manifest)
    kind = kind_of(wanted)
    schema = of_message(wanted)
    me = Owner(
        manager=manager,
        operation=APPLY,
        api_version=kind.api_version,
        seconds=int(now.timestamp()),
        fields=frozenset(),
    )
    current = to_dict(live) if live is not None else _identity(applied)
    owners = _owners_before(live, current, kind, me.seconds) if live is not None else []
    outcome = ownership.apply(current, applied, owners, me, schema=schema, force=force)
    result = from_dict(kind, outcome.data)
    _carry_preconditions(result.metadata, wanted.metadata)
    _write(result.metadata, outcome.owners)
    return result


def track_update(old: M, new: M, manager: str, now: datetime.datetime) -> M:
    """Set `new`'s managedFields after `manager` changed `old` into it.

    Does nothing to an object that was never applied. Changes of status are not tracked: nobody applies it. `new` is
    changed in place, and returned.
    """
    metadata: ObjectMeta = new.metadata  # type: ignore[attr-defined]  # every kind has it
    before: ObjectMeta = old.metadata  # type: ignore[attr-defined]
    if not before.managed_fields:
        return new
    me = Owner(
        manager=manager,
        operation=UPDATE,
        api_version=kind_of(new).api_version,
        seconds=int(now.timestamp()),
        fields=frozenset(),
    )
    owners = ownership.track(to_dict(old), to_dict(new), read_owners(before.managed_fields), me, schema=of_message(new))
    _write(metadata, owners)
    return new


def read_owners(entries: Iterable[ManagedFieldsEntry]) -> list[Owner]:
    """The owners that an object's managedFields record."""
    return [
        Owner(
            manager=entry.manager,
            operation=entry.operation,
            api_version=entry.api_version,
            seconds=entry.time.seconds,
            subresource=entry.subresource,
            fields=fields.from_fields_v1(json.loads(entry.fields_v1 or b"{}")),
        )
        for entry in entries
    ]


def _owners_before(live: Any, current: dict[str, Any], kind: Kind, seconds: int) -> list[Owner]:
    owners = read_owners(live.metadata.managed_fields)
    if owners:
        return owners
    everything = fields.field_set(ownership.owned_part(current), of_message(live))
    return [
        Owner(
            manager=BEFORE_FIRST_APPLY,
            operation=UPDATE,
            api_version=kind.api_version,
            seconds=seconds,
            fields=everything,
        )
    ]


def _canonical(manifest: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The manifest as an object, and as data with values in canonical form and its explicit zeros kept."""
    wanted = object_from_dict(manifest)
    if isinstance(wanted, Secret):
        fold_string_data(wanted)
        return wanted, to_dict(wanted)
    return wanted, _with_zeros(to_dict(wanted), manifest)


def _with_zeros(encoded: Any, written: Any) -> Any:
    """`encoded`, with what encoding drops (`paused: false`) put back: an applied zero is owned, and resets a field."""
    if isinstance(encoded, dict) and isinstance(written, dict):
        restored = {key: _with_zeros(value, written.get(key)) for key, value in encoded.items()}
        return restored | {k: v for k, v in written.items() if k not in restored and _is_zero(v)}
    if isinstance(encoded, list) and isinstance(written, list) and len(encoded) == len(written):
        return [_with_zeros(*pair) for pair in zip(encoded, written, strict=True)]
    return encoded


def _is_zero(value: Any) -> bool:
    return value is False or (isinstance(value, (int, str)) and value in (0, ""))


def _identity(applied: dict[str, Any]) -> dict[str, Any]:
    metadata = applied.get("metadata", {})
    named = {key: metadata[key] for key in ("name", "generateName", "namespace") if key in metadata}
    return {"apiVersion": applied["apiVersion"], "kind": applied["kind"], "metadata": named}


def _carry_preconditions(metadata: ObjectMeta, wanted: ObjectMeta) -> None:
    if wanted.resource_version:
        metadata.resource_version = wanted.resource_version
    if wanted.uid:
        metadata.uid = wanted.uid


def _write(metadata: ObjectMeta, owners: Sequence[Owner]) -> None:
    del metadata.managed_fields[:]
    for owner in owners:
        entry = metadata.managed_fields.add(
            manager=owner.manager,
            operation=owner.operation,
            api_version=owner.api_version,
            fields_type=_FIELDS_TYPE,
            fields_v1=json.dumps(fields.to_fields_v1(owner.fields), separators=(",", ":")).encode(),
            subresource=owner.subresource,
        )
        entry.time.seconds = owner.seconds
