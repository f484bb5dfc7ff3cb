"""Adoption and release: a controller's objects are those it controls *and* its selector selects.

    controlled by me, selected          → mine
    controlled by me, not selected      → released: my reference is removed, the object lives on
    controlled by nobody, selected      → adopted: my reference is added, and the object is mine

An object that is being deleted is neither adopted nor released, and an owner that is being deleted adopts nothing.
What nobody controls is asked of the `Reader` (`orphans`), so that adoption need not search a whole namespace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from master.access.protocol import Change, ChangeType, Mutate, Principal, Reader, Writer
from podium.errors import Conflict, NotFound, PodiumError
from podium.objects.kinds import Key, key_of, kind_of
from podium.objects.meta import is_terminating, qualified_name
from podium.objects.owners import controller_of, owner_reference, remove_owner
from podium.objects.selectors import Selector, workload_selector

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims(Generic[M]):
    """What an owner has, what it is to take, and what it is to let go."""

    kept: Sequence[M]
    adopt: Sequence[M]
    release: Sequence[M]


def plan_claims(owner: Any, selector: Selector, controlled: Iterable[M], orphans: Iterable[M]) -> Claims[M]:
    """Decide about objects that `owner` controls, and about orphans of its namespace."""
    kept: list[M] = []
    release: list[M] = []
    for obj in controlled:
        keep = is_terminating(obj) or selector.matches(_labels(obj))
        (kept if keep else release).append(obj)
    adopting = not is_terminating(owner)
    adopt = [o for o in orphans if adopting and not is_terminating(o) and selector.matches(_labels(o))]
    return Claims(kept=kept, adopt=adopt, release=release)


async def carry_out(claims: Claims[M], owner: Any, writer: Writer, by: Principal) -> None:
    """Write adoptions and releases.

    Raises:
        PodiumError: One was refused; losing a race for an object that is gone or taken is no refusal.
    """
    writes = [Mutate(key_of(o), _adoption(o, owner)) for o in claims.adopt]
    writes += [Mutate(key_of(o), _release(o, owner)) for o in claims.release]
    if not writes:
        return
    for result in await writer.write_many(writes, by=by):
        if isinstance(result, PodiumError) and not isinstance(result, NotFound | Conflict):
            raise result


def keys_of_owned(change: Change[Any], kind: type[Message], reader: Reader) -> set[Key]:
    """The owners of a kind that a change of what such owners have concerns: who controls or controlled it, or may adopt
    it."""
    new, old, name = change.new, change.old, kind_of(kind).name
    namespace, reference = new.metadata.namespace, controller_of(new)
    keys: set[Key] = set()
    if reference is not None:
        if reference.kind == name:
            keys.add(Key(name, namespace, reference.name))
    elif change.type is not ChangeType.DELETED:
        keys.update(selecting(reader.list(kind, namespace), new))
    if old is not None and (before := controller_of(old)) is not None and before.kind == name:
        keys.add(Key(name, namespace, before.name))
    return keys


def selecting(owners: Iterable[Any], obj: Any) -> Iterator[Key]:
    """The keys of owners that could adopt `obj`."""
    labels = _labels(obj)
    for owner in owners:
        if workload_selector(owner).matches(labels):
            yield key_of(owner)


def controller_key(obj: Any, kind: type[Message]) -> Key | None:
    """The key of the object's controller if it is of this kind."""
    reference = controller_of(obj)
    name = kind_of(kind).name
    if reference is None or reference.kind != name:
        return None
    return Key(name, obj.metadata.namespace, reference.name)


def _labels(obj: Any) -> Any:
    return obj.metadata.labels


def _adoption(seen: Any, owner: Any) -> Callable[[Any], None]:
    def adopt(obj: Any) -> None:
        _same(obj, seen)
        if controller_of(obj) is not None or is_terminating(obj):
            raise Conflict(f"{qualified_name(obj)} was adopted by another or is being deleted")
        obj.metadata.owner_references.append(owner_reference(owner))

    return adopt


def _release(seen: Any, owner: Any) -> Callable[[Any], None]:
    def release(obj: Any) -> None:
        _same(obj, seen)
        remove_owner(obj, owner.metadata.uid)

    return release


def _same(obj: Any, seen: Any) -> None:
    if obj.metadata.uid != seen.metadata.uid:
        raise Conflict(f"{qualified_name(obj)} is another object of that name now")
