"""The next step of a Deployment, decided: which ReplicaSet to make, which to resize, which to forget. Pure.

One call decides the whole step: sizes come from `rollout`, and each edit of a ReplicaSet carries its annotations with
it, so that a step is one write a ReplicaSet and one batch in all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from master.controllers import rollout
from master.controllers.rollout import Limits, Size
from podium.objects.meta import is_terminating
from podium.objects.owners import owner_reference
from podium.objects.revisions import (
    CHANGED_BY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    REVISION,
    SUCCEEDED,
    by_age,
    current_of,
    revision_of,
)
from podium.objects.template import HASH_LABEL, template_hash
from podium.v1.apps_pb2 import Deployment, ReplicaSet

RECREATE = "Recreate"
DEFAULT_HISTORY = 10

_NOT_COPIED = frozenset(
    {
        REVISION,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
        SUCCEEDED,
        CHANGED_BY,
        "kubectl.kubernetes.io/last-applied-configuration",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSet:
    """Make the ReplicaSet of the newest template."""

    replica_set: ReplicaSet


@dataclass(frozen=True, slots=True, kw_only=True)
class EditSet:
    """Change a ReplicaSet: its size if not None, these annotations, and minReadySeconds."""

    replica_set: ReplicaSet
    replicas: int | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    min_ready_seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSet:
    """Delete a ReplicaSet that history no longer needs."""

    replica_set: ReplicaSet


Step = CreateSet | EditSet | DropSet


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentPlan:
    """The next step of a Deployment. `revision`: the number of its newest template; 0 when that has no ReplicaSet."""

    steps: Sequence[Step] = ()
    revision: int = 0
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sets:
    """A Deployment with its ReplicaSets told apart; `old` is by age."""

    deployment: Deployment
    current: ReplicaSet | None
    old: Sequence[ReplicaSet]
    limits: Limits

    @property
    def all(self) -> list[ReplicaSet]:
        return [*self.old, *([self.current] if self.current is not None else [])]

    @property
    def active(self) -> list[ReplicaSet]:
        return [rs for rs in self.all if rs.spec.replicas > 0]


def limits_of(deployment: Deployment) -> Limits:
    """What a rollout of this Deployment may do."""
    desired = deployment.spec.replicas
    if deployment.spec.strategy.type == RECREATE:
        return Limits(desired=desired, surge=0, unavailable=0)
    rolling = deployment.spec.strategy.rolling_update
    return rollout.resolve(rolling.max_surge, rolling.max_unavailable, desired)


def plan_deployment(
    deployment: Deployment, replica_sets: Sequence[ReplicaSet], *, old_pods_exist: bool = False
) -> DeploymentPlan:
    """Decide the next step.

    Args:
        deployment: What is asked for, defaults filled in.
        replica_sets: Those that it controls.
        old_pods_exist: Whether pods of other templates are left, terminating ones included; Recreate waits for them.
    """
    current = current_of(deployment, replica_sets)
    old = by_age(rs for rs in replica_sets if rs is not current)
    sets = _Sets(deployment=deployment, current=current, old=old, limits=limits_of(deployment))
    if is_terminating(deployment):
        return DeploymentPlan(because="is being deleted")
    if deployment.spec.paused or _is_resized(sets):
        return _finish(sets, _resize(sets), resized=True)
    if deployment.spec.strategy.type == RECREATE:
        return _recreate(sets, old_pods_exist)
    return _roll(sets)


def _roll(sets: _Sets) -> DeploymentPlan:
    if sets.current is None:
        first = rollout.grow_new(Size(name="", wanted=0), _sizes(sets.old), sets.limits)
        return _with_new_set(sets, first)
    new = _size(sets.current)
    grown = rollout.grow_new(new, _sizes(sets.old), sets.limits)
    shrunk = rollout.shrink_old(_size(sets.current, grown), _sizes(sets.old), sets.limits)
    return _finish(sets, {new.name: grown, **shrunk})


def _recreate(sets: _Sets, old_pods_exist: bool) -> DeploymentPlan:
    shrunk = {rs.metadata.name: 0 for rs in sets.old if rs.spec.replicas > 0}
    if shrunk or old_pods_exist:
        plan = _finish(sets, shrunk)
        waiting = DeploymentPlan(revision=plan.revision, because="waits for the old pods to be gone")
        return plan if plan.steps else waiting
    if sets.current is None:
        return _with_new_set(sets, sets.limits.desired)
    return _finish(sets, {sets.current.metadata.name: sets.limits.desired})


def _is_resized(sets: _Sets) -> bool:
    """Whether `replicas` changed since the active ReplicaSets were last sized."""
    desired = str(sets.limits.desired)
    return any(rs.metadata.annotations.get(DESIRED_REPLICAS, desired) != desired for rs in sets.active)


def _resize(sets: _Sets) -> dict[str, int]:
    active = sets.active
    if len(active) <= 1:
        only = active[0] if active else sets.current or max(sets.old, key=revision_of, default=None)
        return {only.metadata.name: sets.limits.desired} if only is not None else {}
    if _is_saturated(sets):
        return {rs.metadata.name: 0 for rs in sets.old}
    if sets.deployment.spec.strategy.type == RECREATE:
        return {}
    return rollout.proportional(_sizes(active), sets.limits)


def _is_saturated(sets: _Sets) -> bool:
    current, desired = sets.current, sets.limits.desired
    return (
        current is not None
        and current.spec.replicas == desired
        and current.metadata.annotations.get(DESIRED_REPLICAS) == str(desired)
        and current.status.available_replicas == desired
    )


def _with_new_set(sets: _Sets, replicas: int) -> DeploymentPlan:
    revision = _next_revision(sets)
    made = new_replica_set(sets.deployment, replicas, revision, sets.limits)
    return DeploymentPlan(
        steps=(CreateSet(replica_set=made),),
        revision=revision,
        because=f"begins revision {revision} with {made.metadata.name} at {replicas}",
    )


def _next_revision(sets: _Sets) -> int:
    return max((revision_of(rs) for rs in sets.old), default=0) + 1


def new_replica_set(deployment: Deployment, replicas: int, revision: int, limits: Limits) -> ReplicaSet:
    """The ReplicaSet of the Deployment's template."""
    digest = template_hash(deployment.spec.template, deployment.status.collision_count)
    made = ReplicaSet()
    made.metadata.namespace = deployment.metadata.namespace
    made.metadata.name = f"{deployment.metadata.name}-{digest}"
    made.metadata.owner_references.append(owner_reference(deployment))
    made.spec.selector.CopyFrom(deployment.spec.selector)
    made.spec.selector.match_labels[HASH_LABEL] = digest
    made.spec.template.CopyFrom(deployment.spec.template)
    made.spec.template.metadata.labels[HASH_LABEL] = digest
    made.metadata.labels.update(made.spec.template.metadata.labels)
    made.spec.replicas = replicas
    made.spec.min_ready_seconds = deployment.spec.min_ready_seconds
    made.metadata.annotations.update(_revision_annotations(deployment, revision))
    made.metadata.annotations.update(_size_annotations(limits))
    return made


