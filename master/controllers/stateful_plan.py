"""What a StatefulSet does about its pods: one of each ordinal, in order, of the newest template in the end. Pure.

    making       lowest ordinal first; with OrderedReady each waits until all below it are available
    scaling down highest first; with OrderedReady each waits until the one above it has gone
    updating     highest first, down to the partition, `maxUnavailable` at a time (default 1)

What a plan never does, whatever it is given:
  - make a pod of an ordinal while any pod of that name exists, terminating ones included;
  - with OrderedReady, make or delete more than one pod at a time for making and scaling, or out of order;
  - delete an available pod for an update when `maxUnavailable` pods are unavailable already, or one below the
    partition.

**A broken template.** With OrderedReady Kubernetes waits for a broken pod to become ready even when the template that
broke it is no longer wanted: the pod must be deleted by hand. Here a pod that is unhealthy *and* not of the revision
that its ordinal should have does not hold the others up: it is replaced at once when its revision never was rolled out
whole (it was never known to work), or when its containers fail to start or crash. A pod of a revision that once worked,
and that merely is not ready just now, is waited for: it may be in the middle of recovering its state.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from master.controllers.pods import pod_from
from master.controllers.stateful_claims import add_volumes
from podium.objects.history import REVISION_LABEL
from podium.objects.meta import is_terminating
from podium.objects.pod import available_in, is_failing, is_ready, is_terminal
from podium.objects.stateful import POD_INDEX_LABEL, POD_NAME_LABEL, name_of, ordinal_in, ordinals
from podium.v1.apps_pb2 import StatefulSet, StatefulSetStatus
from podium.v1.core_pb2 import Pod, PodTemplateSpec

PARALLEL, ROLLING_UPDATE = "Parallel", "RollingUpdate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """Names of ControllerRevisions.

    Attributes:
        current: The one that all pods were of last.
        update: The one of the newest template.
        worked: Those that were rolled out whole once.
    """

    current: str
    update: str
    worked: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatefulPlan:
    """What to do.

    Attributes:
        create: Ordinals to make a pod of, in order.
        delete: Pods to delete.
        failed: Those of them that are over, whose ordinals are to be backed off from.
        recheck: Seconds until something of this changes by itself.
        because: A sentence.
    """

    create: Sequence[int] = ()
    delete: Sequence[Pod] = ()
    failed: Sequence[Pod] = ()
    recheck: float | None = None
    because: str


def stateful_pod(stateful_set: StatefulSet, template: PodTemplateSpec, revision: str, ordinal: int) -> Pod:
    """The pod of an ordinal: its name and host name are its identity."""
    pod = pod_from(template, stateful_set)
    name = name_of(stateful_set, ordinal)
    pod.metadata.name, pod.metadata.generate_name = name, ""
    pod.metadata.labels[REVISION_LABEL] = revision
    pod.metadata.labels[POD_NAME_LABEL] = name
    pod.metadata.labels[POD_INDEX_LABEL] = str(ordinal)
    pod.spec.hostname, pod.spec.subdomain = name, stateful_set.spec.service_name
    add_volumes(pod, stateful_set, ordinal)
    return pod


def wanted_revision(stateful_set: StatefulSet, ordinal: int, revisions: Revisions) -> str:
    """The revision that the pod of an ordinal should be of."""
    first = ordinals(stateful_set).start
    held = _rolls(stateful_set) and ordinal < first + stateful_set.spec.update_strategy.rolling_update.partition
    return revisions.current if held else revisions.update


def revision_of(pod: Pod) -> str:
    """The revision that a pod was made from."""
    return pod.metadata.labels.get(REVISION_LABEL, "")


def max_unavailable(stateful_set: StatefulSet) -> int:
    """Pods that an update may have unavailable; at least one."""
    limit = stateful_set.spec.update_strategy.rolling_update.max_unavailable
    if limit.WhichOneof("value") == "str_value":
        return max(1, int(limit.str_value.removesuffix("%")) * len(ordinals(stateful_set)) // 100)
    return max(1, limit.int_value)


def _rolls(stateful_set: StatefulSet) -> bool:
    return stateful_set.spec.update_strategy.type == ROLLING_UPDATE


# ---------------------------------------------------------------- the plan


def plan_stateful(
    stateful_set: StatefulSet,
    pods: Iterable[Pod],
    revisions: Revisions,
    *,
    now: datetime.datetime,
    patience: Callable[[int], float] = lambda ordinal: 0.0,
) -> StatefulPlan:
    """Compare the pods that a StatefulSet has with those that it should have.

    Args:
        stateful_set: What is asked for.
        pods: Its own, those that are over or being deleted included.
        revisions: Of the set.
        now: Wall time.
        patience: Seconds for which the failed pod of an ordinal is to be left.
    """
    if is_terminating(stateful_set):
        return StatefulPlan(because="is being deleted")
    plan = _Planning(stateful_set, _by_ordinal(stateful_set, pods), revisions, now, patience)
    return plan.made()


def _by_ordinal(stateful_set: StatefulSet, pods: Iterable[Pod]) -> dict[int, Pod]:
    found = ((ordinal_in(stateful_set, pod), pod) for pod in pods)
    return {ordinal: pod for ordinal, pod in found if ordinal is not None}


class _Hold(Exception):
    """The order asks to wait; the argument says for what."""


@dataclass(slots=True)
class _Planning:
    set_: StatefulSet
    there: Mapping[int, Pod]
    revisions: Revisions
    now: datetime.datetime
    patience: Callable[[int], float]
    create: list[int] = field(default_factory=list)
    delete: list[Pod] = field(default_factory=list)
    failed: list[Pod] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def made(self) -> StatefulPlan:
        try:
            self._fill()
            self._condemn()
            because = self._update()
        except _Hold as hold:
            because = str(hold)
        return StatefulPlan(
            create=self.create,
            delete=self.delete,
            failed=self.failed,
            recheck=min(self.waits, default=None),
            because=because,
        )

    @property
    def _ordered(self) -> bool:
        return self.set_.spec.pod_management_policy != PARALLEL

    def _hold(self, why: str) -> None:
        """One thing at a time, when order is asked for."""
        if self._ordered:
            raise _Hold(why)

    def _fill(self) -> None:
        for ordinal in ordinals(self.set_):
            pod, name = self.there.get(ordinal), name_of(self.set_, ordinal)
            if pod is None:
                self.create.append(ordinal)
                self._hold(f"makes {name}")
            elif is_terminating(pod):
                self._hold(f"waits for {name} to end")
            elif is_terminal(pod):
                self._replace_failed(ordinal, pod)
                self._hold(f"replaces {name}, which is over")
            elif self._is_broken(ordinal, pod):
                self.delete.append(pod)
                self._hold(f"replaces {name}: it is broken, and of a revision that is not wanted")
            elif not self._is_available(pod):
                self._hold(f"waits for {name} to be available")

    def _replace_failed(self, ordinal: int, pod: Pod) -> None:
        wait = self.patience(ordinal)
        if wait > 0:
            self.waits.append(wait)
            return
        self.delete.append(pod)
        self.failed.append(pod)

    def _condemn(self) -> None:
        wanted = ordinals(self.set_)
        for ordinal in sorted((o for o in self.there if o not in wanted), reverse=True):
            pod = self.there[ordinal]
            if is_terminating(pod):
                self._hold(f"waits for {pod.metadata.name} to end")
            else:
                self.delete.append(pod)
                self._hold(f"scales down: deletes {pod.metadata.name}")

    def _update(self) -> str:
        wanted = ordinals(self.set_)
        if not _rolls(self.set_):
            return f"{len(wanted)} pods should exist"
        most = max_unavailable(self.set_)
        moving, unavailable = self._count(wanted)
        deleted = 0
        for ordinal in reversed(wanted):
            pod = self.there.get(ordinal)
            if pod is None or is_terminating(pod) or pod in self.delete or not self._is_stale(ordinal, pod):
                continue
            if moving >= most or (self._is_available(pod) and unavailable >= most):
                break
            unavailable += self._is_available(pod)
            moving += 1
            deleted += 1
            self.delete.append(pod)
        return (
            f"updates {deleted} pods"
            if deleted
            else f"{len(wanted)} pods should exist, {unavailable} are not available"
        )

    def _count(self, wanted: range) -> tuple[int, int]:
        """Pods that the update has in its hands already, and pods that are not available, those included."""
        moving = unavailable = 0
        for ordinal in wanted:
            pod = self.there.get(ordinal)
            gone = pod is None or is_terminating(pod) or pod in self.delete
            if gone or (pod is not None and not self._is_available(pod)):
                unavailable += 1
                moving += gone or (pod is not None and not self._is_stale(ordinal, pod))
        return moving, unavailable

    def _is_stale(self, ordinal: int, pod: Pod) -> bool:
        return revision_of(pod) != wanted_revision(self.set_, ordinal, self.revisions)

    def _is_broken(self, ordinal: int, pod: Pod) -> bool:
        """See the module."""
        if not _rolls(self.set_) or is_ready(pod) or not self._is_stale(ordinal, pod):
            return False
        return revision_of(pod) not in self.revisions.worked or is_failing(pod)

    def _is_available(self, pod: Pod) -> bool:
        wait = available_in(pod, self.set_.spec.min_ready_seconds, self.now)
        if wait:
            self.waits.append(wait)
        return wait == 0


# ---------------------------------------------------------------- status


def stateful_status(
    stateful_set: StatefulSet, pods: Iterable[Pod], revisions: Revisions, *, now: datetime.datetime
) -> tuple[StatefulSetStatus, float | None]:
    """The status that these pods make, and in how many seconds the next of them becomes available."""
    status = StatefulSetStatus(
        observed_generation=stateful_set.metadata.generation,
        current_revision=revisions.current,
        update_revision=revisions.update,
    )
    status.conditions.extend(stateful_set.status.conditions)
    status.observed_config.update(stateful_set.status.observed_config)
    if stateful_set.status.HasField("collision_count"):
        status.collision_count = stateful_set.status.collision_count
    waits: list[float] = []
    for pod in _by_ordinal(stateful_set, pods).values():
        status.replicas += 1
        if is_terminating(pod) or is_terminal(pod):
            continue
        status.current_replicas += revision_of(pod) == revisions.current
        status.updated_replicas += revision_of(pod) == revisions.update
        wait = available_in(pod, stateful_set.spec.min_ready_seconds, now)
        if wait is not None:
            status.ready_replicas += 1
            status.available_replicas += wait == 0
            if wait > 0:
                waits.append(wait)
    if _is_whole(stateful_set, status):
        status.current_revision, status.current_replicas = revisions.update, status.updated_replicas
    return status, min(waits, default=None)


def worked(stateful_set: StatefulSet, status: StatefulSetStatus) -> bool:
    """Whether all pods, and there are some, are of the newest revision and available."""
    return _is_whole(stateful_set, status) and status.available_replicas == status.replicas > 0


def _is_whole(stateful_set: StatefulSet, status: StatefulSetStatus) -> bool:
    """All that should exist is of the newest revision and ready, and nothing else exists."""
    everything = len(ordinals(stateful_set))
    return _rolls(stateful_set) and everything == status.replicas == status.updated_replicas == status.ready_replicas
