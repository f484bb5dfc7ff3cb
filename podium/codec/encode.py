"""Messages to plain data in Kubernetes' form.

Field order is the protos' order, which reads well (`name` before `image`). A field is written when it is set; an
explicit zero of a field with presence (`replicas: 0`) is set. The plan for a message type is compiled once.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from podium.objects.schema import Field, Form, schema_of

_Write = Callable[[Any], Any]


def encode(message: Message) -> dict[str, Any]:
    """The fields of a message; without apiVersion and kind."""
    plan, always = _plan(message.DESCRIPTOR)
    written = {}
    for descriptor, value in message.ListFields():
        name, write = plan[descriptor.number]
        written[name] = value if write is None else write(value)
    for name, zero in always:
        written.setdefault(name, zero)
    return written


@cache
def _plan(descriptor: Descriptor) -> tuple[dict[int, tuple[str, _Write | None]], tuple[tuple[str, Any], ...]]:
    schema = schema_of(descriptor)
    plan = {field.number: (field.json, _writer(field)) for field in schema.fields.values()}
    return plan, tuple((field.json, field.default) for field in schema.always)


def _writer(field: Field) -> _Write | None:
    write = _VALUE_WRITERS.get(field.form)
    if field.repeated:
        return list if write is None else lambda values: [write(value) for value in values]
    if field.is_map:
        if write is None:
            return lambda entries: dict(sorted(entries.items()))
        return lambda entries: {key: write(value) for key, value in sorted(entries.items())}
    return write


def _bytes(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _time(value: Any) -> str:
    whole = _seconds(value.seconds)
    return f"{whole}Z" if not value.nanos else f"{whole}.{value.nanos // 1000:06d}Z"


@lru_cache(maxsize=4096)
def _seconds(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")


def _int_or_string(value: Any) -> int | str:
    written: int | str = value.str_value if value.WhichOneof("value") == "str_value" else value.int_value
    return written


_VALUE_WRITERS: dict[Form, _Write] = {
    Form.MESSAGE: encode,
    Form.BYTES: _bytes,
    Form.TIME: _time,
    Form.INT_OR_STRING: _int_or_string,
    Form.RAW_JSON: json.loads,
}