def _finish(sets: _Sets, wanted: Mapping[str, int], *, resized: bool = False) -> DeploymentPlan:
    """Turn sizes into edits, number the newest template, and clean up when there is nothing else to do."""
    edits = [edit for rs in sets.all if (edit := _edit(sets, rs, wanted, resized)) is not None]
    revision = _revision_now(sets)
    if edits:
        return DeploymentPlan(steps=edits, revision=revision, because="; ".join(map(_sentence, edits)))
    surplus = _surplus_history(sets) if _is_rolled_out(sets) or sets.deployment.spec.paused else []
    return DeploymentPlan(
        steps=[DropSet(replica_set=rs) for rs in surplus],
        revision=revision,
        because=f"drops {len(surplus)} old revisions" if surplus else _resting(sets),
    )


def _edit(sets: _Sets, rs: ReplicaSet, wanted: Mapping[str, int], resized: bool) -> EditSet | None:
    size = wanted.get(rs.metadata.name, rs.spec.replicas)
    annotations: dict[str, str] = {}
    min_ready = rs.spec.min_ready_seconds
    if rs is sets.current:
        min_ready = sets.deployment.spec.min_ready_seconds
        annotations |= _annotations_of_current(sets, rs)
    if size != rs.spec.replicas or (resized and rs.spec.replicas > 0):
        annotations |= _size_annotations(sets.limits)
    changed = {k: v for k, v in annotations.items() if rs.metadata.annotations.get(k) != v}
    if size == rs.spec.replicas and not changed and min_ready == rs.spec.min_ready_seconds:
        return None
    return EditSet(
        replica_set=rs,
        replicas=size if size != rs.spec.replicas else None,
        annotations=changed,
        min_ready_seconds=min_ready,
    )


