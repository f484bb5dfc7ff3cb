"""Namespace: one that is being deleted is emptied, says what is left and who holds it, and goes when it is empty.

deletionTimestamp ─► contents deleted, owners before what they own ─► conditions tell what remains
                  ─► nothing remains: the finalizer `kubernetes` goes from spec, and the namespace with it
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from master.access.protocol import Change, ChangeType, Delete, Reader, Writer, component
from master.reconcile.protocol import Done, Outcome, Trigger
from podium.aio.clock import Clock
from podium.errors import NotFound, PodiumError
from podium.objects.conditions import FALSE, TRUE, set_condition
from podium.objects.kinds import KINDS, Key, key_of, kind_of
from podium.objects.meta import is_terminating
from podium.v1.core_pb2 import Namespace, Pod
from podium.v1.meta_pb2 import DeleteOptions, Preconditions

FINALIZER = "kubernetes"
TERMINATING = "Terminating"

CONTENT_REMAINING = "NamespaceContentRemaining"
FINALIZERS_REMAINING = "NamespaceFinalizersRemaining"
CONTENT_FAILURE = "NamespaceDeletionContentFailure"

# What makes other objects goes first, or it would replace what is deleted.
_ORDER = {"Deployment": 0, "ReplicaSet": 1, "ReplicationController": 1, "DaemonSet": 1, "StatefulSet": 1, "Event": 9}

_BY = component("controller:namespace")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespacePlan:
    """What to delete, and what remains: empty `remaining` means that the namespace may go."""

    delete: Sequence[Key]
    uids: Mapping[Key, str]
    remaining: str
    finalizers: str
    because: str

    @property
    def empty(self) -> bool:
        """Whether nothing is left."""
        return not self.remaining


def plan_namespace(contents: Iterable[Message]) -> NamespacePlan:
    """Decide about the contents of a namespace that is being deleted."""
    objects: list[Any] = list(contents)
    doomed = sorted((o for o in objects if not is_terminating(o)), key=_order)
    return NamespacePlan(
        delete=[key_of(o) for o in doomed],
        uids={key_of(o): o.metadata.uid for o in doomed},
        remaining=_tell(_remaining(objects)),
        finalizers=_tell(Counter(f for o in objects for f in o.metadata.finalizers)),
        because=f"{len(doomed)} to delete, {len(objects) - len(doomed)} going" if objects else "is empty",
    )


def _order(obj: Any) -> tuple[int, str, str]:
    kind = kind_of(obj).name
    return _ORDER.get(kind, 5), kind, obj.metadata.name


def _remaining(objects: Iterable[Any]) -> Counter[str]:
    return Counter(_described(o) for o in objects)


def _described(obj: Any) -> str:
    plural = kind_of(obj).plural
    if isinstance(obj, Pod) and is_terminating(obj) and obj.spec.node_name and not obj.metadata.finalizers:
        return f"{plural} that node {obj.spec.node_name} has yet to end"
    return plural


def _tell(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({number})" for name, number in sorted(counts.items()))


def set_deletion_conditions(
    namespace: Namespace, plan: NamespacePlan, failure: PodiumError | None, now: datetime.datetime
) -> None:
    """Say on a namespace what keeps it, in place."""
    namespace.status.phase = TERMINATING
    told = (
        (CONTENT_REMAINING, "SomeResourcesRemain", "ContentRemoved", "Some resources are remaining: ", plan.remaining),
        (
            FINALIZERS_REMAINING,
            "SomeFinalizersRemain",
            "ContentHasNoFinalizers",
            "Some content has finalizers remaining: ",
            plan.finalizers,
        ),
        (
            CONTENT_FAILURE,
            "ContentDeletionFailed",
            "ContentDeleted",
            "Some content could not be deleted: ",
            failure.message if failure is not None else "",
        ),
    )
    for type_, bad, good, prefix, what in told:
        set_condition(
            namespace.status.conditions,
            type_,
            TRUE if what else FALSE,
            now=now,
            reason=bad if what else good,
            message=prefix + what if what else "",
        )


class NamespaceController:
    """See the module."""

    name = "namespace"
    workers = 2

    def __init__(self, *, reader: Reader, writer: Writer, clock: Clock) -> None:
        self._reader, self._writer, self._clock = reader, writer, clock
        self._terminating: set[str] = set()
        contents = [Trigger(kind.message, self._keys_of_content) for kind in KINDS if kind.namespaced]
        self.triggers = (Trigger(Namespace, self._keys_of_namespace), *contents)

    async def reconcile(self, key: Key) -> Outcome:
        """Empty one namespace that is being deleted."""
        namespace = self._reader.get(Namespace, "", key.name)
        if namespace is None or not is_terminating(namespace):
            return Done("is not being deleted")
        plan = plan_namespace(self._reader.everything_in(key.name))
        failure = await self._delete(plan) if plan.delete else None
        plan = plan_namespace(self._reader.everything_in(key.name))
        if plan.empty:
            await self._finalize(namespace)
            return Done("is empty and goes")
        now = self._clock.now()

        def change(obj: Namespace) -> None:
            set_deletion_conditions(obj, plan, failure, now)

        await self._writer.mutate(Namespace, "", key.name, change, by=_BY, subresource="status")
        if failure is not None:
            raise failure
        return Done(plan.because)

    async def _delete(self, plan: NamespacePlan) -> PodiumError | None:
        writes = [
            Delete(key, DeleteOptions(preconditions=Preconditions(uid=plan.uids[key]), propagation_policy="Background"))
            for key in plan.delete
        ]
        results = await self._writer.write_many(writes, by=_BY)
        return next((r for r in results if isinstance(r, PodiumError) and not isinstance(r, NotFound)), None)

    async def _finalize(self, namespace: Namespace) -> None:
        def change(obj: Namespace) -> None:
            if obj.metadata.uid == namespace.metadata.uid and FINALIZER in obj.spec.finalizers:
                obj.spec.finalizers.remove(FINALIZER)

        try:
            await self._writer.mutate(Namespace, "", namespace.metadata.name, change, by=_BY)
        except NotFound:
            return

    def _keys_of_namespace(self, change: Change[Namespace]) -> Iterable[Key]:
        name = change.new.metadata.name
        if change.type is ChangeType.DELETED or not is_terminating(change.new):
            self._terminating.discard(name)
            return ()
        self._terminating.add(name)
        return (key_of(change.new),)

    def _keys_of_content(self, change: Change[Any]) -> Iterable[Key]:
        name = change.new.metadata.namespace
        return (Key("Namespace", "", name),) if name in self._terminating else ()
