"""Plain data in Kubernetes' form to messages: strict, and saying everything that is wrong at once.

Refused are unknown fields (with the nearest valid name), fields of Kubernetes that Podium does not honour, and values
of a wrong type, each with its full path. Null is absence. What a server fills in (`status`, `creationTimestamp:
null`) is accepted, so that what was read can be applied again; below the top-level `status`, which no manifest sets,
unknown fields are passed over.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from podium.codec import unsupported
from podium.errors import BadRequest, Violation
from podium.objects import duration, quantity
from podium.objects.schema import Field, Form, Schema, of_message, schema_of

Path = tuple["Path", str] | None
"""Segments from the inside out; rendered only when something is wrong."""

_Parse = Callable[[Any], Any]
_Read = Callable[[Message, Any, Path, "Findings"], None]


@dataclass(slots=True)
class Findings:
    """What is wrong so far. Unknown fields go to `unknown`, which is `violations` itself when they are refused."""

    violations: list[Violation] = field(default_factory=list)
    unknown: list[Violation] = field(default_factory=list)
    in_status: bool = False

    def refuse(self, path: Path, description: str, hint: str = "") -> None:
        """Note a violation."""
        self.violations.append(Violation(render(path), description, hint))


class _Wrong(Exception):
    """A value that cannot be taken: what it must be, and a hint."""

    def __init__(self, description: str, hint: str = "") -> None:
        super().__init__(description)
        self.description, self.hint = description, hint


def render(path: Path) -> str:
    """`spec.containers[0].image`."""
    segments = []
    while path is not None:
        path, segment = path
        segments.append(segment)
    return "".join(reversed(segments)).removeprefix(".") or "(root)"


def decode_into(message: Message, data: Any, path: Path, findings: Findings) -> None:
    """Set the fields of `message` from a mapping; what is wrong goes to `findings`."""
    if not isinstance(data, dict):
        findings.refuse(path, f"must be a mapping, not {describe(data)}")
        return
    plan = _plan(message.DESCRIPTOR)
    for key, value in data.items():
        read = plan.get(key)
        if read is None:
            _unknown(of_message(message), key, value, path, findings)
        elif value is not None:
            read(message, value, (path, f".{key}"), findings)


def describe(value: Any) -> str:
    """A JSON value in words: `the number 80`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return f'the string "{value if len(value) <= 40 else value[:37] + "..."}"'
    return "a list" if isinstance(value, list) else "a mapping"


def _unknown(schema: Schema, key: Any, value: Any, path: Path, findings: Findings) -> None:
    if findings.in_status:
        return
    where = render((path, f".{key}"))
    if unsupported.is_known(schema.name, key):
        if not unsupported.asks_for_nothing(schema.name, key, value):
            findings.unknown.append(Violation(where, "is a Kubernetes field that is not supported by Podium"))
        return
    findings.unknown.append(Violation(where, "unknown field", _nearest(schema, str(key))))


def _nearest(schema: Schema, key: str) -> str:
    by_lower = {name.lower(): name for name in schema.fields}
    near = get_close_matches(key.lower().replace("_", ""), by_lower, n=1)
    if near:
        return f'did you mean "{by_lower[near[0]]}"?'
    return f"known fields: {', '.join(schema.fields)}" if len(schema.fields) <= 12 else ""


# ---------------------------------------------------------------- plans


@cache
def _plan(descriptor: Descriptor) -> dict[str, _Read]:
    return {name: _reader(f) for name, f in schema_of(descriptor).fields.items()}


def _reader(f: Field) -> _Read:
    if f.form is Form.MESSAGE:
        return _message_reader(f)
    parse = _PARSERS[f.form]
    if f.repeated:
        return _list_reader(f, parse)
    if f.is_map:
        return _map_reader(f, _copy_entry if f.form in _COPIED else _set_entry, parse)
    if f.form in _COPIED:
        return _copy_reader(f, parse)
    return _scalar_reader(f, parse)


def _scalar_reader(f: Field, parse: _Parse) -> _Read:
    name = f.name

    def read(message: Message, value: Any, path: Path, findings: Findings) -> None:
        try:
            setattr(message, name, parse(value))
        except _Wrong as wrong:
            findings.refuse(path, wrong.description, wrong.hint)

    return read


def _copy_reader(f: Field, parse: _Parse) -> _Read:
    name = f.name

    def read(message: Message, value: Any, path: Path, findings: Findings) -> None:
        try:
            parse(value)(getattr(message, name))
        except _Wrong as wrong:
            findings.refuse(path, wrong.description, wrong.hint)

    return read


def _list_reader(f: Field, parse: _Parse) -> _Read:
    name = f.name

    def read(message: Message, value: Any, path: Path, findings: Findings) -> None:
        if not isinstance(value, list):
            findings.refuse(path, f"must be a list, not {describe(value)}")
            return
        parsed = []
        for index, item in enumerate(value):
            try:
                parsed.append(parse(item))
            except _Wrong as wrong:
                findings.refuse((path, f"[{index}]"), wrong.description, wrong.hint)
        getattr(message, name).extend(parsed)

    return read


