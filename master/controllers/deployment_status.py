"""What a Deployment says of itself: counts, and the conditions Available, Progressing and ReplicaFailure. Pure.

Progressing tells a rollout's story, with Kubernetes' reasons:

    NewReplicaSetCreated ─► ReplicaSetUpdated (each step renews lastUpdateTime) ─► NewReplicaSetAvailable (done)
                                   │
                                   └── no step within progressDeadlineSeconds ─► ProgressDeadlineExceeded (False)

While paused it is Unknown (DeploymentPaused), and the deadline counts anew from DeploymentResumed.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from podium.objects.conditions import FALSE, TRUE, UNKNOWN, get_condition, remove_condition, set_condition
from podium.objects.meta import seconds_since, timestamp
from podium.v1.apps_pb2 import Deployment, DeploymentStatus, ReplicaSet
from podium.v1.meta_pb2 import Condition

AVAILABLE, PROGRESSING, REPLICA_FAILURE = "Available", "Progressing", "ReplicaFailure"

CREATED = "NewReplicaSetCreated"
FOUND = "FoundNewReplicaSet"
UPDATED = "ReplicaSetUpdated"
FINISHED = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
RESUMED = "DeploymentResumed"

_NO_DEADLINE = 2**31 - 1


def deployment_status(
    deployment: Deployment,
    current: ReplicaSet | None,
    old: Sequence[ReplicaSet],
    *,
    least_available: int,
    now: datetime.datetime,
) -> tuple[DeploymentStatus, float | None]:
    """The status that these ReplicaSets make, and in how many seconds the rollout would be overdue.

    Args:
        deployment: With its last status.
        current: The ReplicaSet of the newest template, if it exists.
        old: All its others.
        least_available: Replicas that must be available for condition Available.
        now: Wall time.
    """
    status = _counts(deployment, current, old)
    _set_available(status, least_available, now)
    _set_replica_failure(status, current, old)
    if deployment.spec.paused:
        _set_paused(status, deployment, now)
        return status, None
    return status, _set_progressing(status, deployment, current, now)


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Whether every replica is of the newest template and available, and no other is left."""
    wanted = deployment.spec.replicas
    return (
        status.updated_replicas == wanted
        and status.replicas == wanted
        and status.available_replicas == wanted
        and status.observed_generation >= deployment.metadata.generation
    )


def _counts(deployment: Deployment, current: ReplicaSet | None, old: Sequence[ReplicaSet]) -> DeploymentStatus:
    sets = [*old, *([current] if current is not None else [])]
    status = DeploymentStatus()
    status.conditions.extend(deployment.status.conditions)
    if deployment.status.HasField("collision_count"):
        status.collision_count = deployment.status.collision_count
    status.observed_generation = deployment.metadata.generation
    status.replicas = sum(rs.status.replicas for rs in sets)
    status.updated_replicas = current.status.replicas if current is not None else 0
    status.ready_replicas = sum(rs.status.ready_replicas for rs in sets)
    status.available_replicas = sum(rs.status.available_replicas for rs in sets)
    status.unavailable_replicas = max(0, sum(rs.spec.replicas for rs in sets) - status.available_replicas)
    return status


def _set_available(status: DeploymentStatus, least: int, now: datetime.datetime) -> None:
    enough = status.available_replicas >= least
    set_condition(
        status.conditions,
        AVAILABLE,
        TRUE if enough else FALSE,
        now=now,
        reason="MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        message=f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        stamp_update=True,
    )


def _set_replica_failure(status: DeploymentStatus, current: ReplicaSet | None, old: Sequence[ReplicaSet]) -> None:
    failures = (
        get_condition(rs.status.conditions, REPLICA_FAILURE)
        for rs in ([current] if current is not None else []) + list(old)
    )
    failure = next((f for f in failures if f is not None and f.status == TRUE), None)
    remove_condition(status.conditions, REPLICA_FAILURE)
    if failure is not None:
        status.conditions.append(failure)


def _set_paused(status: DeploymentStatus, deployment: Deployment, now: datetime.datetime) -> None:
    before = get_condition(status.conditions, PROGRESSING)
    # A rollout that is overdue stays so while paused: the reader still wants to know.
    if before is None or before.reason not in (PAUSED, TIMED_OUT):
        _tell(status, UNKNOWN, PAUSED, "Deployment is paused", now)


def _set_progressing(
    status: DeploymentStatus, deployment: Deployment, current: ReplicaSet | None, now: datetime.datetime
) -> float | None:
    before = get_condition(deployment.status.conditions, PROGRESSING)
    subject = f'ReplicaSet "{current.metadata.name}"' if current is not None else f'"{deployment.metadata.name}"'
    deadline = _deadline(deployment)
    if is_complete(deployment, status):
        if before is None or before.reason != FINISHED or subject not in before.message:
            _tell(status, TRUE, FINISHED, f"{subject} has successfully progressed.", now)
        return None
    if before is not None and before.reason == PAUSED:
        _tell(status, UNKNOWN, RESUMED, "Deployment is resumed", now)
        return deadline
    if _restarted(before, subject):
        _tell(status, TRUE, CREATED if current is not None else UPDATED, f"{subject} is progressing.", now)
        return deadline
    if _progressed(deployment, status):
        _tell(status, TRUE, UPDATED, f"{subject} is progressing.", now)
        return deadline
    return _judge_deadline(status, before, subject, deadline, now)


def _restarted(before: Condition | None, subject: str) -> bool:
    """Whether another rollout has begun since Progressing was last told."""
    if before is None:
        return True
    return before.reason in (CREATED, UPDATED, FINISHED, TIMED_OUT) and subject not in before.message


def _judge_deadline(
    status: DeploymentStatus,
    before: Condition | None,
    subject: str,
    deadline: float | None,
    now: datetime.datetime,
) -> float | None:
    # A complete rollout that loses a pod is not a rollout again; it is merely not as available as it was.
    if before is None or deadline is None or before.reason in (FINISHED, TIMED_OUT):
        return None
    left = deadline - seconds_since(before.last_update_time, now)
    if left > 0:
        return left
    _tell(status, FALSE, TIMED_OUT, f"{subject} has timed out progressing.", now)
    return None


def _progressed(deployment: Deployment, status: DeploymentStatus) -> bool:
    before = deployment.status
    return (
        status.updated_replicas > before.updated_replicas
        or status.replicas - status.updated_replicas < before.replicas - before.updated_replicas
        or status.ready_replicas > before.ready_replicas
        or status.available_replicas > before.available_replicas
    )


def _deadline(deployment: Deployment) -> float | None:
    seconds = deployment.spec.progress_deadline_seconds
    set_ = deployment.spec.HasField("progress_deadline_seconds") and seconds != _NO_DEADLINE
    return float(seconds) if set_ else None


def _tell(status: DeploymentStatus, value: str, reason: str, message: str, now: datetime.datetime) -> None:
    set_condition(status.conditions, PROGRESSING, value, now=now, reason=reason, message=message, stamp_update=True)
    condition = get_condition(status.conditions, PROGRESSING)
    assert condition is not None
    condition.last_update_time.CopyFrom(timestamp(now))
