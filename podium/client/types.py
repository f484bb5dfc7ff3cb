"""Small types of the client, shared by its asynchronous and its synchronous form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from podium.errors import Internal
from podium.objects.kinds import BY_TYPE_URL, TYPE_URL_PREFIX

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Watched(Generic[M]):
    """One change. `type` is ADDED, MODIFIED or DELETED; a deleted object is its last state."""

    type: str
    object: M

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        meta: Any = self.object
        return meta.metadata.namespace, meta.metadata.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """What a command in a container gave."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def pack(obj: Message) -> AnyMessage:
    """The object as it travels."""
    return AnyMessage(type_url=TYPE_URL_PREFIX + obj.DESCRIPTOR.full_name, value=obj.SerializeToString())


@overload
def unpack(packed: AnyMessage, kind: type[M]) -> M: ...
@overload
def unpack(packed: AnyMessage, kind: None) -> Message: ...
def unpack(packed: AnyMessage, kind: type[Message] | None) -> Message:
    """The object that arrived; `kind` None takes any registered kind.

    Raises:
        Internal: The server sent something else.
    """
    if kind is None:
        found = BY_TYPE_URL.get(packed.type_url)
        if found is None:
            raise Internal(f"the master sent {packed.type_url or 'nothing'}, which this client does not know")
        kind = found.message
    elif packed.type_url != TYPE_URL_PREFIX + kind.DESCRIPTOR.full_name:
        raise Internal(f"expected {kind.DESCRIPTOR.full_name}, the master sent {packed.type_url or 'nothing'}")
    return kind.FromString(packed.value)
