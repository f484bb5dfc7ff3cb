"""ReplicaSet and ReplicationController: as many pods of a template as asked for, no more and no fewer.

The two differ in how their selector is written, and in nothing that is decided here.

A pod counts while it is neither over (Succeeded, Failed) nor being deleted; whatever stops counting is replaced at
once. Reads see one's own writes, so there are no expectations to keep: what was created a moment ago is counted.

Which pods go first when there are too many is Kubernetes' order: those that cost least to lose (`deletion_order`).
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from master.access.protocol import Change, ChangeType, EventRecorder, Reader, Writer, component
from master.controllers.ownership import carry_out, keys_of_owned, plan_claims
from master.controllers.pod_writes import PodWrites
from master.controllers.pods import matters, pod_from
from master.reconcile.protocol import After, Done, Outcome, Trigger
from podium.aio.clock import Clock
from podium.errors import PodiumError
from podium.objects.conditions import TRUE, remove_condition, set_condition
from podium.objects.kinds import Key, key_of, kind_of
from podium.objects.meta import is_terminating
from podium.objects.owners import controller_of
from podium.objects.pod import PENDING, RUNNING, available_in, is_active, is_bound, is_terminal
from podium.objects.selectors import workload_selector
from podium.v1.apps_pb2 import ReplicaSet, ReplicaSetStatus, ReplicationController
from podium.v1.core_pb2 import Pod

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
REPLICA_FAILURE = "ReplicaFailure"

Replicated = ReplicaSet | ReplicationController


# ---------------------------------------------------------------- decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSetPlan:
    """Pods to create, by number, and pods to delete; never both."""

    create: int = 0
    delete: Sequence[Pod] = ()
    because: str


def desired_replicas(replica_set: Replicated) -> int:
    """How many pods the ReplicaSet asks for; 1 when it does not say."""
    return replica_set.spec.replicas if replica_set.spec.HasField("replicas") else 1


def plan_replicaset(replica_set: Replicated, pods: Sequence[Pod], related: Iterable[Pod] = ()) -> ReplicaSetPlan:
    """Compare the pods that a ReplicaSet has with what it asks for.

    Args:
        replica_set: What is asked for.
        pods: Its own pods, those that are over or being deleted included.
        related: Active pods of all ReplicaSets of the same owner, its own included: a node that holds several of
            them loses one first.
    """
    active = [pod for pod in pods if is_active(pod)]
    desired = desired_replicas(replica_set)
    if is_terminating(replica_set):
        return ReplicaSetPlan(because="is being deleted")
    if len(active) < desired:
        return ReplicaSetPlan(create=desired - len(active), because=f"{len(active)} of {desired} pods exist")
    if len(active) > desired:
        surplus = deletion_order(active, related or active)[: len(active) - desired]
        return ReplicaSetPlan(delete=surplus, because=f"{len(active)} pods exist where {desired} should")
    return ReplicaSetPlan(because=f"all {desired} pods exist")


def deletion_order(pods: Sequence[Pod], related: Iterable[Pod]) -> list[Pod]:
    """Pods in the order in which they are given up: the one that costs least to lose first.

    Unassigned, then pending, then not ready, then by the deletion cost that its owner put on it, then where most
    related pods share the node, then ready for the shortest time, then most restarts, then youngest.
    """
    crowd = Counter(pod.spec.node_name for pod in related if is_bound(pod))
    return sorted(pods, key=lambda pod: _worth(pod, crowd))


_PHASE_WORTH = {PENDING: 0, "": 0, RUNNING: 2}


def _worth(pod: Pod, crowd: Counter[str]) -> tuple[bool, int, bool, int, int, float, int, float]:
    ready = next((c for c in pod.status.conditions if c.type == "Ready" and c.status == TRUE), None)
    ready_since = ready.last_transition_time.seconds if ready is not None else 0
    created = pod.metadata.creation_timestamp
    return (
        is_bound(pod),
        _PHASE_WORTH.get(pod.status.phase, 1),
        ready is not None,
        _deletion_cost(pod),
        -crowd[pod.spec.node_name],
        -ready_since,
        -max((s.restart_count for s in pod.status.container_statuses), default=0),
        -(created.seconds + created.nanos / 1e9),
    )


def _deletion_cost(pod: Pod) -> int:
    try:
        return int(pod.metadata.annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0


def replicaset_status(
    replica_set: Replicated, pods: Iterable[Pod], now: datetime.datetime, failure: PodiumError | None
) -> tuple[ReplicaSetStatus, float | None]:
    """The status that these pods make, and in how many seconds the next of them becomes available."""
    status = ReplicaSetStatus()
    status.conditions.extend(replica_set.status.conditions)
    status.observed_generation = replica_set.metadata.generation
    template_labels = list(replica_set.spec.template.metadata.labels.items())
    min_ready = replica_set.spec.min_ready_seconds
    replicas = fully_labeled = ready = available = 0
    waits: list[float] = []
    for pod in filter(is_active, pods):
        replicas += 1
        labels = pod.metadata.labels
        for key, value in template_labels:  # a plain loop: it runs for every pod at every change of one
            if labels.get(key) != value:
                break
        else:
            fully_labeled += 1
        wait = available_in(pod, min_ready, now)
        if wait is not None:
            ready += 1
            available += wait == 0
            if wait > 0:
                waits.append(wait)
    status.replicas, status.fully_labeled_replicas = replicas, fully_labeled
    status.ready_replicas, status.available_replicas = ready, available
    if failure is None:
        remove_condition(status.conditions, REPLICA_FAILURE)
    else:
        set_condition(status.conditions, REPLICA_FAILURE, TRUE, now=now, reason="FailedCreate", message=failure.message)
    return status, min(waits, default=None)


# ---------------------------------------------------------------- effects


class ReplicaSetController:
    """See the module. One is for the objects of one `kind`."""

    workers = 5

    def __init__(
        self,
        kind: type[ReplicaSet] | type[ReplicationController] = ReplicaSet,
        *,
        reader: Reader,
        writer: Writer,
        events: EventRecorder,
        clock: Clock,
    ) -> None:
        self._kind, self._kind_name, self.name = kind, kind_of(kind).name, kind_of(kind).singular
        self._by = component(f"controller:{self.name}")
        self._reader, self._writer, self._events, self._clock = reader, writer, events, clock
        self._pods = PodWrites(writer=writer, events=events, by=self._by)
        self.triggers = (
            Trigger(kind, lambda change: [key_of(change.new)]),
            Trigger(Pod, self._keys_of_pod, controller=self._kind_name),
        )

    async def reconcile(self, key: Key) -> Outcome:
        """Bring the pods of one ReplicaSet to its number, and its status up to date."""
        replica_set: Replicated | None = self._reader.get(self._kind, key.namespace, key.name)
        if replica_set is None:
            return Done("is gone")
        pods = await self._claim(replica_set)
        plan = plan_replicaset(replica_set, pods, self._related(replica_set))
        failure: PodiumError | None = None
        if plan.create:
            template = replica_set.spec.template
            made = (pod_from(template, replica_set) for _ in range(plan.create))
            failure = await self._pods.create(replica_set, made)
        elif plan.delete:
            await self._pods.delete(replica_set, plan.delete)
        if plan.create or plan.delete:
            pods = self._controlled(replica_set)
        wait = await self._write_status(replica_set, pods, failure)
        if failure is not None:
            raise failure
        return Done(plan.because) if wait is None else After(wait, f"{plan.because}; some wait to be available")

    async def _claim(self, replica_set: Replicated) -> list[Pod]:
        selector = workload_selector(replica_set)
        controlled = self._controlled(replica_set)
        orphans = self._reader.orphans(Pod, replica_set.metadata.namespace)
        claims = plan_claims(replica_set, selector, controlled, (o for o in orphans if not is_terminal(o)))
        if not claims.adopt and not claims.release:
            return controlled
        await carry_out(claims, replica_set, self._writer, self._by)
        return self._controlled(replica_set)

    def _controlled(self, replica_set: Replicated) -> list[Pod]:
        uid = replica_set.metadata.uid
        owned = self._reader.owned_by(Pod, uid)
        return [pod for pod in owned if (ref := controller_of(pod)) is not None and ref.uid == uid]

    def _related(self, replica_set: Replicated) -> Iterator[Pod]:
        """Lazily: only a plan that deletes asks where its relatives are."""
        owner = controller_of(replica_set)
        family = self._reader.owned_by(self._kind, owner.uid) if owner is not None else [replica_set]
        return (pod for member in family for pod in self._reader.owned_by(Pod, member.metadata.uid) if is_active(pod))

    async def _write_status(
        self, replica_set: Replicated, pods: Sequence[Pod], failure: PodiumError | None
    ) -> float | None:
        status, wait = replicaset_status(replica_set, pods, self._clock.now(), failure)
        current = self._reader.get(self._kind, replica_set.metadata.namespace, replica_set.metadata.name)
        if current is None or current.metadata.uid != replica_set.metadata.uid or current.status == status:
            return wait

        def change(obj: Replicated) -> None:
            if obj.metadata.uid == replica_set.metadata.uid:
                obj.status.CopyFrom(status)

        key = key_of(replica_set)
        await self._writer.mutate(self._kind, key.namespace, key.name, change, by=self._by, subresource="status")
        return wait

    def _keys_of_pod(self, change: Change[Pod]) -> Iterable[Key]:
        if change.type is ChangeType.MODIFIED and change.old is not None and not matters(change.old, change.new):
            return ()
        return keys_of_owned(change, self._kind, self._reader)
