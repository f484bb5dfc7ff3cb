"""Random messages of any type, for properties: every field of the contract takes part."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st

from podium.objects import quantity
from podium.objects.schema import Field, Form, of_message
from podium.v1.meta_pb2 import IntOrString

M = TypeVar("M", bound=Message)

texts = st.text(st.characters(codec="utf-8"), max_size=8)
quantities = st.builds(
    lambda number, suffix: quantity.canonical(f"{number}{suffix}"),
    st.integers(0, 4000),
    st.sampled_from(("", "m", "k", "M", "Ki", "Mi", "Gi")),
)
_json = st.dictionaries(texts, st.one_of(st.integers(-100, 100), texts, st.booleans()), max_size=2)


@st.composite
def messages(draw: st.DrawFn, cls: type[M]) -> M:
    """A message with some of its fields set, and values that its manifest form can hold."""
    message = cls()
    _fill(draw, message)
    return message


def _fill(draw: st.DrawFn, message: Message) -> None:
    for field in of_message(message).fields.values():
        if draw(st.integers(0, 3)) == 0:
            _set(draw, message, field)


def _set(draw: st.DrawFn, message: Message, field: Field) -> None:
    target: Any = getattr(message, field.name)
    if field.is_map:
        for key in draw(st.lists(texts, max_size=2, unique=True)):
            value = draw(_scalar(field.form))
            if isinstance(value, Message):
                target[key].CopyFrom(value)
            else:
                target[key] = value
    elif field.form is Form.MESSAGE:
        _set_message(draw, target, field)
    elif field.form in (Form.TIME, Form.INT_OR_STRING):
        target.CopyFrom(draw(_scalar(field.form)))
        target.SetInParent()
    elif field.repeated:
        target.extend(draw(st.lists(_scalar(field.form), max_size=2)))
    else:
        setattr(message, field.name, draw(_scalar(field.form)))


def _set_message(draw: st.DrawFn, target: Any, field: Field) -> None:
    if field.repeated:
        for _ in range(draw(st.integers(0, 2))):
            _fill(draw, target.add())
    else:
        target.SetInParent()
        _fill(draw, target)


def _scalar(form: Form) -> st.SearchStrategy[Any]:
    return _SCALARS[form]


def _raw_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


_SCALARS: dict[Form, st.SearchStrategy[Any]] = {
    Form.STRING: texts,
    Form.BOOL: st.booleans(),
    Form.INT32: st.integers(-(2**31), 2**31 - 1),
    Form.INT64: st.integers(-(2**63), 2**63 - 1),
    Form.NUMBER: st.floats(allow_nan=False, allow_infinity=False),
    Form.BYTES: st.binary(max_size=8),
    Form.TIME: st.builds(
        lambda seconds, micros: Timestamp(seconds=seconds, nanos=micros * 1000),
        st.integers(-(10**10), 10**11),
        st.one_of(st.just(0), st.integers(0, 999_999)),
    ),
    Form.INT_OR_STRING: st.one_of(
        st.builds(lambda n: IntOrString(int_value=n), st.integers(-(2**31), 2**31 - 1)),
        st.builds(lambda s: IntOrString(str_value=s), texts),
    ),
    Form.QUANTITY: quantities,
    Form.DURATION: st.sampled_from(("300ms", "1.5h", "1m30s", "0")),
    Form.RAW_JSON: st.builds(_raw_json, _json),
}
