"""How a rollout stands, told to a person: its phase in a sentence, what its pods suffer from, its history. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from podium.objects.conditions import FALSE, TRUE, get_condition
from podium.objects.diff import template_changes
from podium.objects.pod import FAILED, READY, SCHEDULED, is_active, is_ready, is_terminating
from podium.objects.revisions import CHANGE_CAUSE, CHANGED_BY, bare_template, current_of, last_good, revision_of
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.core_pb2 import ContainerStatus, Event, Pod
from podium.v1.rollouts_service_pb2 import PodProblem, RolloutRevision, RolloutStatus

TIMED_OUT = "ProgressDeadlineExceeded"
MOST_PROBLEMS = 10

# A container that waits for one of these is on its way.
_PATIENT = frozenset({"", "ContainerCreating", "PodInitializing"})


def rollout_status(
    deployment: Deployment, replica_sets: Sequence[ReplicaSet], pods: Iterable[Pod], unhealthy: Mapping[str, Event]
) -> RolloutStatus:
    """How the rollout of a Deployment stands.

    Args:
        deployment: The Deployment.
        replica_sets: Those that it controls.
        pods: Of its newest revision.
        unhealthy: The newest probe failure of a pod, by the pod's uid.
    """
    current = current_of(deployment, replica_sets)
    phase, message = _phase(deployment)
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
    if phase != RolloutStatus.COMPLETE:
        failed = phase == RolloutStatus.FAILED
        status.problems.extend(_problems(current, pods, unhealthy, impatient=failed))
        good = last_good(current, replica_sets)
        if current is not None and good is not None:
            status.changes.extend(template_changes(good, current))
    return status


def _phase(deployment: Deployment) -> tuple[RolloutStatus.Phase.ValueType, str]:
    name, wanted, observed = deployment.metadata.name, deployment.spec.replicas, deployment.status
    if observed.observed_generation < deployment.metadata.generation:
        return RolloutStatus.PROGRESSING, f'waiting for the change of deployment "{name}" to be observed'
    progressing = get_condition(observed.conditions, "Progressing")
    if progressing is not None and progressing.reason == TIMED_OUT:
        seconds = deployment.spec.progress_deadline_seconds
        return RolloutStatus.FAILED, f'deployment "{name}" made no progress for {seconds} s (its progress deadline)'
    waits = _waiting_for(deployment)
    if waits and deployment.spec.paused:
        return RolloutStatus.PAUSED, f'deployment "{name}" is paused: {waits}; `podium rollout resume` goes on'
    if waits:
        return RolloutStatus.PROGRESSING, waits
    return RolloutStatus.COMPLETE, f'deployment "{name}" is rolled out: {wanted} of {wanted} replicas available'


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


def pod_problems(pod: Pod, unhealthy: Event | None = None, *, impatient: bool = False) -> list[PodProblem]:
    """What keeps a pod from being ready, as far as its status tells.

    Args:
        pod: The pod.
        unhealthy: Its newest event about a failed probe.
        impatient: Also name containers that merely have not become ready yet.
    """
    scheduled = get_condition(pod.status.conditions, SCHEDULED)
    if scheduled is not None and scheduled.status == FALSE:
        return [_problem(pod, "", scheduled.reason or "Unschedulable", scheduled.message)]
    if pod.status.phase == FAILED and pod.status.reason:
        return [_problem(pod, "", pod.status.reason, pod.status.message)]
    statuses = [*pod.status.init_container_statuses, *pod.status.container_statuses]
    found = [problem for status in statuses if (problem := _container_problem(pod, status)) is not None]
    return found or list(_not_ready(pod, unhealthy, impatient))


def _container_problem(pod: Pod, status: ContainerStatus) -> PodProblem | None:
    state, last = status.state, status.last_state
    if state.HasField("terminated"):
        ended = state.terminated
        if ended.exit_code == 0 and not ended.signal:
            return None
        problem = _problem(pod, status.name, ended.reason or "Error", ended.message)
        problem.exit_code = ended.exit_code
    elif state.HasField("waiting") and state.waiting.reason not in _PATIENT:
        waiting = state.waiting
        ended = last.terminated
        out_of_memory = last.HasField("terminated") and ended.reason == "OOMKilled"
        reason = "OOMKilled" if out_of_memory else waiting.reason
        message = "; ".join(filter(None, (ended.message, waiting.message)))
        problem = _problem(pod, status.name, reason, message)
        if last.HasField("terminated"):
            problem.exit_code = ended.exit_code
    else:
        return None
    problem.restart_count = status.restart_count
    return problem


def _not_ready(pod: Pod, unhealthy: Event | None, impatient: bool) -> Iterator[PodProblem]:
    unready = [s for s in pod.status.container_statuses if s.state.HasField("running") and not s.ready]
    if unhealthy is not None:
        name = unready[0].name if len(unready) == 1 else ""
        yield _problem(pod, name, "Unhealthy", unhealthy.message, sum(s.restart_count for s in unready))
    elif impatient and unready:
        for status in unready:
            yield _problem(pod, status.name, "Unhealthy", "runs, and has not become ready", status.restart_count)
    elif impatient and is_active(pod):
        ready = get_condition(pod.status.conditions, READY)
        why = ready.message if ready is not None and ready.message else f"is {pod.status.phase or 'Pending'}"
        yield _problem(pod, "", "NotReady", why)


def _problem(pod: Pod, container: str, reason: str, message: str, restarts: int = 0) -> PodProblem:
    return PodProblem(
        pod=pod.metadata.name,
        container=container,
        reason=reason,
        message=message,
        restart_count=restarts,
        node=pod.spec.node_name,
    )


# ---------------------------------------------------------------- history


def history(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> list[RolloutRevision]:
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
                changes=template_changes(before, rs) if before is not None else (),
                current=rs is current,
            )
        )
    return told
