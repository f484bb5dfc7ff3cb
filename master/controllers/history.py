"""The revisions that a DaemonSet or StatefulSet keeps: one ControllerRevision a template that it ever had.

    template is new             → a revision is made, with the next number, named after the template's hash
    template is an earlier one  → its revision gets the next number: going back is a revision again
    more than are kept          → the oldest go, but for the current one and those that pods still are of

`plan_history` decides, `Histories` carries out. A revision is there before a pod of it is made, so every pod can be
told what it was made from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from master.access.protocol import Change, ChangeType, Delete, Principal, Reader, Writer
from master.controllers.ownership import carry_out, controller_key, plan_claims
from podium.codec.revisions import data_of
from podium.errors import AlreadyExists, Conflict, NotFound, PodiumError
from podium.objects.history import REVISION_LABEL, equal_to, hash_of, in_order, next_number
from podium.objects.kinds import Key, key_of
from podium.objects.owners import controller_of, is_controlled_by, owner_reference
from podium.objects.revisions import CHANGE_CAUSE, CHANGED_BY
from podium.objects.selectors import workload_selector
from podium.objects.template import template_hash
from podium.v1.apps_pb2 import ControllerRevision
from podium.v1.meta_pb2 import DeleteOptions, Preconditions

# ---------------------------------------------------------------- decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPlan:
    """What to do about the revisions of an owner.

    Attributes:
        current: The revision of the owner's template; when `create`, as it is to be made.
        create: Whether it is new.
        number: What its number must become.
        drop: Revisions that are no longer kept.
    """

    current: ControllerRevision
    create: bool
    number: int
    drop: Sequence[ControllerRevision]


def plan_history(owner: Any, revisions: Sequence[ControllerRevision], live: Set[str]) -> HistoryPlan:
    """Compare an owner's template with its revisions.

    Args:
        owner: A DaemonSet or StatefulSet.
        revisions: Those that it controls.
        live: Hashes or names of revisions that pods are of.
    """
    found = equal_to(data_of(owner.spec.template), revisions)
    newest = next_number(revisions)
    if found is None:
        current, number = _revision(owner, newest), newest
    else:
        current, number = found, found.revision if found.revision == newest - 1 else newest
    return HistoryPlan(
        current=current, create=found is None, number=number, drop=_outlived(owner, revisions, current, live)
    )


def _revision(owner: Any, number: int) -> ControllerRevision:
    name = template_hash(owner.spec.template, owner.status.collision_count)
    made = ControllerRevision(data=data_of(owner.spec.template), revision=number)
    made.metadata.namespace, made.metadata.name = owner.metadata.namespace, f"{owner.metadata.name}-{name}"
    made.metadata.labels.update(owner.spec.template.metadata.labels)
    made.metadata.labels[REVISION_LABEL] = name
    made.metadata.annotations.update(_authorship(owner))
    made.metadata.owner_references.append(owner_reference(owner))
    return made


def _authorship(owner: Any) -> dict[str, str]:
    return {k: v for k, v in owner.metadata.annotations.items() if k in (CHANGED_BY, CHANGE_CAUSE)}


def _outlived(
    owner: Any, revisions: Iterable[ControllerRevision], current: ControllerRevision, live: Set[str]
) -> Sequence[ControllerRevision]:
    idle = [r for r in in_order(revisions) if r is not current and live.isdisjoint((hash_of(r), r.metadata.name))]
    return idle[: max(0, len(idle) - owner.spec.revision_history_limit)]


# ---------------------------------------------------------------- effects

Prepare = Callable[[ControllerRevision, Sequence[ControllerRevision]], None]


class Histories:
    """The histories of one kind's objects."""

    def __init__(self, kind: type[Message], *, reader: Reader, writer: Writer, by: Principal) -> None:
        self._kind, self._reader, self._writer, self._by = kind, reader, writer, by

    def of(self, owner: Any) -> list[ControllerRevision]:
        """The revisions that an owner controls."""
        owned = self._reader.owned_by(ControllerRevision, owner.metadata.uid)
        return [r for r in owned if is_controlled_by(r, owner)]

    async def settle(self, owner: Any, live: Set[str], prepare: Prepare) -> ControllerRevision:
        """Bring the history in line with the owner's template; returns the revision of that template.

        Args:
            owner: A DaemonSet or StatefulSet.
            live: Hashes or names of revisions that pods are of.
            prepare: Completes, in place, a revision that is about to be made beside those that there are.

        Raises:
            Conflict: Its name is taken; it will have another when this is tried again.
            PodiumError: A write was refused.
        """
        revisions = await self._claim(owner)
        plan = plan_history(owner, revisions, live)
        current = plan.current
        if plan.create:
            prepare(current, revisions)
            current = await self._create(owner, current)
        if current.revision != plan.number:
            current = await self._renumber(owner, current, plan.number)
        if plan.drop:
            await self._drop(plan.drop)
        return current

    def keys(self, change: Change[ControllerRevision]) -> Iterator[Key]:
        """The owners that a change of a revision wakes."""
        for revision in (change.old, change.new):
            if revision is not None and (key := controller_key(revision, self._kind)) is not None:
                yield key
        if change.type is not ChangeType.DELETED and controller_of(change.new) is None:
            for owner in self._reader.list(self._kind, change.new.metadata.namespace):
                if _might_be_of(change.new, owner):
                    yield key_of(owner)

    async def _claim(self, owner: Any) -> list[ControllerRevision]:
        orphans = self._reader.orphans(ControllerRevision, owner.metadata.namespace)
        candidates = (r for r in orphans if _might_be_of(r, owner))
        claims = plan_claims(owner, workload_selector(owner), self.of(owner), candidates)
        if claims.adopt or claims.release:
            await carry_out(claims, owner, self._writer, self._by)
        return self.of(owner)

    async def _create(self, owner: Any, wanted: ControllerRevision) -> ControllerRevision:
        try:
            return await self._writer.create(wanted, by=self._by)
        except AlreadyExists:
            there = self._reader.get(ControllerRevision, wanted.metadata.namespace, wanted.metadata.name)
            if there is not None and is_controlled_by(there, owner) and there.data == wanted.data:
                return there
            await self._count_collision(owner)
            raise Conflict(f"the name {wanted.metadata.name} is taken; trying another name") from None

    async def _count_collision(self, owner: Any) -> None:
        count = owner.status.collision_count + 1

        def change(obj: Any) -> None:
            obj.status.collision_count = count

        meta = owner.metadata
        await self._writer.mutate(self._kind, meta.namespace, meta.name, change, by=self._by, subresource="status")

    async def _renumber(self, owner: Any, revision: ControllerRevision, number: int) -> ControllerRevision:
        def change(obj: ControllerRevision) -> None:
            obj.revision = number
            for key in (CHANGED_BY, CHANGE_CAUSE):
                obj.metadata.annotations.pop(key, None)
            obj.metadata.annotations.update(_authorship(owner))

        meta = revision.metadata
        return await self._writer.mutate(ControllerRevision, meta.namespace, meta.name, change, by=self._by)

    async def _drop(self, revisions: Sequence[ControllerRevision]) -> None:
        writes = [Delete(key_of(r), DeleteOptions(preconditions=Preconditions(uid=r.metadata.uid))) for r in revisions]
        for result in await self._writer.write_many(writes, by=self._by):
            if isinstance(result, PodiumError) and not isinstance(result, NotFound):
                raise result


def _might_be_of(revision: ControllerRevision, owner: Any) -> bool:
    """Whether an orphan is the owner's: selectors alone would give a revision to any workload of the same labels."""
    return bool(revision.metadata.name == f"{owner.metadata.name}-{hash_of(revision)}")
