"""What a Deployment says of itself: counts, conditions, and the state of its strategy. Pure.

Progressing tells a rollout's story, with Kubernetes' reasons:

    NewReplicaSetCreated ─► ReplicaSetUpdated (each step renews lastUpdateTime) ─► NewReplicaSetAvailable (done)
                                   │
                                   └── no step within progressDeadlineSeconds ─► ProgressDeadlineExceeded (False)

While paused it is Unknown (DeploymentPaused), and the deadline counts anew from DeploymentResumed; so it is while the
strategy itself waits (RolloutPaused). A rollout that was aborted or failed its analysis is False with that reason, and
condition RolledBack tells of the return.

This is also where a rollout that fails is held back: `status.aborted` names the template and what runs instead, until
the template changes. The spec is left as its owner wrote it. Written back, it would fight whoever applies it.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from master.controllers.strategies import analysis, bluegreen, canary, rolling
from master.controllers.strategies.edits import has_worked
from master.controllers.strategies.sets import Sets
from master.controllers.strategies.steps import Progress
from podium.objects.conditions import FALSE, TRUE, UNKNOWN, get_condition, remove_condition, set_condition
from podium.objects.meta import seconds_since, timestamp
from podium.objects.promotion import ABORTED, abort_of
from podium.objects.revisions import to_return_to, with_hash
from podium.v1.apps_pb2 import Deployment, DeploymentStatus, ReplicaSet
from podium.v1.meta_pb2 import Condition

AVAILABLE, PROGRESSING, REPLICA_FAILURE, ROLLED_BACK = "Available", "Progressing", "ReplicaFailure", "RolledBack"

CREATED = "NewReplicaSetCreated"
UPDATED = "ReplicaSetUpdated"
FINISHED = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
RESUMED = "DeploymentResumed"
RESTS = "RolloutPaused"

AUTOMATIC = "Automatic"

_ABORTS = (ABORTED, analysis.REASON)
_NO_DEADLINE = 2**31 - 1


def deployment_status(
    deployment: Deployment, replica_sets: Sequence[ReplicaSet], *, now: datetime.datetime
) -> tuple[DeploymentStatus, float | None]:
    """The status that these ReplicaSets make, and in how many seconds to look again at the latest.

    Args:
        deployment: With its last status.
        replica_sets: Those that it controls.
        now: Wall time.
    """
    sets = Sets.of(deployment, replica_sets)
    status = _counts(sets)
    progress = _advance(sets, status, now)
    _set_available(status, _serving(sets, status), sets.limits.least_available, now)
    _set_replica_failure(status, sets)
    if sets.held:
        _set_held(sets, status, now)
        return status, progress.again
    remove_condition(status.conditions, ROLLED_BACK)
    if deployment.spec.paused:
        # A rollout that is overdue stays so while paused: the reader still wants to know.
        if not _is_overdue(status):
            _set_paused(status, PAUSED, "Deployment is paused", now)
        return status, progress.again
    wait = _set_progressing(status, sets, progress, now)
    _roll_back_by_itself(sets, status, now)
    return status, min((w for w in (wait, progress.again) if w is not None), default=None)


def _advance(sets: Sets, status: DeploymentStatus, now: datetime.datetime) -> Progress:
    """Let the strategy take its state on, in place."""
    match sets.deployment.spec.strategy.type:
        case "BlueGreen":
            blue_green, progress = bluegreen.advance(sets, now)
            status.blue_green.CopyFrom(blue_green)
        case "Canary":
            canary_, progress = canary.advance(sets, now)
            status.canary.CopyFrom(canary_)
        case _:
            progress = rolling.progress(sets)
    return progress


def _counts(sets: Sets) -> DeploymentStatus:
    deployment, status = sets.deployment, DeploymentStatus()
    status.conditions.extend(deployment.status.conditions)
    if deployment.status.HasField("collision_count"):
        status.collision_count = deployment.status.collision_count
    status.observed_config.update(deployment.status.observed_config)
    if sets.held:
        status.aborted.CopyFrom(deployment.status.aborted)
    status.observed_generation = deployment.metadata.generation
    status.replicas = sum(rs.status.replicas for rs in sets.all)
    status.updated_replicas = sets.newest.status.replicas if sets.newest is not None else 0
    status.ready_replicas = sum(rs.status.ready_replicas for rs in sets.all)
    status.available_replicas = sum(rs.status.available_replicas for rs in sets.all)
    status.unavailable_replicas = max(0, sum(rs.spec.replicas for rs in sets.all) - status.available_replicas)
    return status


def _serving(sets: Sets, status: DeploymentStatus) -> int:
    """Available replicas that count: of the active revision alone where there is one."""
    active = with_hash(status.blue_green.active_hash, sets.all)
    return active.status.available_replicas if active is not None else status.available_replicas


def _set_available(status: DeploymentStatus, serving: int, least: int, now: datetime.datetime) -> None:
    enough = serving >= least
    set_condition(
        status.conditions,
        AVAILABLE,
        TRUE if enough else FALSE,
        now=now,
        reason="MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        message=f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        stamp_update=True,
    )


def _set_replica_failure(status: DeploymentStatus, sets: Sets) -> None:
    failures = (get_condition(rs.status.conditions, REPLICA_FAILURE) for rs in reversed(sets.all))
    failure = next((f for f in failures if f is not None and f.status == TRUE), None)
    remove_condition(status.conditions, REPLICA_FAILURE)
    if failure is not None:
        status.conditions.append(failure)


def _set_paused(status: DeploymentStatus, reason: str, message: str, now: datetime.datetime) -> None:
    before = get_condition(status.conditions, PROGRESSING)
    if before is None or (before.reason, before.message) != (reason, message):
        _tell(status, UNKNOWN, reason, message, now)


def _is_overdue(status: DeploymentStatus) -> bool:
    told = get_condition(status.conditions, PROGRESSING)
    return told is not None and told.reason == TIMED_OUT


def _set_held(sets: Sets, status: DeploymentStatus, now: datetime.datetime) -> None:
    aborted = status.aborted
    back = f"returned to revision {aborted.returned_to_revision}"
    set_condition(
        status.conditions, PROGRESSING, FALSE, now=now, reason=aborted.reason, stamp_update=True,
        message=f"{aborted.message}; {back}, and revision {aborted.revision} is held back until the spec changes",
    )  # fmt: skip
    done = sets.is_rolled_out or has_worked(sets)
    set_condition(
        status.conditions, ROLLED_BACK, TRUE if done else FALSE, now=now, reason=aborted.reason, stamp_update=True,
        message=f"revision {aborted.returned_to_revision} {'runs' if done else 'is yet to have all its replicas'}",
    )  # fmt: skip


def _roll_back_by_itself(sets: Sets, status: DeploymentStatus, now: datetime.datetime) -> None:
    """Hold a rollout back that has just failed, where that is wished and there is something to return to."""
    deployment = sets.deployment
    told = get_condition(status.conditions, PROGRESSING)
    if deployment.spec.strategy.rollback.on_failure != AUTOMATIC or sets.newest is None:
        return
    if told is None or told.status != FALSE or told.reason not in (TIMED_OUT, analysis.REASON):
        return
    good = to_return_to(deployment, sets.all)
    if good is not None:
        status.aborted.CopyFrom(
            abort_of(sets.newest, good, reason=told.reason, message=told.message.rstrip("."), now=now)
        )


def _set_progressing(status: DeploymentStatus, sets: Sets, progress: Progress, now: datetime.datetime) -> float | None:
    deployment = sets.deployment
    before = get_condition(deployment.status.conditions, PROGRESSING)
    subject = (
        f'ReplicaSet "{sets.newest.metadata.name}"' if sets.newest is not None else f'"{deployment.metadata.name}"'
    )
    if progress.complete and _is_observed(sets, status):
        if before is None or before.reason != FINISHED or subject not in before.message:
            _tell(status, TRUE, FINISHED, f"{subject} has successfully progressed.", now)
        return None
    if progress.failed is not None:
        set_condition(
            status.conditions, PROGRESSING, FALSE, now=now, reason=progress.failed.reason,
            message=f"{subject}: {progress.failed.message}", stamp_update=True,
        )  # fmt: skip
        return None
    if progress.rests:
        _set_paused(status, RESTS, f"{subject}: {progress.rests}", now)
        return None
    return _set_under_way(status, sets, before, subject, now)


def _is_observed(sets: Sets, status: DeploymentStatus) -> bool:
    return status.observed_generation >= sets.deployment.metadata.generation


def _set_under_way(
    status: DeploymentStatus, sets: Sets, before: Condition | None, subject: str, now: datetime.datetime
) -> float | None:
    deployment, deadline = sets.deployment, _deadline(sets.deployment)
    if before is not None and before.reason == FINISHED and subject in before.message:
        return None  # it is only being scaled, or has lost a pod; that is no rollout, and must not fail as one
    if before is not None and before.reason == PAUSED:
        _tell(status, UNKNOWN, RESUMED, "Deployment is resumed", now)
        return deadline
    if _restarted(before, subject):
        _tell(status, TRUE, CREATED if sets.newest is not None else UPDATED, f"{subject} is progressing.", now)
        return deadline
    if _progressed(deployment, status) or (before is not None and before.reason in (RESTS, *_ABORTS)):
        _tell(status, TRUE, UPDATED, f"{subject} is progressing.", now)
        return deadline
    return _judge_deadline(status, before, subject, deadline, now)


def _restarted(before: Condition | None, subject: str) -> bool:
    """Whether another rollout has begun since Progressing was last told."""
    if before is None:
        return True
    return before.reason in (CREATED, UPDATED, FINISHED, TIMED_OUT, RESTS, *_ABORTS) and subject not in before.message


def _judge_deadline(
    status: DeploymentStatus,
    before: Condition | None,
    subject: str,
    deadline: float | None,
    now: datetime.datetime,
) -> float | None:
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