def _annotations_of_current(sets: _Sets, current: ReplicaSet) -> dict[str, str]:
    annotations = {k: v for k, v in sets.deployment.metadata.annotations.items() if k not in _NOT_COPIED}
    if revision_of(current) < _next_revision(sets):
        annotations |= _revision_annotations(sets.deployment, _next_revision(sets))
    if _is_rolled_out(sets) and sets.limits.desired > 0:
        annotations[SUCCEEDED] = "true"
    return annotations


def _revision_annotations(deployment: Deployment, revision: int) -> dict[str, str]:
    annotations = {k: v for k, v in deployment.metadata.annotations.items() if k not in _NOT_COPIED}
    if author := deployment.metadata.annotations.get(CHANGED_BY):
        # Told once, when the revision begins: whoever only scales it later did not write it.
        annotations[CHANGED_BY] = author
    return annotations | {REVISION: str(revision)}


def _size_annotations(limits: Limits) -> dict[str, str]:
    return {DESIRED_REPLICAS: str(limits.desired), MAX_REPLICAS: str(limits.most)}


def _revision_now(sets: _Sets) -> int:
    return max(revision_of(sets.current), _next_revision(sets)) if sets.current is not None else 0


def _is_rolled_out(sets: _Sets) -> bool:
    current, desired = sets.current, sets.limits.desired
    return (
        current is not None
        and current.spec.replicas == desired
        and current.status.observed_generation >= current.metadata.generation
        and current.status.available_replicas >= desired
        and not any(rs.spec.replicas or rs.status.replicas for rs in sets.old)
    )


def _surplus_history(sets: _Sets) -> list[ReplicaSet]:
    spec = sets.deployment.spec
    keep = spec.revision_history_limit if spec.HasField("revision_history_limit") else DEFAULT_HISTORY
    idle = [rs for rs in sets.old if _is_idle(rs)]
    return sorted(idle, key=revision_of)[: max(0, len(sets.old) - keep)]


def _is_idle(rs: ReplicaSet) -> bool:
    observed = rs.status.observed_generation >= rs.metadata.generation
    return observed and not rs.spec.replicas and not rs.status.replicas and not is_terminating(rs)


def _resting(sets: _Sets) -> str:
    if sets.deployment.spec.paused:
        return "is paused"
    return "is rolled out" if _is_rolled_out(sets) else "waits for pods to become available"


def _sentence(edit: EditSet) -> str:
    name = edit.replica_set.metadata.name
    if edit.replicas is None:
        return f"notes on {name}"
    return f"scales {name} from {edit.replica_set.spec.replicas} to {edit.replicas}"


def _sizes(replica_sets: Iterable[ReplicaSet]) -> list[Size]:
    return [_size(rs) for rs in replica_sets]


def _size(rs: ReplicaSet, wanted: int | None = None) -> Size:
    noted = rs.metadata.annotations.get(MAX_REPLICAS, "")
    return Size(
        name=rs.metadata.name,
        wanted=rs.spec.replicas if wanted is None else wanted,
        # A set that shrank and grows again must not count what it is about to lose.
        available=min(rs.status.available_replicas, rs.spec.replicas),
        planned_most=int(noted) if noted.isdigit() else 0,
    )
