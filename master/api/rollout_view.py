"""How a rollout stands, told to a person: its phase in a sentence, what its pods suffer from, its history. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from master.api.rollout_strategies import add_strategy, has_state, waiting_for_strategy, waits_for_a_person
from podium.objects.conditions import TRUE, get_condition, is_true
from podium.objects.config import FINGERPRINT, Content, Revision, config_changes, pins_of
from podium.objects.diff import template_changes
from podium.objects.pod import is_ready, is_terminating
from podium.objects.problems import pod_problems
from podium.objects.revisions import (
    CHANGE_CAUSE,
    CHANGED_BY,
    bare_template,
    current_of,
    is_held,
    last_good,
    revision_of,
    worked,
)
from podium.objects.revisions import FAILED as FAILED_REVISION
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.core_pb2 import Event, Pod
from podium.v1.rollouts_service_pb2 import PodProblem, RolloutRevision, RolloutStatus

TIMED_OUT = "ProgressDeadlineExceeded"
MOST_PROBLEMS = 10


Contents = Callable[[Revision], Content]


def no_contents(_: Revision) -> Content:
    """For workloads whose configuration does not roll with them."""
    return {}


def rollout_status(
    deployment: Deployment,
    replica_sets: Sequence[ReplicaSet],
    pods: Iterable[Pod],
    unhealthy: Mapping[str, Event],
    contents: Contents = no_contents,
) -> RolloutStatus:
    """How the rollout of a Deployment stands.

    Args:
        deployment: The Deployment.
        replica_sets: Those that it controls.
        pods: Of its newest revision.
        unhealthy: The newest probe failure of a pod, by the pod's uid.
        contents: The configuration that a revision runs with.
    """
    current = current_of(deployment, replica_sets)
    phase, message = _phase(deployment, replica_sets)
    observed = deployment.status
    status = RolloutStatus(
        phase=phase,
        message=message,
        revision=revision_of(current) if current is not None else 0,
        desired=deployment.spec.replicas,
        updated=observed.updated_replicas,
        ready=observed.ready_replicas,
        available=observed.available_replicas,
        old=max(0, observed.replicas - observed.updated_replicas),
    )
    add_strategy(status, deployment, replica_sets)
    if phase != RolloutStatus.COMPLETE:
        failed = phase == RolloutStatus.FAILED
        status.problems.extend(_problems(current, pods, unhealthy, impatient=failed))
        good = last_good(current, replica_sets)
        if current is not None and good is not None:
            status.changes.extend(_changes(good, current, contents))
    return status


def _phase(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> tuple[RolloutStatus.Phase.ValueType, str]:
    name, wanted, observed = deployment.metadata.name, deployment.spec.replicas, deployment.status
    if observed.observed_generation < deployment.metadata.generation:
        return RolloutStatus.PROGRESSING, f'waiting for the change of deployment "{name}" to be observed'
    if is_held(deployment, replica_sets):
        return _held(deployment)
    progressing = get_condition(observed.conditions, "Progressing")
    if progressing is not None and progressing.reason == TIMED_OUT:
        seconds = deployment.spec.progress_deadline_seconds
        return RolloutStatus.FAILED, f'deployment "{name}" made no progress for {seconds} s (its progress deadline)'
    if progressing is not None and progressing.reason == "AnalysisFailed":
        return RolloutStatus.FAILED, f'deployment "{name}" goes no further: {progressing.message}'
    waits = waiting_for_strategy(deployment) if has_state(deployment) else _waiting_for(deployment)
    if waits and deployment.spec.paused:
        return RolloutStatus.PAUSED, f'deployment "{name}" is paused: {waits}; `podium rollout resume` goes on'
    if waits and waits_for_a_person(deployment):
        return RolloutStatus.PAUSED, waits
    if waits:
        return RolloutStatus.PROGRESSING, waits
    return RolloutStatus.COMPLETE, f'deployment "{name}" is rolled out: {wanted} of {wanted} replicas available'


def _held(deployment: Deployment) -> tuple[RolloutStatus.Phase.ValueType, str]:
    aborted = deployment.status.aborted
    back = f"revision {aborted.returned_to_revision}"
    if not is_true(deployment.status.conditions, "RolledBack"):
        return RolloutStatus.PROGRESSING, f"returning to {back}: {aborted.message}"
    suffered = f" ({'; '.join(aborted.problems)})" if aborted.problems else ""
    return (
        RolloutStatus.FAILED,
        f'deployment "{deployment.metadata.name}" is back at {back}: {aborted.message}{suffered}; '
        f"revision {aborted.revision} is held back until the template changes, or `podium rollout retry`",
    )


def _waiting_for(deployment: Deployment) -> str:
    wanted, observed = deployment.spec.replicas, deployment.status
    if observed.updated_replicas < wanted:
        return f"{observed.updated_replicas} of {wanted} replicas are of the new revision"
    if observed.replicas > observed.updated_replicas:
        return f"{observed.replicas - observed.updated_replicas} old replicas are yet to end"
    if observed.available_replicas < observed.updated_replicas:
        return f"{observed.available_replicas} of {observed.updated_replicas} new replicas are available"
    return ""


# ---------------------------------------------------------------- problems


def _problems(
    current: ReplicaSet | None, pods: Iterable[Pod], unhealthy: Mapping[str, Event], *, impatient: bool
) -> list[PodProblem]:
    found: list[PodProblem] = []
    refused = get_condition(current.status.conditions, "ReplicaFailure") if current is not None else None
    if refused is not None and refused.status == TRUE:
        found.append(PodProblem(reason=refused.reason, message=refused.message))
    for pod in pods:
        if not is_ready(pod) and not is_terminating(pod):
            found += pod_problems(pod, unhealthy.get(pod.metadata.uid), impatient=impatient)
        if len(found) >= MOST_PROBLEMS:
            break
    return found[:MOST_PROBLEMS]


# ---------------------------------------------------------------- history


def history(
    deployment: Deployment, replica_sets: Sequence[ReplicaSet], contents: Contents = no_contents
) -> list[RolloutRevision]:
    """Every revision that is kept, oldest first, each with what changed against the one before it."""
    current = current_of(deployment, replica_sets)
    ordered = sorted((rs for rs in replica_sets if revision_of(rs)), key=revision_of)
    told: list[RolloutRevision] = []
    for before, rs in zip([None, *ordered], ordered, strict=False):
        annotations = rs.metadata.annotations
        told.append(
            RolloutRevision(
                revision=revision_of(rs),
                created=rs.metadata.creation_timestamp,
                user=annotations.get(CHANGED_BY, ""),
                change_cause=annotations.get(CHANGE_CAUSE, ""),
                template=bare_template(rs),
                changes=_changes(before, rs, contents) if before is not None else (),
                current=rs is current,
                verdict=_verdict(rs),
            )
        )
    return told


def _verdict(rs: ReplicaSet) -> str:
    failed = rs.metadata.annotations.get(FAILED_REVISION, "")
    return f"failed: {failed}" if failed else "worked" if worked(rs) else ""


def _changes(old: ReplicaSet, new: ReplicaSet, contents: Contents) -> list[str]:
    return with_config(template_changes(old, new), old, new, contents)


def with_config(in_template: Iterable[str], old: Revision, new: Revision, contents: Contents) -> list[str]:
    """What changed in the template; and in the configuration, instead of the fingerprint that stands for it."""
    in_config = config_changes(contents(old), contents(new)) if pins_of(old) or pins_of(new) else []
    return [line for line in in_template if not in_config or FINGERPRINT not in line] + in_config
