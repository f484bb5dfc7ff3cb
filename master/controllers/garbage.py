"""Garbage collection by owner: what nobody owns any more goes, in the way that its owner's deletion asked for.

    background   the owner goes at once; what it owned is found without an owner, and goes
    foreground   finalizer `foregroundDeletion`: what it owns goes first; those that block it are waited for
    orphan       finalizer `orphan`: references to it are removed first; what it owned lives on

An owner is a uid in the object's own namespace (or cluster-wide); a reference into another namespace is as good as
none. A reference to a kind that is not known here can't be judged and counts as living. An object goes only when
*none* of its owners is living; while one is, references to the others are merely removed.

The unit of work is an owner, by uid, so that the thousand pods of a ReplicaSet go in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, assert_never

from google.protobuf.message import Message

from master.access.protocol import Change, ChangeType, Delete, Mutate, Reader, Write, Writer, component
from master.reconcile.protocol import Done, Outcome, Trigger
from podium.errors import Conflict, NotFound, PodiumError
from podium.objects.kinds import BY_NAME, KINDS, Key, key_of
from podium.objects.meta import is_terminating
from podium.objects.owners import remove_owner
from podium.v1.meta_pb2 import DeleteOptions, OwnerReference, Preconditions

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"

BATCH = 500

_BY = component("controller:garbage")
_UID = "uid"
"""In place of a kind: the key names an owner that may be gone, by uid."""


class OwnerState(Enum):
    """What is known of an owner."""

    LIVING = "living"
    GONE = "gone"
    WAITING = "waiting"
    """It is being deleted in the foreground and waits for what it owns."""


# ---------------------------------------------------------------- decisions


@dataclass(frozen=True, slots=True)
class Keep:
    """The object stays as it is."""


@dataclass(frozen=True, slots=True)
class Disown:
    """References to these uids are removed; the object stays."""

    uids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Collect:
    """The object goes, by this propagation policy."""

    policy: str


Fate = Keep | Disown | Collect


def plan_dependent(obj: Any, states: Sequence[OwnerState], *, has_dependents: bool) -> Fate:
    """Decide about an object from the states of its owners, in the order of its references."""
    references = list(obj.metadata.owner_references)
    if not references or all(state is OwnerState.LIVING for state in states):
        return Keep()
    if OwnerState.LIVING in states:
        lost = [r.uid for r, state in zip(references, states, strict=True) if state is not OwnerState.LIVING]
        return Disown(lost)
    if is_terminating(obj):
        return Keep()
    if OwnerState.WAITING in states and has_dependents:
        return Collect("Foreground")
    return Collect(_policy(obj))


def _policy(obj: Any) -> str:
    if ORPHAN in obj.metadata.finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in obj.metadata.finalizers else "Background"


def blocks(dependent: Any, uid: str) -> bool:
    """Whether a dependent keeps its owner from going in the foreground."""
    return any(r.uid == uid and r.block_owner_deletion for r in dependent.metadata.owner_references)


# ---------------------------------------------------------------- effects


class GarbageController:
    """See the module. Keys are `(uid, -, UID)` for owners that may be gone, and objects with one of the finalizers."""

    name = "garbage"
    workers = 4

    def __init__(self, *, reader: Reader, writer: Writer) -> None:
        self._reader, self._writer = reader, writer
        self.triggers = tuple(Trigger(kind.message, self._keys) for kind in KINDS if kind.name != "Event")

    async def reconcile(self, key: Key) -> Outcome:
        """Settle what an owner owned, or let an owner that waits for it go on."""
        if key.kind == _UID:
            return await self._settle(key.name)
        owner = self._find(key)
        if owner is None or not is_terminating(owner):
            return Done()
        if ORPHAN in owner.metadata.finalizers:
            return await self._let_go(owner)
        if FOREGROUND in owner.metadata.finalizers:
            return await self._go_after_dependents(owner)
        return Done()

    async def _settle(self, uid: str) -> Outcome:
        writes: list[Write] = []
        for dependent in self._dependents(uid):
            writes += self._sentence(dependent)
        await self._write(writes)
        return Done(f"settled {len(writes)} dependents" if writes else "")

    def _sentence(self, dependent: Any) -> list[Write]:
        states = [self._state(dependent, ref) for ref in dependent.metadata.owner_references]
        has_dependents = next(self._dependents(dependent.metadata.uid), None) is not None
        fate = plan_dependent(dependent, states, has_dependents=has_dependents)
        match fate:
            case Keep():
                return []
            case Disown(uids):
                return [Mutate(key_of(dependent), _disowning(uids))]
            case Collect(policy):
                return [_deletion(dependent, policy)]
            case _:
                assert_never(fate)

    def _state(self, dependent: Any, reference: OwnerReference) -> OwnerState:
        kind = BY_NAME.get(reference.kind)
        if kind is None:
            return OwnerState.LIVING
        namespace = dependent.metadata.namespace if kind.namespaced else ""
        owner = self._find(Key(kind.name, namespace, reference.name))
        if owner is None or owner.metadata.uid != reference.uid:
            return OwnerState.GONE
        waiting = is_terminating(owner) and FOREGROUND in owner.metadata.finalizers
        return OwnerState.WAITING if waiting else OwnerState.LIVING

    async def _let_go(self, owner: Any) -> Outcome:
        uid = owner.metadata.uid
        await self._write([Mutate(key_of(d), _disowning([uid])) for d in self._dependents(uid)])
        await self._write([Mutate(key_of(owner), _without_finalizer(uid, ORPHAN))])
        return Done("let its dependents go")

    async def _go_after_dependents(self, owner: Any) -> Outcome:
        uid = owner.metadata.uid
        await self._settle(uid)
        left = sum(blocks(d, uid) for d in self._dependents(uid))
        if left:
            return Done(f"waits for {left} dependents to be gone")
        await self._write([Mutate(key_of(owner), _without_finalizer(uid, FOREGROUND))])
        return Done("its dependents are gone")

    async def _write(self, writes: Sequence[Write]) -> None:
        for start in range(0, len(writes), BATCH):
            for result in await self._writer.write_many(writes[start : start + BATCH], by=_BY):
                if isinstance(result, PodiumError) and not isinstance(result, NotFound | Conflict):
                    raise result

    def _dependents(self, uid: str) -> Iterator[Any]:
        for kind in KINDS:
            yield from self._reader.owned_by(kind.message, uid)

    def _find(self, key: Key) -> Any:
        found: Message | None = self._reader.get(BY_NAME[key.kind].message, key.namespace, key.name)
        return found

    def _keys(self, change: Change[Any]) -> Iterable[Key]:
        obj, gone = change.new, change.type is ChangeType.DELETED
        if not gone and not is_terminating(obj) and not obj.metadata.owner_references:
            return ()
        return self._concerned(change)

    def _concerned(self, change: Change[Any]) -> Iterator[Key]:
        obj, gone = change.new, change.type is ChangeType.DELETED
        if gone:
            if next(self._dependents(obj.metadata.uid), None) is not None:
                yield Key(_UID, "", obj.metadata.uid)
        elif is_terminating(obj) and obj.metadata.finalizers:
            yield key_of(obj)
        if obj.metadata.owner_references and (gone or change.old is None or _owners_differ(change.old, obj)):
            yield from self._keys_of_owners(obj, gone)

    def _keys_of_owners(self, obj: Any, gone: bool) -> Iterator[Key]:
        for reference in obj.metadata.owner_references:
            state = self._state(obj, reference)
            if state is OwnerState.WAITING:
                namespace = obj.metadata.namespace if BY_NAME[reference.kind].namespaced else ""
                yield Key(reference.kind, namespace, reference.name)
            elif state is OwnerState.GONE and not gone:
                yield Key(_UID, "", reference.uid)


def _owners_differ(old: Any, new: Any) -> bool:
    return list(old.metadata.owner_references) != list(new.metadata.owner_references)


def _deletion(obj: Any, policy: str) -> Delete:
    return Delete(
        key_of(obj), DeleteOptions(preconditions=Preconditions(uid=obj.metadata.uid), propagation_policy=policy)
    )


def _disowning(uids: Sequence[str]) -> Callable[[Any], None]:
    def change(obj: Any) -> None:
        for uid in uids:
            remove_owner(obj, uid)

    return change


def _without_finalizer(uid: str, finalizer: str) -> Callable[[Any], None]:
    def change(obj: Any) -> None:
        if obj.metadata.uid == uid and finalizer in obj.metadata.finalizers:
            obj.metadata.finalizers.remove(finalizer)

    return change
