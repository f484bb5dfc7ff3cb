"""PodDisruptionBudget: `status` says how many of its pods are healthy, how many must be, and how many may go.

    pods, their owners' scales ──► budget_status ──► status

Evictions are decided from the pods themselves (`master.access.eviction`); of the status they use only `desiredHealthy`,
and not before it is of the newest spec.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message

from master.access.protocol import Change, ChangeType, Reader, Writer, component
from master.reconcile.protocol import Done, Outcome, Trigger
from podium.aio.clock import Clock
from podium.errors import NotFound
from podium.objects.budgets import budget_status, is_healthy, selector_of
from podium.objects.kinds import Key, key_of
from podium.objects.owners import controller_of
from podium.v1.apps_pb2 import DaemonSet, Deployment, ReplicaSet, ReplicationController, StatefulSet
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import OwnerReference
from podium.v1.policy_pb2 import PodDisruptionBudget

_BY = component("controller:disruption")

_SCALED: dict[str, type[Message]] = {
    "Deployment": Deployment,
    "ReplicaSet": ReplicaSet,
    "ReplicationController": ReplicationController,
    "StatefulSet": StatefulSet,
}


def scale_in(reader: Reader, namespace: str, owner: OwnerReference) -> int | None:
    """How many pods an owner wants: the Deployment of a ReplicaSet, as that is between two of them in a rollout."""
    if owner.kind == "DaemonSet":
        daemons = reader.get(DaemonSet, namespace, owner.name)
        return None if daemons is None else daemons.status.desired_number_scheduled
    kind = _SCALED.get(owner.kind)
    workload: Any = reader.get(kind, namespace, owner.name) if kind is not None else None
    if workload is None or workload.metadata.uid != owner.uid:
        return None
    above = controller_of(workload)
    if above is not None and above.kind in _SCALED:
        return scale_in(reader, namespace, above)
    replicas: int = workload.spec.replicas if workload.spec.HasField("replicas") else 1
    return replicas


class DisruptionController:
    """See the module."""

    name = "disruption"
    workers = 2

    def __init__(self, *, reader: Reader, writer: Writer, clock: Clock) -> None:
        self._reader, self._writer, self._clock = reader, writer, clock
        self.triggers = (
            Trigger(PodDisruptionBudget, lambda change: [key_of(change.new)]),
            Trigger(Pod, self._keys_of_pod),
            *(Trigger(kind, self._keys_of_workload) for kind in _SCALED.values()),
            Trigger(DaemonSet, self._keys_of_daemons),
        )

    async def reconcile(self, key: Key) -> Outcome:
        """Bring the status of one budget up to date."""
        budget = self._reader.get(PodDisruptionBudget, key.namespace, key.name)
        if budget is None:
            return Done("is gone")
        self._refresh(probe := _copied(budget))
        if probe.status != budget.status:
            try:
                await self._writer.mutate(PodDisruptionBudget, *key[1:], self._refresh, by=_BY, subresource="status")
            except NotFound:
                return Done("is gone")
        return Done(f"{probe.status.disruptions_allowed} pods may be disrupted")

    def _refresh(self, budget: PodDisruptionBudget) -> None:
        namespace, selector = budget.metadata.namespace, selector_of(budget)
        pods = self._reader.list(Pod, namespace, selector) if budget.spec.HasField("selector") else []

        def scale_of(where: str, owner: OwnerReference) -> int | None:
            return scale_in(self._reader, where, owner)

        budget.status.CopyFrom(budget_status(budget, pods, scale_of, self._clock.now()))

    def _keys_of_pod(self, change: Change[Pod]) -> Iterable[Key]:
        old, new = change.old, change.new
        if change.type is ChangeType.MODIFIED and old is not None and not _matters(old, new):
            return ()
        pods = [new] if old is None else [old, new]
        return [
            key_of(budget)
            for budget in self._reader.list(PodDisruptionBudget, new.metadata.namespace)
            if any(selector_of(budget).matches(pod.metadata.labels) for pod in pods)
        ]

    def _keys_of_workload(self, change: Change[Any]) -> Iterable[Key]:
        if change.old is not None and change.old.spec.replicas == change.new.spec.replicas:
            return ()
        return self._all_in(change.new.metadata.namespace)

    def _keys_of_daemons(self, change: Change[DaemonSet]) -> Iterable[Key]:
        old, new = change.old, change.new
        if old is not None and old.status.desired_number_scheduled == new.status.desired_number_scheduled:
            return ()
        return self._all_in(new.metadata.namespace)

    def _all_in(self, namespace: str) -> Iterable[Key]:
        return [key_of(budget) for budget in self._reader.list(PodDisruptionBudget, namespace)]


def _copied(budget: PodDisruptionBudget) -> PodDisruptionBudget:
    copied = PodDisruptionBudget()
    copied.CopyFrom(budget)
    return copied


def _matters(old: Pod, new: Pod) -> bool:
    """Whether a change of a pod can change what a budget says."""
    return (
        is_healthy(old) != is_healthy(new)
        or old.metadata.HasField("deletion_timestamp") != new.metadata.HasField("deletion_timestamp")
        or old.metadata.labels != new.metadata.labels
    )
