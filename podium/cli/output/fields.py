"""What a field is, read from the protobuf descriptors and their annotations."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from podium.errors import BadRequest
from podium.objects.kinds import lookup
from podium.v1 import options_pb2

_SCALARS = {
    FieldDescriptor.CPPTYPE_BOOL: "boolean",
    FieldDescriptor.CPPTYPE_INT32: "integer",
    FieldDescriptor.CPPTYPE_INT64: "integer",
    FieldDescriptor.CPPTYPE_STRING: "string",
}
_WELL_KNOWN = {"google.protobuf.Timestamp": "Time", "podium.v1.IntOrString": "IntOrString"}
_FORMATS = {options_pb2.FORMAT_QUANTITY: "Quantity", options_pb2.FORMAT_DURATION: "duration"}


def explain_field(path: str) -> str:
    """The type of a field such as `pod.spec.containers`, and the fields inside it.

    Raises:
        BadRequest: No such kind or field; names the nearest.
    """
    first, *rest = path.split(".")
    kind = lookup(first)
    message: Any = kind.message.DESCRIPTOR
    shown, type_ = kind.name, kind.name
    for name in rest:
        if message is None:
            raise BadRequest(f"{shown} has no fields inside")
        field = _field(message, name, shown)
        shown, type_ = f"{shown}.{name}", _type(field)
        message = _inside(field)
    lines = [f"KIND:     {kind.name}", f"VERSION:  {kind.api_version}", "", f"{shown} <{type_}>"]
    if message is not None:
        lines += ["", "FIELDS:"]
        width = max((len(f.json_name) for f in message.fields), default=0)
        lines += [f"  {f.json_name:<{width}}  <{_type(f)}>{_notes(f)}" for f in message.fields]
    return "\n".join(lines)


def _field(message: Any, name: str, where: str) -> FieldDescriptor:
    by_name = {f.json_name: f for f in message.fields}
    if name not in by_name:
        near = get_close_matches(name, by_name, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"it has {', '.join(by_name)}"
        raise BadRequest(f'{where} has no field "{name}": {hint}')
    field: FieldDescriptor = by_name[name]
    return field


def _inside(field: FieldDescriptor) -> Descriptor | None:
    message = field.message_type
    if message is None or message.full_name in _WELL_KNOWN or message.GetOptions().map_entry:
        return None
    return message


def _type(field: FieldDescriptor) -> str:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return f"map[string]{_base(message.fields_by_name['value'], field)}"
    base = _base(field, field)
    return f"[]{base}" if field.is_repeated else base


def _base(field: FieldDescriptor, annotated: FieldDescriptor) -> str:
    options = annotated.GetOptions()
    if options.Extensions[options_pb2.format] in _FORMATS:
        return _FORMATS[options.Extensions[options_pb2.format]]
    if field.message_type is not None:
        return _WELL_KNOWN.get(field.message_type.full_name, field.message_type.name)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "base64"
    return _SCALARS.get(field.cpp_type, "value")


def _notes(field: FieldDescriptor) -> str:
    options = field.GetOptions()
    notes = [" -required-"] if options.Extensions[options_pb2.required] else []
    if options.Extensions[options_pb2.one_of]:
        notes.append(f"  one of {options.Extensions[options_pb2.one_of].replace(',', ', ')}")
    return "".join(notes)