_COPIED = (Form.TIME, Form.INT_OR_STRING)
"""Forms of values that are messages: written into, not assigned."""


def _set_entry(entries: Any, key: str, parsed: Any) -> None:
    entries[key] = parsed


def _copy_entry(entries: Any, key: str, parsed: Callable[[Message], None]) -> None:
    parsed(entries[key])


def _map_reader(f: Field, put: Callable[[Any, str, Any], None], parse: _Parse) -> _Read:
    name = f.name

    def read(message: Message, value: Any, path: Path, findings: Findings) -> None:
        if not isinstance(value, dict):
            findings.refuse(path, f"must be a mapping, not {describe(value)}")
            return
        entries = getattr(message, name)
        for key, item in value.items():
            if item is None:
                continue
            try:
                put(entries, key, parse(item))
            except _Wrong as wrong:
                findings.refuse((path, f"[{key}]"), wrong.description, wrong.hint)

    return read


def _message_reader(f: Field) -> _Read:
    name, repeated = f.name, f.repeated

    def read_one(message: Message, value: Any, path: Path, findings: Findings) -> None:
        inner = getattr(message, name)
        inner.SetInParent()
        decode_into(inner, value, path, findings)

    def read_many(message: Message, value: Any, path: Path, findings: Findings) -> None:
        if not isinstance(value, list):
            findings.refuse(path, f"must be a list, not {describe(value)}")
            return
        items = getattr(message, name)
        for index, item in enumerate(value):
            decode_into(items.add(), item, (path, f"[{index}]"), findings)

    return read_many if repeated else read_one


# ---------------------------------------------------------------- values


def _string(value: Any) -> str:
    if isinstance(value, str):
        if value.isascii():
            return value
        return _encodable(value)
    if isinstance(value, bool):
        raise _Wrong(f"must be a string, not {describe(value)}", f'quote it: "{str(value).lower()}"')
    hint = f'quote it: "{value}"' if isinstance(value, (int, float)) else ""
    raise _Wrong(f"must be a string, not {describe(value)}", hint)


def _encodable(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Wrong("must be valid Unicode text") from None
    return value


def _bool(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise _Wrong(f"must be true or false, not {describe(value)}")


def _integer(bits: int) -> _Parse:
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def parse(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _Wrong(f"must be an integer, not {describe(value)}")
        if not least <= value <= most:
            raise _Wrong(f"must be between {least} and {most}")
        return value

    return parse


def _number(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise _Wrong(f"must be a number, not {describe(value)}")


def _bytes(value: Any) -> bytes:
    text = _string(value)
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise _Wrong("must be base64", "plain text belongs in stringData") from None


_RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})")
_EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)


def _time(value: Any) -> Callable[[Any], None]:
    match = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _Wrong(f"must be an RFC 3339 time such as 2026-01-02T15:04:05Z, not {describe(value)}")
    date, clock, fraction, zone = match.groups()
    try:
        moment = datetime.datetime.fromisoformat(f"{date}T{clock}{zone.upper()}") - _EPOCH
    except ValueError as error:
        raise _Wrong(f"must be an RFC 3339 time: {error}") from None
    nanos = int((fraction or ".0")[1:].ljust(9, "0")) // 1000 * 1000

    def assign(stamp: Any) -> None:
        stamp.SetInParent()
        stamp.seconds, stamp.nanos = moment.days * 86400 + moment.seconds, nanos

    return assign


_int32 = _integer(32)


def _int_or_string(value: Any) -> Callable[[Any], None]:
    if not isinstance(value, (int, str)) or isinstance(value, bool):
        raise _Wrong(f"must be an integer or a string, not {describe(value)}")
    name, parsed = ("str_value", _string(value)) if isinstance(value, str) else ("int_value", _int32(value))
    return lambda holder: setattr(holder, name, parsed)


def _quantity(value: Any) -> str:
    if not isinstance(value, (int, float, str)) or isinstance(value, bool):
        raise _Wrong(f"must be a quantity such as 100m, 1.5 or 64Mi, not {describe(value)}")
    try:
        return quantity.canonical(str(value))
    except BadRequest as error:
        raise _Wrong(error.message) from None


def _duration(value: Any) -> str:
    text = _string(value)
    try:
        duration.seconds(text)
    except BadRequest as error:
        raise _Wrong(error.message) from None
    return text


def _raw_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


_PARSERS: dict[Form, _Parse] = {
    Form.STRING: _string,
    Form.BOOL: _bool,
    Form.INT32: _int32,
    Form.INT64: _integer(64),
    Form.NUMBER: _number,
    Form.BYTES: _bytes,
    Form.TIME: _time,
    Form.INT_OR_STRING: _int_or_string,
    Form.QUANTITY: _quantity,
    Form.DURATION: _duration,
    Form.RAW_JSON: _raw_json,
}
