"""RollingUpdate and Recreate: the target grows and the others shrink, a few at a time or all at once. Pure."""

from __future__ import annotations

from master.controllers import rollout
from master.controllers.rollout import Size
from master.controllers.strategies import inplace
from master.controllers.strategies.edits import finish, with_new_set
from master.controllers.strategies.inplace import resizable
from master.controllers.strategies.sets import RECREATE, Sets, size, sizes
from master.controllers.strategies.steps import DeploymentPlan, Progress
from podium.objects.revisions import DESIRED_REPLICAS, revision_of
from podium.v1.apps_pb2 import ReplicaSet


def plan(sets: Sets, *, old_pods_exist: bool, around: inplace.Surroundings | None = None) -> DeploymentPlan:
    """The next step.

    Args:
        sets: What there is.
        old_pods_exist: Whether pods of others are left; Recreate waits for them.
        around: Where pods run, to resize them there; None: no pod is.
    """
    # A return is no rollout: it goes on while paused.
    if (sets.deployment.spec.paused and not sets.held) or _is_resized(sets):
        return finish(sets, _resize(sets), renote=True)
    if sets.deployment.spec.strategy.type == RECREATE:
        return _recreate(sets, old_pods_exist)
    return (inplace.plan(sets, around) if around is not None else None) or _roll(sets)


def progress(sets: Sets) -> Progress:
    """How the rollout stands."""
    return Progress(complete=not sets.held and sets.is_rolled_out)


def _roll(sets: Sets) -> DeploymentPlan:
    if sets.target is None:
        if resizable(sets, sets.deployment.spec.template):
            return with_new_set(sets, 0)
        first = rollout.grow_new(Size(name="", wanted=0), sizes(sets.others), sets.limits)
        return with_new_set(sets, first)
    new = size(sets.target)
    grown = rollout.grow_new(new, sizes(sets.others), sets.limits)
    shrunk = rollout.shrink_old(size(sets.target, grown), sizes(sets.others), sets.limits)
    return finish(sets, {new.name: grown, **shrunk})


def _recreate(sets: Sets, old_pods_exist: bool) -> DeploymentPlan:
    shrunk = {rs.metadata.name: 0 for rs in sets.others if rs.spec.replicas > 0}
    if shrunk or old_pods_exist:
        return finish(sets, shrunk, resting="waits for the old pods to be gone")
    if sets.target is None:
        return with_new_set(sets, sets.desired)
    return finish(sets, {sets.target.metadata.name: sets.desired})


def _active(sets: Sets) -> list[ReplicaSet]:
    return [rs for rs in sets.all if rs.spec.replicas > 0]


def _is_resized(sets: Sets) -> bool:
    """Whether `replicas` changed since the active ReplicaSets were last sized."""
    desired = str(sets.desired)
    return any(rs.metadata.annotations.get(DESIRED_REPLICAS, desired) != desired for rs in _active(sets))


def _resize(sets: Sets) -> dict[str, int]:
    active = _active(sets)
    if len(active) <= 1:
        only = active[0] if active else sets.target or max(sets.others, key=revision_of, default=None)
        return {only.metadata.name: sets.desired} if only is not None else {}
    if _is_saturated(sets):
        return {rs.metadata.name: 0 for rs in sets.others}
    if sets.deployment.spec.strategy.type == RECREATE:
        return {}
    return rollout.proportional(sizes(active), sets.limits)


def _is_saturated(sets: Sets) -> bool:
    target, desired = sets.target, sets.desired
    return (
        target is not None
        and target.spec.replicas == desired
        and target.metadata.annotations.get(DESIRED_REPLICAS) == str(desired)
        and target.status.available_replicas == desired
    )
