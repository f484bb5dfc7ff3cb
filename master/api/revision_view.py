"""How the rollout of a DaemonSet or StatefulSet stands, and its history, from its ControllerRevisions. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from master.api.rollout_view import MOST_PROBLEMS, Contents, no_contents, with_config
from podium.codec.revisions import data_of, template_of
from podium.objects.diff import differences
from podium.objects.history import REVISION_LABEL, before, equal_to, hash_of, in_order
from podium.objects.pod import is_ready, is_terminating
from podium.objects.problems import pod_problems
from podium.objects.revisions import CHANGE_CAUSE, CHANGED_BY
from podium.v1.apps_pb2 import ControllerRevision, DaemonSet, StatefulSet
from podium.v1.core_pb2 import Event, Pod
from podium.v1.rollouts_service_pb2 import PodProblem, RolloutRevision, RolloutStatus


class Progress(NamedTuple):
    """Where a rollout is: `waits` is empty when it is complete."""

    waits: str
    done: str
    desired: int
    updated: int
    ready: int
    available: int


def rollout_status(
    obj: Any,
    revisions: Sequence[ControllerRevision],
    pods: Iterable[Pod],
    unhealthy: Mapping[str, Event],
    contents: Contents = no_contents,
) -> RolloutStatus:
    """How the rollout of a workload stands.

    Args:
        obj: A DaemonSet or StatefulSet.
        revisions: Those that it controls.
        pods: Those that it controls.
        unhealthy: The newest probe failure of a pod, by the pod's uid.
        contents: The configuration that a revision runs with.
    """
    current = equal_to(data_of(obj.spec.template), revisions)
    progress = _PROGRESS[type(obj)](obj)
    waits = progress.waits
    if current is None or obj.status.observed_generation < obj.metadata.generation:
        waits = f'waiting for the change of "{obj.metadata.name}" to be observed'
    status = RolloutStatus(
        phase=RolloutStatus.PROGRESSING if waits else RolloutStatus.COMPLETE,
        message=waits or progress.done,
        revision=current.revision if current is not None else 0,
        desired=progress.desired,
        updated=progress.updated,
        ready=progress.ready,
        available=progress.available,
        old=max(0, progress.desired - progress.updated),
    )
    if waits and current is not None:
        status.problems.extend(_problems(current, pods, unhealthy))
        status.changes.extend(_changes(before(current, revisions), current, contents))
    return status


def history(
    obj: Any, revisions: Sequence[ControllerRevision], contents: Contents = no_contents
) -> list[RolloutRevision]:
    """Every revision that is kept, oldest first, each with what changed against the one before it."""
    current = equal_to(data_of(obj.spec.template), revisions)
    told: list[RolloutRevision] = []
    earlier: ControllerRevision | None = None
    for revision in in_order(revisions):
        annotations = revision.metadata.annotations
        told.append(
            RolloutRevision(
                revision=revision.revision,
                created=revision.metadata.creation_timestamp,
                user=annotations.get(CHANGED_BY, ""),
                change_cause=annotations.get(CHANGE_CAUSE, ""),
                template=template_of(revision),
                changes=_changes(earlier, revision, contents),
                current=revision is current,
            )
        )
        earlier = revision
    return told


def to_return_to(obj: Any, revisions: Sequence[ControllerRevision], number: int) -> ControllerRevision | None:
    """The revision of this number; for 0, the newest one but for the current."""
    if not number:
        return before(equal_to(data_of(obj.spec.template), revisions), revisions)
    return next((r for r in revisions if r.revision == number), None)


def _daemon_progress(obj: DaemonSet) -> Progress:
    status = obj.status
    desired, updated, available = (
        status.desired_number_scheduled, status.updated_number_scheduled, status.number_available
    )  # fmt: skip
    waits = ""
    if updated < desired:
        waits = f"{updated} of {desired} nodes run the new revision"
        if obj.spec.update_strategy.type == "OnDelete":
            waits += "; an old pod is replaced when it is deleted (OnDelete)"
    elif available < desired:
        waits = f"{available} of {desired} nodes have an available pod"
    done = f'daemon set "{obj.metadata.name}" is rolled out on {desired} nodes'
    return Progress(waits, done, desired, updated, status.number_ready, available)


def _stateful_progress(obj: StatefulSet) -> Progress:
    status, desired = obj.status, obj.spec.replicas
    rolling = obj.spec.update_strategy.rolling_update
    due = max(0, desired - rolling.partition)
    waits = ""
    if status.updated_replicas < due:
        waits = f"{status.updated_replicas} of {due} pods are of the new revision"
        if obj.spec.update_strategy.type == "OnDelete":
            waits += "; an old pod is replaced when it is deleted (OnDelete)"
    elif status.available_replicas < desired:
        waits = f"{status.available_replicas} of {desired} pods are available"
    elif status.replicas > desired:
        waits = f"{status.replicas - desired} pods are yet to end"
    done = f'stateful set "{obj.metadata.name}" is rolled out: {desired} of {desired} pods available'
    if rolling.partition and due < desired:
        done = (
            f"{due} of {desired} pods are updated, those from ordinal {obj.spec.ordinals.start + rolling.partition} on"
        )
    return Progress(waits, done, desired, status.updated_replicas, status.ready_replicas, status.available_replicas)


_PROGRESS: dict[type[Any], Callable[[Any], Progress]] = {DaemonSet: _daemon_progress, StatefulSet: _stateful_progress}


def _problems(current: ControllerRevision, pods: Iterable[Pod], unhealthy: Mapping[str, Event]) -> list[PodProblem]:
    found: list[PodProblem] = []
    names = (hash_of(current), current.metadata.name)
    for pod in pods:
        of_it = pod.metadata.labels.get(REVISION_LABEL) in names
        if of_it and not is_ready(pod) and not is_terminating(pod):
            found += pod_problems(pod, unhealthy.get(pod.metadata.uid))
    return found[:MOST_PROBLEMS]


def _changes(old: ControllerRevision | None, new: ControllerRevision, contents: Contents) -> list[str]:
    if old is None:
        return []
    return with_config(differences(template_of(old), template_of(new)), old, new, contents)
