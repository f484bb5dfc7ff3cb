"""The writes that only the API makes, next to those of `master.access.protocol`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from google.protobuf.message import Message

from master.access.protocol import Principal, Write, Writer
from podium.errors import BadRequest, PodiumError
from podium.objects.kinds import Key
from podium.v1.apps_pb2 import Scale
from podium.v1.meta_pb2 import DeleteOptions

MAX_INPUT_BYTES = 2 * 1024 * 1024
"""Longest object or manifest that is read from a request: what can be stored is shorter, also as JSON unless most of it
is escapes."""


def check_length(what: str, length: int) -> None:
    """Refuse input of so many bytes before it is read.

    Raises:
        BadRequest: It is too long.
    """
    if length > MAX_INPUT_BYTES:
        raise BadRequest(
            f"{what} is {length} bytes long: must be at most {MAX_INPUT_BYTES}; "
            "keep large data in a volume, or in several objects"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Patch an object. `type` is a `PatchRequest.Type`, `patch` is JSON text."""

    key: Key
    type: int
    patch: bytes
    subresource: str = ""
    dry_run: bool = False
    field_manager: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Server-side apply of a manifest (JSON text); creates the object when there is none.

    `read`: the manifest's data and its object, where it was read already.
    """

    manifest: bytes
    field_manager: str
    force: bool = False
    subresource: str = ""
    dry_run: bool = False
    read: tuple[dict[str, Any], Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescale:
    """Write the `scale` sub-resource of a workload."""

    key: Key
    scale: Scale
    dry_run: bool = False
    field_manager: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evict:
    """Write the `eviction` sub-resource of a pod: a delete that disruption budgets may refuse."""

    namespace: str
    name: str
    options: DeleteOptions = field(default_factory=DeleteOptions)
    dry_run: bool = False


ApiWrite = Write | Patch | Apply | Rescale | Evict


class ApiWriter(Writer, Protocol):
    """A Writer that takes these as well: for what evicts pods by their budgets."""

    async def write_many(self, writes: Sequence[ApiWrite], *, by: Principal) -> list[Message | PodiumError]: ...
