"""Canary: a share of the replicas moves to the new revision step by step, and waits, is judged, or goes back. Pure.

    begin ─► setWeight ─► pause ─► analysis ─► … ─► everything moves ─► the new revision is the stable one

State is `status.canary`: the step under way and since when, the exact weight, and what was measured. A template that
changes again begins anew, and what was half moved goes back to the stable revision meanwhile.

Services lead exactly as many new connections to the new revision as the weight says, once it is reached: once the
replicas for it are there. These are rounded to the nearest whole one (halves up), but at least one replica for any
weight, and at least one less than all below 100. One replica alone can't be shared: both revisions get one where
maxSurge allows a second, and else the new one waits for weight 100. A first revision, and a return to the stable one,
take no steps.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable

from master.controllers import rollout
from master.controllers.rollout import Limits
from master.controllers.strategies import analysis
from master.controllers.strategies.edits import finish, with_new_set
from master.controllers.strategies.sets import Sets, roles_by_name, sizes
from master.controllers.strategies.steps import DeploymentPlan, Failure, Progress
from podium.objects.duration import seconds
from podium.objects.meta import micro_timestamp, seconds_since
from podium.objects.revisions import hash_of, revision_of
from podium.objects.steps import PAUSE, SET_WEIGHT, kind_of_step, step_text
from podium.v1.apps_pb2 import CanaryStatus, CanaryStep, ReplicaSet

STABLE_ROLE, CANARY_ROLE = "stable", "canary"


def share(weight: int, limits: Limits) -> tuple[int, int]:
    """How many replicas a weight makes: of the new revision, and of the stable one."""
    desired = limits.desired
    if weight <= 0:
        return 0, desired
    if weight >= 100 or desired == 0:
        return desired, 0
    if desired == 1:
        return (1, 1) if limits.surge > 0 else (0, 1)
    new = min(max(1, (2 * weight * desired + 100) // 200), desired - 1)
    return new, desired - new


def plan(sets: Sets) -> DeploymentPlan:
    """The next sizes: on the way to what the weight says."""
    stable = _stable(sets)
    if sets.target is None and not sets.deployment.spec.paused:
        # Beside a stable revision it begins with nothing: the first step says how much.
        if stable is not None:
            return with_new_set(sets, 0, CANARY_ROLE)
        return with_new_set(sets, _first(sets), STABLE_ROLE)
    goals = _goals(sets, stable)
    ordered = sorted(sets.all, key=lambda rs: rs is sets.target or rs is stable)
    wanted = rollout.toward(sizes(ordered), goals, sets.limits)
    resting = f"is at weight {sets.deployment.status.canary.weight}%" if _is_under_way(sets) else ""
    return finish(sets, wanted, renote=True, resting=resting, roles=_roles(sets, stable))


def advance(sets: Sets, now: datetime.datetime) -> tuple[CanaryStatus, Progress]:
    """The state that follows from what is observed, and how the rollout stands."""
    stable, target = _stable(sets), sets.target
    if target is None:
        return sets.deployment.status.canary, Progress(complete=False)
    if stable is None or stable is target:
        return _without_steps(sets, stable)
    if sets.deployment.spec.paused:
        return sets.deployment.status.canary, Progress(complete=False)
    state = _begun(sets, stable, target, now)
    progress = _walk(sets, state, now)
    state.weight = _weight(sets, state)
    if _is_over(sets, state) and sets.is_rolled_out:
        return _settled(target), Progress(complete=True)
    return state, progress


def _without_steps(sets: Sets, stable: ReplicaSet | None) -> tuple[CanaryStatus, Progress]:
    complete = not sets.held and sets.is_rolled_out
    proven = sets.target if stable is not None or sets.is_rolled_out else None
    return _settled(proven) if proven is not None else CanaryStatus(), Progress(complete=complete)


def _settled(stable: ReplicaSet) -> CanaryStatus:
    return CanaryStatus(stable_hash=hash_of(stable), stable_revision=revision_of(stable))


def _begun(sets: Sets, stable: ReplicaSet, target: ReplicaSet, now: datetime.datetime) -> CanaryStatus:
    state = CanaryStatus()
    state.CopyFrom(sets.deployment.status.canary)
    if state.canary_hash != hash_of(target):
        state.Clear()
        state.step_started_time.CopyFrom(micro_timestamp(now))
    state.stable_hash, state.stable_revision = hash_of(stable), revision_of(stable)
    state.canary_hash, state.canary_revision = hash_of(target), revision_of(target)
    return state


# ---------------------------------------------------------------- steps


def _walk(sets: Sets, state: CanaryStatus, now: datetime.datetime) -> Progress:
    """Take every step that can be taken now, in place."""
    steps = sets.deployment.spec.strategy.canary.steps
    failed = _judged_beside(sets, state, now)
    while failed is None and state.current_step_index < len(steps):
        step = steps[state.current_step_index]
        held_up = _TAKE[kind_of_step(step)](sets, state, step, now)
        if held_up is not None:
            return held_up
        state.current_step_index += 1
        state.step_started_time.CopyFrom(micro_timestamp(now))
        state.ClearField("analysis")
    return Progress(complete=False, failed=failed)


def _judged_beside(sets: Sets, state: CanaryStatus, now: datetime.datetime) -> Failure | None:
    canary = sets.deployment.spec.strategy.canary
    if not canary.HasField("analysis") or _is_over(sets, state):
        return None
    if not state.HasField("background"):
        if sets.target is not None and sets.target.status.replicas > 0:
            state.background.CopyFrom(analysis.begin(now))
        return None
    return analysis.failure(state.background)


def _take_weight(sets: Sets, state: CanaryStatus, step: CanaryStep, now: datetime.datetime) -> Progress | None:
    state.weight = step.set_weight
    new, old = share(step.set_weight, sets.limits)
    target, stable = sets.target, _stable(sets)
    reached = (
        target is not None
        and stable is not None
        and target.spec.replicas == new
        and stable.spec.replicas == old
        and Sets.is_wholly_available(target, new)
        and not any(rs.spec.replicas for rs in sets.others if rs is not stable)
    )
    if not reached:
        return Progress(complete=False)
    state.reached_weight = step.set_weight
    return None


def _take_pause(sets: Sets, state: CanaryStatus, step: CanaryStep, now: datetime.datetime) -> Progress | None:
    where = f"{step_text(step)} at step {state.current_step_index + 1} of {_count(sets)}"
    if not step.pause.duration:
        name = sets.deployment.metadata.name
        return Progress(complete=False, rests=f"{where}: `podium rollout promote deployment/{name}` goes on")
    left = seconds(step.pause.duration) - seconds_since(state.step_started_time, now)
    return Progress(complete=False, rests=where, again=left) if left > 0 else None


def _take_analysis(sets: Sets, state: CanaryStatus, step: CanaryStep, now: datetime.datetime) -> Progress | None:
    if not state.HasField("analysis"):
        state.analysis.CopyFrom(analysis.begin(now))
    failed = analysis.failure(state.analysis)
    if failed is not None:
        return Progress(complete=False, failed=failed)
    if state.analysis.phase == analysis.PASSED:
        return None
    return Progress(complete=False, rests=f"{step_text(step)} at step {state.current_step_index + 1} of {_count(sets)}")


_TAKE: dict[str, Callable[[Sets, CanaryStatus, CanaryStep, datetime.datetime], Progress | None]] = {
    SET_WEIGHT: _take_weight,
    PAUSE: _take_pause,
    "analysis": _take_analysis,
}


def _count(sets: Sets) -> int:
    return len(sets.deployment.spec.strategy.canary.steps)


def _is_over(sets: Sets, state: CanaryStatus) -> bool:
    return state.current_step_index >= _count(sets)


def _weight(sets: Sets, state: CanaryStatus) -> int:
    return 100 if _is_over(sets, state) else state.weight


# ---------------------------------------------------------------- sizes


def _stable(sets: Sets) -> ReplicaSet | None:
    return sets.proven(sets.deployment.status.canary.stable_hash)


def _is_under_way(sets: Sets) -> bool:
    state = sets.deployment.status.canary
    return sets.target is not None and state.canary_hash == hash_of(sets.target)


def _goals(sets: Sets, stable: ReplicaSet | None) -> dict[str, int]:
    target = sets.target
    if target is None or stable is None or stable is target:
        only = stable or target or max(sets.others, key=revision_of, default=None)
        return {only.metadata.name: sets.desired} if only is not None else {}
    # What has not begun yet has no weight: the state is written first.
    weight = sets.deployment.status.canary.weight if _is_under_way(sets) else 0
    new, old = share(weight, sets.limits)
    return {target.metadata.name: new, stable.metadata.name: old}


def _first(sets: Sets) -> int:
    return max(0, min(sets.desired, sets.limits.most - sum(rs.spec.replicas for rs in sets.others)))


def _roles(sets: Sets, stable: ReplicaSet | None) -> dict[str, str]:
    by_hash = {hash_of(sets.target): CANARY_ROLE} if sets.target is not None else {}
    serving = stable or sets.target
    if serving is not None:
        by_hash[hash_of(serving)] = STABLE_ROLE
    return roles_by_name(sets, by_hash)
