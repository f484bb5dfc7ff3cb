"""What a user can say to a rollout under way: go on, go back, try again. Pure changes of a Deployment's status.

The status is where a rollout's state lives, so what is said here is as durable as a step that the controller takes.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from podium.errors import Conflict
from podium.objects.conditions import remove_condition
from podium.objects.meta import micro_timestamp
from podium.objects.revisions import current_of, hash_of, is_held, revision_of, to_return_to
from podium.objects.steps import SET_WEIGHT, kind_of_step, step_text
from podium.v1.apps_pb2 import Deployment, ReplicaSet, RolloutAbort

ABORTED = "RolloutAborted"


def abort_of(
    failed: ReplicaSet, good: ReplicaSet, *, reason: str, message: str, now: datetime.datetime
) -> RolloutAbort:
    """What is written down when a revision is given up for another."""
    return RolloutAbort(
        hash=hash_of(failed),
        revision=revision_of(failed),
        reason=reason,
        message=message,
        time=micro_timestamp(now),
        returned_to_hash=hash_of(good),
        returned_to_revision=revision_of(good),
    )


def promote(deployment: Deployment, replica_sets: Sequence[ReplicaSet], *, full: bool, now: datetime.datetime) -> None:
    """Let a rollout that waits go on, in place.

    Raises:
        Conflict: Nothing waits.
    """
    name = deployment.metadata.name
    if is_held(deployment, replica_sets):
        raise Conflict(
            f'revision {deployment.status.aborted.revision} of deployment "{name}" is held back: '
            f"`podium rollout retry deployment/{name}` tries it again"
        )
    current = current_of(deployment, replica_sets)
    newest = hash_of(current) if current is not None else ""
    state = deployment.status
    if deployment.spec.strategy.type == "BlueGreen" and newest and state.blue_green.preview_hash == newest:
        state.blue_green.promoted = True
    elif deployment.spec.strategy.type == "Canary" and newest and state.canary.canary_hash == newest:
        _promote_canary(deployment, full=full, now=now)
    else:
        raise Conflict(f'deployment "{name}" has nothing to promote: no revision waits beside the one that serves')


def _promote_canary(deployment: Deployment, *, full: bool, now: datetime.datetime) -> None:
    state, steps = deployment.status.canary, deployment.spec.strategy.canary.steps
    name, index = deployment.metadata.name, state.current_step_index
    if index >= len(steps):
        raise Conflict(f'deployment "{name}" has nothing to promote: all its steps are done')
    if not full and kind_of_step(steps[index]) == SET_WEIGHT:
        raise Conflict(
            f'deployment "{name}" is at step {index + 1} of {len(steps)}, {step_text(steps[index])}, '
            "which waits for pods and not for you: --full skips all steps"
        )
    state.current_step_index = len(steps) if full else index + 1
    state.step_started_time.CopyFrom(micro_timestamp(now))
    state.ClearField("analysis")
    if state.background.phase == "Failed":
        state.ClearField("background")  # whoever promotes in spite of it has it judged anew


def abort(deployment: Deployment, replica_sets: Sequence[ReplicaSet], *, user: str, now: datetime.datetime) -> None:
    """Return to the last revision that worked, in place.

    Raises:
        Conflict: No rollout is under way, or there is nothing to return to.
    """
    name, current = deployment.metadata.name, current_of(deployment, replica_sets)
    if is_held(deployment, replica_sets):
        return
    if current is None or _is_done(deployment, current, replica_sets):
        raise Conflict(
            f'deployment "{name}" has no rollout to abort: `podium rollout undo deployment/{name}` returns from one '
            "that is done"
        )
    good = to_return_to(deployment, replica_sets)
    if good is None:
        raise Conflict(f'deployment "{name}" has no revision to return to: none has worked yet')
    deployment.status.aborted.CopyFrom(abort_of(current, good, reason=ABORTED, message=f"aborted by {user}", now=now))


def _is_done(deployment: Deployment, current: ReplicaSet, replica_sets: Sequence[ReplicaSet]) -> bool:
    status, newest = deployment.status, hash_of(current)
    match deployment.spec.strategy.type:
        case "BlueGreen":
            return status.blue_green.active_hash == newest
        case "Canary":
            return status.canary.stable_hash == newest
        case _:
            alone = not any(rs.status.replicas for rs in replica_sets if rs is not current)
            return alone and current.status.available_replicas >= deployment.spec.replicas


def retry(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> None:
    """Try the newest template again from the beginning, in place.

    Raises:
        Conflict: It is neither held back nor failed.
    """
    status = deployment.status
    judged = (status.canary.analysis, status.canary.background, status.blue_green.analysis)
    if not is_held(deployment, replica_sets) and not any(a.phase == "Failed" for a in judged):
        name = deployment.metadata.name
        raise Conflict(f'deployment "{name}" has nothing to try again: its rollout was not aborted and has not failed')
    status.ClearField("aborted")
    # Without them the strategy begins anew, and the progress deadline with it.
    status.canary.canary_hash = status.blue_green.preview_hash = ""
    remove_condition(status.conditions, "Progressing")
