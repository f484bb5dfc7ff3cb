"""What differs between two messages of one kind, a line each, as a person names it:

    spec.containers[web].image: nginx:1.14.2 -> nginx:1.16.1
    spec.containers[web].env[MODE]: (none) -> {value: fast}
    spec.containers[debug]: removed

Elements of lists that have a key (containers, env, ports …) are compared by it, so that an order is no difference;
other lists are compared as a whole. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from podium.objects.meta import to_datetime
from podium.objects.revisions import bare_template
from podium.objects.schema import Field, Form, of_message
from podium.v1.apps_pb2 import ReplicaSet
from podium.v1.meta_pb2 import IntOrString

NONE = "(none)"


def template_changes(old: ReplicaSet, new: ReplicaSet) -> list[str]:
    """What changed in the pod template from one revision to another."""
    return list(differences(bare_template(old), bare_template(new)))


def differences(old: Message, new: Message, path: str = "") -> Iterator[str]:
    """Every difference between two messages of one type, in the order of their fields."""
    if old == new:
        return
    for field in of_message(new).fields.values():
        before, after = getattr(old, field.name), getattr(new, field.name)
        where = f"{path}.{field.json}" if path else field.json
        if field.is_map:
            yield from _maps(before, after, where)
        elif field.repeated:
            yield from _lists(field, before, after, where)
        elif field.form is Form.MESSAGE:
            yield from differences(before, after, where)
        elif _shown(field, old) != _shown(field, new):
            yield f"{where}: {_shown(field, old)} -> {_shown(field, new)}"


def _maps(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[str]:
    for key in sorted({*old, *new}):
        before, after = (_text(m[key]) if key in m else NONE for m in (old, new))
        if before != after:
            yield f"{path}[{key}]: {before} -> {after}"


def _lists(field: Field, old: Sequence[Any], new: Sequence[Any], path: str) -> Iterator[str]:
    if field.list_keys:
        yield from _keyed(field, old, new, path)
    elif list(old) != list(new):
        yield f"{path}: {_listed(old)} -> {_listed(new)}"


def _keyed(field: Field, old: Sequence[Any], new: Sequence[Any], path: str) -> Iterator[str]:
    before = {_key(field, e): e for e in old}
    after = {_key(field, e): e for e in new}
    for key in dict.fromkeys([*before, *after]):
        where = f"{path}[{key}]"
        if key not in before:
            yield f"{where}: {NONE} -> {_brief(field, after[key])}"
        elif key not in after:
            yield f"{where}: {_brief(field, before[key])} -> {NONE}"
        else:
            yield from differences(before[key], after[key], where)


def _key(field: Field, element: Any) -> str:
    fields = field.schema.fields
    return "/".join(_text(getattr(element, fields[k].name)) for k in field.list_keys)


def _brief(field: Field, element: Any) -> str:
    """An element on one line: its plain values but for its key."""
    parts = [
        f"{f.json}: {_text(getattr(element, f.name))}"
        for f in field.schema.fields.values()
        if f.json not in field.list_keys
        and not f.repeated
        and not f.is_map
        and f.form is not Form.MESSAGE
        and _is_set(f, element)
    ]
    return "{" + ", ".join(parts) + "}"


def _shown(field: Field, message: Any) -> str:
    return _text(getattr(message, field.name)) if _is_set(field, message) else NONE


def _is_set(field: Field, message: Any) -> bool:
    return message.HasField(field.name) if field.presence else bool(getattr(message, field.name))


def _listed(values: Sequence[Any]) -> str:
    return "[" + ", ".join(_text(v) for v in values) + "]" if values else NONE


def _text(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case IntOrString():
            return str(value.int_value) if value.WhichOneof("value") == "int_value" else value.str_value
        case Timestamp():
            return to_datetime(value).isoformat().replace("+00:00", "Z")
        case bytes():
            return f"{len(value)} bytes"
        case Message():
            return "{" + ", ".join(f"{f.name}: {_text(v)}" for f, v in value.ListFields()) + "}"
        case _:
            return str(value)
