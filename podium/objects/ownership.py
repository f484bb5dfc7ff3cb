"""Server-side apply (KEP-555): who owns which fields, what an apply may change, what it takes away.

    apply    the manager owns what its manifest has. A field that another manager owns and has with another value is a
             conflict; a field that it owned, no longer has, and nobody else owns, is removed.
    update   whoever changes a field by another verb owns it, and others cease to.

Pure: plain data and sets of fields in, the same out. `podium.codec.apply` does it to objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from podium.errors import Conflict
from podium.objects import fields
from podium.objects.fields import MISSING, Data, FieldSet
from podium.objects.schema import Schema

APPLY, UPDATE = "Apply", "Update"
BEFORE_FIRST_APPLY = "before-first-apply"

NAMED = 20
"""Conflicts that a refusal names, one by one; a status travels in a header, which must not grow without bounds."""

_SERVER_METADATA = frozenset((
    "name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields",
))  # fmt: skip

_ROOTS = frozenset({("f:metadata",)})
"""Holds what has no owner, and so is never removed with the last field that had one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """One manager's fields.

    Attributes:
        manager: Its name.
        operation: `Apply` or `Update`; the same name may have one entry of each.
        api_version: Of the manifest or object that it wrote.
        seconds: When its set last changed, since the epoch.
        subresource: Through which it wrote; empty for the object itself.
        fields: What it owns.
    """

    manager: str
    operation: str
    api_version: str
    seconds: int
    fields: FieldSet
    subresource: str = ""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What tells two entries apart."""
        return self.manager, self.operation, self.api_version, self.subresource


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The outcome of an apply."""

    data: Data
    owners: tuple[Owner, ...]


def owned_part(data: Data) -> Data:
    """What of an object's data can have owners: not status, not identity, not what the server fills in."""
    part = {name: value for name, value in data.items() if name not in ("apiVersion", "kind", "status")}
    metadata = part.get("metadata")
    if isinstance(metadata, dict):
        part["metadata"] = {name: value for name, value in metadata.items() if name not in _SERVER_METADATA}
        if not part["metadata"]:
            del part["metadata"]
    return part


def apply(live: Data, manifest: Data, owners: Sequence[Owner], me: Owner, *, schema: Schema, force: bool) -> Applied:
    """Apply a manifest.

    Args:
        live: The object as it is; empty when it is to be created.
        manifest: What is applied, values in canonical form.
        owners: Of the live object.
        me: Who applies, and when; its fields are not read.
        schema: Of the kind.
        force: Take conflicting fields over.

    Raises:
        Conflict: Names each field and the manager that owns it.
    """
    wanted = owned_part(manifest)
    mine = fields.field_set(wanted, schema)
    before = next((o for o in owners if o.identity == me.identity), None)
    others = [o for o in owners if o.identity != me.identity]
    conflicts = _conflicts(live, wanted, mine, others, schema)
    if conflicts and not force:
        raise _conflict(conflicts)
    others = [replace(o, fields=o.fields - {path for owner, path in conflicts if owner is o}) for o in others]
    merged = fields.merge(live, wanted, schema)
    if before is not None:
        merged = fields.remove(merged, _abandoned(before.fields, mine, others))
    kept = before is not None and before.fields == mine
    entry = replace(me, fields=mine, seconds=before.seconds if kept and before is not None else me.seconds)
    return Applied(data=merged, owners=tuple(o for o in (*others, entry) if o.fields))


def _conflicts(
    live: Data, wanted: Data, mine: FieldSet, others: Sequence[Owner], schema: Schema
) -> list[tuple[Owner, fields.Path]]:
    here, there = fields.Finder(wanted), fields.Finder(live)
    return [
        (owner, path)
        for owner in others
        for path in sorted(mine & owner.fields)
        if not _same(here.get(path), there.get(path), path, schema)
    ]


def _same(wanted: Any, actual: Any, path: fields.Path, schema: Schema) -> bool:
    """Whether two values agree.

    Elements, and messages and maps of which nothing is said but that they be there, are compared field by field
    elsewhere. An absent field is zero.
    """
    if path[-1][0] in "kv" or wanted == actual or (actual is MISSING and not wanted):
        return True
    if wanted == {} and isinstance(actual, dict):
        return not fields.is_atomic(path, schema)
    return bool(_bare(wanted) == _bare(actual))


def _bare(value: Any) -> Any:
    """A collection without the zeros inside it, which may or may not be written."""
    if isinstance(value, dict):
        return {key: _bare(inner) for key, inner in value.items() if inner is not False and inner != ""}
    return [_bare(item) for item in value] if isinstance(value, list) else value


def _conflict(conflicts: Sequence[tuple[Owner, fields.Path]]) -> Conflict:
    described = [(owner, fields.describe(path)) for owner, path in conflicts]
    named = [f'{path} is owned by "{owner.manager}" ({owner.operation})' for owner, path in described[:NAMED]]
    listed = "; ".join([*named, f"and {len(described) - NAMED} more"] if len(described) > NAMED else named)
    count = f"{len(conflicts)} conflict{'s' if len(conflicts) > 1 else ''}"
    return Conflict(
        f"apply failed with {count}: {listed}. Leave these fields out of the manifest, or force to take them over",
        details={path: owner.manager for owner, path in described[:NAMED]},
    )


def _abandoned(before: FieldSet, mine: FieldSet, others: Sequence[Owner]) -> FieldSet:
    """What was owned and now is nobody's: fields, and the messages and elements that held only such."""
    gone = fields.closure(before) - fields.closure(mine) - _ROOTS
    for other in others:
        gone -= fields.closure(other.fields)
    return gone


def track(old: Data, new: Data, owners: Sequence[Owner], me: Owner, *, schema: Schema) -> tuple[Owner, ...]:
    """The owners after somebody changed `old` to `new` by another verb than apply; `me.fields` is not read."""
    old_part, new_part = owned_part(old), owned_part(new)
    old_set, new_set = fields.field_set(old_part, schema), fields.field_set(new_part, schema)
    now, then = fields.Finder(new_part), fields.Finder(old_part)
    changed = frozenset(
        path for path in new_set if path not in old_set or not _same(now.get(path), then.get(path), path, schema)
    )
    lost = changed | (old_set - new_set)
    if not lost:
        return tuple(owners)
    before = next((o.fields for o in owners if o.identity == me.identity), frozenset())
    kept = [replace(o, fields=o.fields - lost) for o in owners if o.identity != me.identity]
    mine = (before - lost) | changed
    entry = replace(me, fields=mine) if mine != before else _existing(owners, me)
    return tuple(o for o in (*kept, entry) if o.fields)


def _existing(owners: Sequence[Owner], me: Owner) -> Owner:
    return next((o for o in owners if o.identity == me.identity), me)
