"""BlueGreen: a whole new ReplicaSet beside the one that serves; which of both serves is one field. Pure.

    new template ─► preview grows ─► wholly available ─► waits, is judged ─► promoted ─► full size ─► active
                                                                                          │
                    the one that served before is kept for scaleDownDelaySeconds ◄────────┘  an instant return

State is `status.blueGreen`. The active revision keeps every replica until the moment that another is active, and
nothing is active that has not all of its own available, but a first revision. Both together never have more than
twice the replicas: what an earlier rollout left goes when a new preview begins.
"""

from __future__ import annotations

import datetime

from master.controllers.strategies import analysis
from master.controllers.strategies.edits import finish, has_worked, with_new_set
from master.controllers.strategies.sets import Sets, roles_by_name
from master.controllers.strategies.steps import DeploymentPlan, Progress
from podium.objects.meta import micro_timestamp, seconds_since
from podium.objects.revisions import hash_of, revision_of, with_hash
from podium.v1.apps_pb2 import BlueGreenDeployment, BlueGreenStatus, ReplicaSet

ACTIVE_ROLE, PREVIEW_ROLE, PREVIOUS_ROLE = "active", "preview", "previous"

DEFAULT_DELAY = 30


def plan(sets: Sets) -> DeploymentPlan:
    """The next sizes."""
    active = _active(sets)
    if sets.target is None and not sets.deployment.spec.paused:
        first = active is None
        return with_new_set(sets, sets.desired if first else 0, ACTIVE_ROLE if first else PREVIEW_ROLE)
    return finish(sets, _wanted(sets, active), renote=True, resting=_resting(sets, active), roles=_roles(sets, active))


def advance(sets: Sets, now: datetime.datetime) -> tuple[BlueGreenStatus, Progress]:
    """The state that follows from what is observed, and how the rollout stands."""
    active, target = _active(sets), sets.target
    if target is None or (sets.deployment.spec.paused and active is not None and active is not target):
        return sets.deployment.status.blue_green, Progress(complete=False)
    if active is None or active is target:
        return _settled(sets, target, now)
    state = _begun(sets, active, target)
    progress = _judge(sets, state, now)
    if state.promoted and Sets.is_wholly_available(target, sets.desired):
        return _switched(sets, active, target, now)
    return state, progress


def preview_size(sets: Sets) -> int:
    """Replicas of a preview that is not promoted yet."""
    spec = sets.deployment.spec.strategy.blue_green
    return min(spec.preview_replicas, sets.desired) if spec.HasField("preview_replicas") else sets.desired


# ---------------------------------------------------------------- state


def _settled(sets: Sets, target: ReplicaSet, now: datetime.datetime) -> tuple[BlueGreenStatus, Progress]:
    before, state = sets.deployment.status.blue_green, BlueGreenStatus()
    state.active_hash, state.active_revision = hash_of(target), revision_of(target)
    if before.HasField("promoted_time"):
        state.promoted_time.CopyFrom(before.promoted_time)
    complete = not sets.held and has_worked(sets)
    previous = with_hash(before.previous_hash, sets.all)
    left = _delay(sets) - seconds_since(before.promoted_time, now)
    if previous is None or previous is target or left <= 0:
        return state, Progress(complete=complete)
    state.previous_hash, state.previous_revision = hash_of(previous), revision_of(previous)
    return state, Progress(complete=complete, again=left)


def _begun(sets: Sets, active: ReplicaSet, target: ReplicaSet) -> BlueGreenStatus:
    state = BlueGreenStatus()
    state.CopyFrom(sets.deployment.status.blue_green)
    if state.preview_hash != hash_of(target):
        returning = state.previous_hash == hash_of(target)
        state.Clear()
        if sets.deployment.status.blue_green.HasField("promoted_time"):
            state.promoted_time.CopyFrom(sets.deployment.status.blue_green.promoted_time)
        # What served a moment ago and is still all there needs no second look.
        state.promoted = returning and Sets.is_wholly_available(target, sets.desired)
    state.active_hash, state.active_revision = hash_of(active), revision_of(active)
    state.preview_hash, state.preview_revision = hash_of(target), revision_of(target)
    return state


