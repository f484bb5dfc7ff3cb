"""Objects as Kubernetes JSON: `to_dict`, `from_dict`, and their text forms.

`from_dict` reads one message of a known type; `object_from_dict` reads an object of the kind that it names.
Everything that is wrong is reported at once, as `podium.errors.Invalid`. Pass a list as `warnings` to have unknown
and unsupported fields noted there and dropped, instead of refused; wrong types are always refused.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, TypeVar, overload

from google.protobuf.message import Message

from podium.codec.decode import Findings, decode_into, describe
from podium.codec.encode import encode
from podium.codec.kinds import check_type, kind_named
from podium.errors import BadRequest, Violation
from podium.objects.kinds import BY_MESSAGE, Kind
from podium.objects.refusal import refusal

M = TypeVar("M", bound=Message)


def to_dict(message: Message) -> dict[str, Any]:
    """A message in Kubernetes' form; an object of a kind with its apiVersion and kind."""
    kind = BY_MESSAGE.get(type(message))
    if kind is None:
        return encode(message)
    return {"apiVersion": kind.api_version, "kind": kind.name, **encode(message)}


@overload
def from_dict(target: type[M], data: Any, *, warnings: list[Violation] | None = ...) -> M: ...
@overload
def from_dict(target: Kind, data: Any, *, warnings: list[Violation] | None = ...) -> Any: ...
def from_dict(target: Any, data: Any, *, warnings: list[Violation] | None = None) -> Any:
    """A message of type `target` (a class, or a Kind) from its Kubernetes form.

    Raises:
        Invalid: Names every field at fault.
    """
    kind = target if isinstance(target, Kind) else BY_MESSAGE.get(target)
    message: Message = kind.message() if kind is not None else target()
    violations: list[Violation] = []
    findings = Findings(violations, violations if warnings is None else warnings)
    if kind is None or not isinstance(data, dict):
        decode_into(message, data, None, findings)
    else:
        check_type(kind, data, findings)
        _decode_object(message, data, findings)
    if violations:
        raise refusal(_subject(kind, data, message), violations)
    return message


def object_from_dict(data: Any, *, warnings: list[Violation] | None = None) -> Any:
    """An object of the kind that `data` names.

    Raises:
        Invalid: Names every field at fault, or the kind.
    """
    if not isinstance(data, dict):
        raise refusal("the manifest", [Violation("(root)", f"must be a mapping, not {describe(data)}")])
    return from_dict(kind_named(data), data, warnings=warnings)


def dumps(message: Message, *, indent: int | None = None) -> str:
    """A message as JSON text."""
    return json.dumps(to_dict(message), indent=indent, ensure_ascii=False)


def loads(text: str | bytes, *, warnings: list[Violation] | None = None) -> Any:
    """An object of any kind from JSON text.

    Raises:
        BadRequest: Not JSON, or a key twice.
        Invalid: Names every field at fault.
    """
    return object_from_dict(parse_json(text), warnings=warnings)


def parse_json(text: str | bytes) -> Any:
    """JSON text as plain data; a key that appears twice is refused, and so are NaN and Infinity. Raises BadRequest."""
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"not JSON: {error}") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f'key "{twice}" appears twice in one mapping')
    return entries


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _decode_object(message: Message, data: dict[str, Any], findings: Findings) -> None:
    body = {key: value for key, value in data.items() if key not in ("apiVersion", "kind", "status")}
    decode_into(message, body, None, findings)
    if "status" in data:
        findings.in_status = "status" in message.DESCRIPTOR.fields_by_name
        decode_into(message, {"status": data["status"]}, None, findings)


def _subject(kind: Kind | None, data: Any, message: Message) -> str:
    metadata = data.get("metadata") if isinstance(data, dict) else None
    name = metadata.get("name") or metadata.get("generateName") if isinstance(metadata, dict) else None
    type_name = kind.name if kind is not None else message.DESCRIPTOR.name
    return f'{type_name} "{name}"' if name else type_name
