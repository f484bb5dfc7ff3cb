"""The two doors to objects: `Reader` (memory, at a revision) and `Writer` (authorize → default → validate → store).

Everything in the master above the store works through these, controllers and scheduler included. Objects that a
Reader returns are shared and must never be changed: copy first (`writer.mutate` does).
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from google.protobuf.message import Message

from master.auth.principal import Principal as Principal
from master.auth.principal import component as component
from podium.errors import PodiumError
from podium.objects.kinds import Key
from podium.objects.selectors import Selector
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import DeleteOptions

M = TypeVar("M", bound=Message)


class ChangeType(Enum):
    """What happened to an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Change(NamedTuple, Generic[M]):
    """A committed change. `old` is None when added; `new` is the last state when deleted."""

    type: ChangeType
    old: M | None
    new: M
    revision: int


class Subscription(Protocol):
    """First everything that exists as ADDED (one batch, maybe empty), then changes, coalesced per object when slow.

    Use as an async context manager and async iterator of batches.
    """

    def __aiter__(self) -> AsyncIterator[Sequence[Change[Any]]]: ...
    async def __aenter__(self) -> Subscription: ...
    async def __aexit__(self, *exc: object) -> None: ...


class Reader(Protocol):
    """Objects as of the newest revision applied in memory. No method blocks or awaits."""

    @property
    def revision(self) -> int: ...

    def get(self, kind: type[M], namespace: str, name: str) -> M | None: ...

    def list(self, kind: type[M], namespace: str = "", selector: Selector | None = None) -> builtins.list[M]:
        """Objects of a kind (in a namespace; matching labels), in order of namespace and name."""
        ...

    def count(self, kind: type[Message], namespace: str = "") -> int:
        """How many objects of a kind there are (in a namespace)."""
        ...

    def longest_unchanged(self, kind: type[M]) -> Iterator[M]:
        """Objects of a kind, in the order of their last change; each is decoded only when the iterator gets there."""
        ...

    def owned_by(self, kind: type[M], uid: str) -> builtins.list[M]:
        """Objects of a kind with an ownerReference to `uid`, controller or not."""
        ...

    def versions_owned_by(self, kind: type[Message], uid: str) -> builtins.list[tuple[Key, int]]:
        """The keys and revisions of what `owned_by` would give, none of which is decoded for it."""
        ...

    def orphans(self, kind: type[M], namespace: str) -> builtins.list[M]:
        """Objects of a kind in a namespace that nobody controls. Only of kinds that controllers adopt: Pod, ReplicaSet,
        ControllerRevision."""
        ...

    def pods_on(self, node: str) -> builtins.list[Pod]:
        """Pods bound to a node."""
        ...

    def everything_in(self, namespace: str) -> Iterable[Message]:
        """Every object of every kind in a namespace."""
        ...

    def subscribe(self, *kinds: type[Message]) -> Subscription: ...


@dataclass(frozen=True, slots=True)
class Create:
    """Create `object`. `owned`: the writer may keep and complete this very message, which saves a copy."""

    object: Message
    dry_run: bool = False
    field_manager: str = ""
    owned: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """Replace `object`; its resourceVersion, when set, must be the current one. `subresource`: "" or "status"."""

    object: Message
    subresource: str = ""
    dry_run: bool = False
    field_manager: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object named by `key`."""

    key: Key
    options: DeleteOptions = field(default_factory=DeleteOptions)
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Bind:
    """Bind a pod to a node, and set its PodScheduled condition; fails when it is bound, gone or another uid."""

    namespace: str
    name: str
    uid: str
    node: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Mutate:
    """Read, copy, `change(copy)`, write; `change` may raise PodiumError. No write when nothing changed."""

    key: Key
    change: Callable[[Any], None]
    subresource: str = ""


Write = Create | Update | Delete | Bind | Mutate


class Writer(Protocol):
    """The one way to write. Every method returns after the write is durable *and* visible in the Reader.

    What it returns is shared with the Reader, and so must not be changed.
    """

    async def create(self, obj: M, *, by: Principal, dry_run: bool = False, field_manager: str = "") -> M:
        """Raises: AlreadyExists, Invalid, Forbidden, NotFound (its namespace)."""
        ...

    async def update(
        self, obj: M, *, by: Principal, subresource: str = "", dry_run: bool = False, field_manager: str = ""
    ) -> M:
        """Raises: Conflict (resourceVersion), NotFound, Invalid, Forbidden."""
        ...  # fmt: skip

    async def delete(
        self, key: Key, *, by: Principal, options: DeleteOptions | None = None, dry_run: bool = False
    ) -> Message:
        """Start or finish deletion (finalizers, grace, propagation); returns the last state."""
        ...  # fmt: skip

    async def mutate(
        self,
        kind: type[M],
        namespace: str,
        name: str,
        change: Callable[[M], None],
        *,
        by: Principal,
        subresource: str = "",
    ) -> M:
        """Read-modify-write with retries on conflict. No write when `change` changes nothing."""
        ...  # fmt: skip

    async def write_many(self, writes: Sequence[Write], *, by: Principal) -> list[Message | PodiumError]:
        """Many independent writes, committed in groups; each answered in its place, a failure stops no other."""
        ...

    async def write_together(self, writes: Sequence[Write], *, by: Principal) -> list[Message]:
        """Several writes of different objects, all of them or none; readers see none before all.

        Raises: PodiumError: one of them was refused.
        """
        ...


class EventRecorder(Protocol):
    """Records Events about objects: aggregated, batched, expiring; never blocks and never fails its caller."""

    def normal(self, about: Message, reason: str, message: str) -> None: ...
    def warning(self, about: Message, reason: str, message: str) -> None: ...