def _judge(sets: Sets, state: BlueGreenStatus, now: datetime.datetime) -> Progress:
    """Note whether the preview is up, and whether it promotes itself, in place."""
    spec = sets.deployment.spec.strategy.blue_green
    if state.promoted:
        return Progress(complete=False)
    if not Sets.is_wholly_available(sets.target, preview_size(sets)):
        state.ClearField("preview_available_time")
        return Progress(complete=False)
    if not state.HasField("preview_available_time"):
        state.preview_available_time.CopyFrom(micro_timestamp(now))
    if spec.HasField("analysis") and not state.HasField("analysis"):
        state.analysis.CopyFrom(analysis.begin(now))
    if failed := analysis.failure(state.analysis):
        return Progress(complete=False, failed=failed)
    if spec.HasField("analysis") and state.analysis.phase != analysis.PASSED:
        return Progress(complete=False, rests=f"revision {state.preview_revision} is ready and being analysed")
    return _wait(sets, spec, state, now)


def _wait(sets: Sets, spec: BlueGreenDeployment, state: BlueGreenStatus, now: datetime.datetime) -> Progress:
    ready = f"revision {state.preview_revision} is ready"
    if spec.HasField("auto_promotion") and not spec.auto_promotion:
        name = sets.deployment.metadata.name
        return Progress(
            complete=False, rests=f"{ready}: `podium rollout promote deployment/{name}` makes it the active one"
        )
    left = spec.auto_promotion_seconds - seconds_since(state.preview_available_time, now)
    if left > 0:
        return Progress(complete=False, rests=f"{ready} and waits {spec.auto_promotion_seconds} s", again=left)
    state.promoted = True
    return Progress(complete=False)


def _switched(
    sets: Sets, active: ReplicaSet, target: ReplicaSet, now: datetime.datetime
) -> tuple[BlueGreenStatus, Progress]:
    state = BlueGreenStatus(active_hash=hash_of(target), active_revision=revision_of(target))
    state.promoted_time.CopyFrom(micro_timestamp(now))
    delay = _delay(sets)
    if delay <= 0:
        return state, Progress(complete=True)
    state.previous_hash, state.previous_revision = hash_of(active), revision_of(active)
    return state, Progress(complete=True, again=delay)


def _delay(sets: Sets) -> float:
    spec = sets.deployment.spec.strategy.blue_green
    return float(spec.scale_down_delay_seconds if spec.HasField("scale_down_delay_seconds") else DEFAULT_DELAY)


# ---------------------------------------------------------------- sizes


def _active(sets: Sets) -> ReplicaSet | None:
    return sets.proven(sets.deployment.status.blue_green.active_hash)


def _wanted(sets: Sets, active: ReplicaSet | None) -> dict[str, int]:
    serving = active or sets.target or max(sets.others, key=revision_of, default=None)
    if serving is None:
        return {}
    wanted = {rs.metadata.name: 0 for rs in sets.all if rs.spec.replicas > 0}
    wanted[serving.metadata.name] = sets.desired
    previous = with_hash(sets.deployment.status.blue_green.previous_hash, sets.all)
    if previous is not None and previous is not serving and previous.spec.replicas > 0:
        wanted[previous.metadata.name] = sets.desired
    if sets.target is not None and sets.target is not serving:
        wanted[sets.target.metadata.name] = _preview(sets, sets.target)
    return wanted


def _preview(sets: Sets, target: ReplicaSet) -> int:
    state = sets.deployment.status.blue_green
    if state.preview_hash != hash_of(target):
        return target.spec.replicas  # the state is written first
    return sets.desired if state.promoted else preview_size(sets)


def _resting(sets: Sets, active: ReplicaSet | None) -> str:
    if sets.target is None or active is None or active is sets.target:
        return ""
    return f"{sets.target.metadata.name} is beside {active.metadata.name}, and not promoted yet"


def _roles(sets: Sets, active: ReplicaSet | None) -> dict[str, str]:
    state, by_hash = sets.deployment.status.blue_green, dict[str, str]()
    if state.previous_hash:
        by_hash[state.previous_hash] = PREVIOUS_ROLE
    if sets.target is not None:
        by_hash[hash_of(sets.target)] = PREVIEW_ROLE
    serving = active or sets.target
    if serving is not None:
        by_hash[hash_of(serving)] = ACTIVE_ROLE
    return roles_by_name(sets, by_hash)
