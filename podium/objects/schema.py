"""The shape of messages in Kubernetes' form: JSON names, how values are written, how lists merge.

One `Schema` a message type, built once from its protobuf descriptor and the options of `options.proto`. The codec,
patches and server-side apply walk these tables instead of descriptors, so they agree on every field, and cost the
same few dictionary look-ups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache, cached_property
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from podium.v1 import options_pb2


class Form(Enum):
    """How a single value is written in JSON."""

    STRING = auto()
    BOOL = auto()
    INT32 = auto()
    INT64 = auto()
    NUMBER = auto()
    BYTES = auto()
    TIME = auto()
    INT_OR_STRING = auto()
    QUANTITY = auto()
    DURATION = auto()
    RAW_JSON = auto()
    MESSAGE = auto()


_BY_TYPE: dict[int, Form] = {
    FieldDescriptor.TYPE_STRING: Form.STRING,
    FieldDescriptor.TYPE_BOOL: Form.BOOL,
    FieldDescriptor.TYPE_INT32: Form.INT32,
    FieldDescriptor.TYPE_INT64: Form.INT64,
    FieldDescriptor.TYPE_DOUBLE: Form.NUMBER,
    FieldDescriptor.TYPE_FLOAT: Form.NUMBER,
    FieldDescriptor.TYPE_BYTES: Form.BYTES,
}
_BY_MESSAGE = {"google.protobuf.Timestamp": Form.TIME, "podium.v1.IntOrString": Form.INT_OR_STRING}
_BY_FORMAT: dict[int, Form] = {
    options_pb2.FORMAT_QUANTITY: Form.QUANTITY,
    options_pb2.FORMAT_RAW_JSON: Form.RAW_JSON,
    options_pb2.FORMAT_DURATION: Form.DURATION,
}

_ATOMIC_MESSAGES = frozenset(
    f"podium.v1.{name}"
    for name in (
        "LabelSelector",
        "NodeSelector",
        "NodeSelectorTerm",
        "LocalObjectReference",
        "ObjectReference",
        "ObjectFieldSelector",
        "ResourceFieldSelector",
        "ConfigMapKeySelector",
        "SecretKeySelector",
    )
)
"""Owned as a whole in server-side apply (Kubernetes' `x-kubernetes-map-type: atomic`)."""

_ATOMIC_MAPS = frozenset(("podium.v1.PodSpec.node_selector",))

_ALWAYS_WRITTEN = frozenset(
    f"podium.v1.{name}"
    for name in (
        "ContainerStatus.ready",
        "ContainerStatus.restart_count",
        "ContainerStateTerminated.exit_code",
        "ReplicaSetStatus.replicas",
        "ScaleSpec.replicas",
        "ScaleStatus.replicas",
        "HorizontalPodAutoscalerStatus.current_replicas",
        "HorizontalPodAutoscalerStatus.desired_replicas",
        "PreferredSchedulingTerm.weight",
        "PriorityClass.value",
        "PodDisruptionBudgetStatus.disruptions_allowed",
        "PodDisruptionBudgetStatus.current_healthy",
        "PodDisruptionBudgetStatus.desired_healthy",
        "PodDisruptionBudgetStatus.expected_pods",
    )
)
"""Written even when zero, as Kubernetes does: an exit code of 0 is news."""


@dataclass(frozen=True)
class Field:
    """One field of a message.

    Attributes:
        name: In the protobuf.
        json: In manifests.
        form: Of the value, of a list's element, or of a map's value.
        repeated: A list.
        is_map: A map from strings.
        presence: Zero and absent differ.
        list_keys: JSON names of the keys that identify an element; empty for an atomic list.
        list_set: A list of scalars that merges as a set.
        one_of: The values that a string may have; empty when open.
        required: Must be present in a manifest.
        always: Written even when zero.
        atomic: Owned as a whole in server-side apply.
    """

    name: str
    json: str
    number: int
    form: Form
    repeated: bool
    is_map: bool
    presence: bool
    list_keys: tuple[str, ...]
    list_set: bool
    one_of: tuple[str, ...]
    required: bool
    always: bool
    atomic: bool
    message_type: Descriptor | None
    default: Any

    @cached_property
    def schema(self) -> Schema:
        """Of the message, element or map value; only for Form.MESSAGE."""
        assert self.message_type is not None, f"{self.name} holds no message"
        return schema_of(self.message_type)


@dataclass(frozen=True)
class Schema:
    """One message type.

    Attributes:
        name: `PodSpec`.
        fields: By JSON name, in the order of declaration.
    """

    name: str
    fields: dict[str, Field]

    @cached_property
    def by_number(self) -> dict[int, Field]:
        """Fields by protobuf number."""
        return {field.number: field for field in self.fields.values()}

    @cached_property
    def always(self) -> tuple[Field, ...]:
        """Fields that are written even when zero."""
        return tuple(field for field in self.fields.values() if field.always)


def of_message(message: Message | type[Message]) -> Schema:
    """The schema of a message or of its class."""
    return schema_of(message.DESCRIPTOR)


@cache
def schema_of(descriptor: Descriptor) -> Schema:
    """The schema of a descriptor; the same object each time."""
    return Schema(name=descriptor.name, fields={field.json: field for field in _fields(descriptor)})


def _fields(descriptor: Descriptor) -> Iterator[Field]:
    for field in descriptor.fields:
        options = field.GetOptions()
        entry = field.message_type
        is_map = entry is not None and entry.GetOptions().map_entry
        value = entry.fields_by_name["value"] if entry is not None and is_map else field
        form = _form(value, options.Extensions[options_pb2.format])
        keys = _split(options.Extensions[options_pb2.list_keys])
        list_set = options.Extensions[options_pb2.list_set]
        repeated = field.is_repeated and not is_map
        yield Field(
            name=field.name,
            json=field.json_name,
            number=field.number,
            form=form,
            repeated=repeated,
            is_map=is_map,
            presence=field.has_presence,
            list_keys=keys,
            list_set=list_set,
            one_of=_split(options.Extensions[options_pb2.one_of]),
            required=options.Extensions[options_pb2.required],
            always=field.full_name in _ALWAYS_WRITTEN,
            atomic=_is_atomic(field, value, repeated and not keys and not list_set),
            message_type=value.message_type,
            default=None if value.message_type is not None or repeated else value.default_value,
        )


def _form(value: FieldDescriptor, format_: int) -> Form:
    if format_:
        return _BY_FORMAT[format_]
    if value.message_type is not None:
        return _BY_MESSAGE.get(value.message_type.full_name, Form.MESSAGE)
    return _BY_TYPE[value.type]


def _is_atomic(field: FieldDescriptor, value: FieldDescriptor, plain_list: bool) -> bool:
    if plain_list or field.full_name in _ATOMIC_MAPS:
        return True
    return not field.is_repeated and value.message_type is not None and value.message_type.full_name in _ATOMIC_MESSAGES


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()
