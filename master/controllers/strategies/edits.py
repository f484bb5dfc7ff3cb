"""From sizes to writes: new ReplicaSets, edits with their annotations, revisions that history drops. Pure.

Each edit carries the annotations with it, so that a step is one write a ReplicaSet and one batch in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from master.controllers.rollout import Limits
from master.controllers.strategies.sets import BLUE_GREEN, Sets
from master.controllers.strategies.steps import CreateSet, DeploymentPlan, DropSet, EditSet, Step
from podium.objects.meta import is_terminating
from podium.objects.owners import owner_reference
from podium.objects.revisions import (
    CHANGED_BY,
    DESIRED_REPLICAS,
    FAILED,
    MAX_REPLICAS,
    REVISION,
    ROLE,
    SUCCEEDED,
    hash_of,
    revision_of,
)
from podium.objects.template import HASH_LABEL, template_hash
from podium.v1.apps_pb2 import Deployment, ReplicaSet

DEFAULT_HISTORY = 10

_NO_ROLES: Mapping[str, str] = {}
_NOT_COPIED = frozenset(
    {
        REVISION,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
        SUCCEEDED,
        FAILED,
        CHANGED_BY,
        "kubectl.kubernetes.io/last-applied-configuration",
    }
)


def with_new_set(sets: Sets, replicas: int, role: str = "") -> DeploymentPlan:
    """Make the ReplicaSet of the newest template."""
    revision = _next_revision(sets)
    made = new_replica_set(sets.deployment, replicas, revision, sets.limits, role)
    return DeploymentPlan(
        steps=(CreateSet(replica_set=made),),
        revision=revision,
        because=f"begins revision {revision} with {made.metadata.name} at {replicas}",
    )


def new_replica_set(deployment: Deployment, replicas: int, revision: int, limits: Limits, role: str = "") -> ReplicaSet:
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
    if role:
        made.metadata.labels[ROLE] = role
    made.spec.replicas = replicas
    made.spec.min_ready_seconds = deployment.spec.min_ready_seconds
    made.metadata.annotations.update(_revision_annotations(deployment, revision))
    made.metadata.annotations.update(_size_annotations(limits))
    return made


def finish(
    sets: Sets,
    wanted: Mapping[str, int],
    *,
    renote: bool = False,
    resting: str = "",
    roles: Mapping[str, str] = _NO_ROLES,
) -> DeploymentPlan:
    """Turn sizes into edits, number the newest template, and clean up when there is nothing else to do.

    Args:
        sets: What there is.
        wanted: Sizes by name, of those that change.
        renote: Also write down anew for how many replicas the active ones were sized.
        resting: The sentence for when there is nothing to do.
        roles: By name, of those that have one.
    """
    edits = [edit for rs in sets.all if (edit := _edit(sets, rs, wanted, renote, roles)) is not None]
    revision = _revision_now(sets)
    if edits:
        return DeploymentPlan(steps=edits, revision=revision, because="; ".join(map(_sentence, edits)))
    surplus = _surplus_history(sets) if has_worked(sets) or sets.deployment.spec.paused else []
    drops: list[Step] = [DropSet(replica_set=rs) for rs in surplus]
    return DeploymentPlan(
        steps=drops,
        revision=revision,
        because=f"drops {len(surplus)} old revisions" if surplus else resting or _resting(sets),
    )


def has_worked(sets: Sets) -> bool:
    """Whether the target proves itself now: it serves, with every replica available."""
    if sets.deployment.spec.strategy.type != BLUE_GREEN:
        return sets.is_rolled_out
    serving = sets.deployment.status.blue_green.active_hash
    target = sets.target
    return target is not None and hash_of(target) == serving and sets.is_wholly_available(target, sets.desired)


def _next_revision(sets: Sets) -> int:
    return max((revision_of(rs) for rs in sets.others), default=0) + 1


def _revision_now(sets: Sets) -> int:
    if sets.held:
        return revision_of(sets.newest) if sets.newest is not None else 0
    return max(revision_of(sets.target), _next_revision(sets)) if sets.target is not None else 0


def _edit(
    sets: Sets, rs: ReplicaSet, wanted: Mapping[str, int], renote: bool, roles: Mapping[str, str]
) -> EditSet | None:
    size = wanted.get(rs.metadata.name, rs.spec.replicas)
    annotations: dict[str, str] = {}
    min_ready = rs.spec.min_ready_seconds
    if rs is sets.target:
        min_ready = sets.deployment.spec.min_ready_seconds
        annotations |= _annotations_of_target(sets, rs)
    elif sets.held and rs is sets.newest:
        aborted = sets.deployment.status.aborted
        annotations[FAILED] = f"{aborted.reason}: {aborted.message}"
    if size != rs.spec.replicas or (renote and rs.spec.replicas > 0):
        annotations |= _size_annotations(sets.limits)
    changed = {k: v for k, v in annotations.items() if rs.metadata.annotations.get(k, "") != v}
    role = roles.get(rs.metadata.name, "")
    recast = role != rs.metadata.labels.get(ROLE, "")
    if size == rs.spec.replicas and not changed and not recast and min_ready == rs.spec.min_ready_seconds:
        return None
    return EditSet(
        replica_set=rs,
        replicas=size if size != rs.spec.replicas else None,
        role=role if recast else None,
        annotations=changed,
        min_ready_seconds=min_ready,
    )


def _annotations_of_target(sets: Sets, target: ReplicaSet) -> dict[str, str]:
    annotations: dict[str, str] = {}
    if not sets.held:
        annotations = {k: v for k, v in sets.deployment.metadata.annotations.items() if k not in _NOT_COPIED}
        annotations[FAILED] = ""
        if revision_of(target) < _next_revision(sets):
            annotations |= _revision_annotations(sets.deployment, _next_revision(sets))
    if has_worked(sets) and sets.desired > 0:
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


def _surplus_history(sets: Sets) -> Sequence[ReplicaSet]:
    spec = sets.deployment.spec
    keep = spec.revision_history_limit if spec.HasField("revision_history_limit") else DEFAULT_HISTORY
    needed = _needed(sets.deployment)
    idle = [rs for rs in sets.others if _is_idle(rs) and rs is not sets.newest and hash_of(rs) not in needed]
    return sorted(idle, key=revision_of)[: max(0, len(sets.others) - keep)]


def _needed(deployment: Deployment) -> set[str]:
    """Hashes that a rollout under way may return to; only what its own strategy says of them counts."""
    status, type_ = deployment.status, deployment.spec.strategy.type
    if type_ == BLUE_GREEN:
        return {status.blue_green.active_hash, status.blue_green.previous_hash}
    return {status.canary.stable_hash}


def _is_idle(rs: ReplicaSet) -> bool:
    observed = rs.status.observed_generation >= rs.metadata.generation
    return observed and not rs.spec.replicas and not rs.status.replicas and not is_terminating(rs)


def _resting(sets: Sets) -> str:
    if sets.deployment.spec.paused:
        return "is paused"
    return "is rolled out" if has_worked(sets) else "waits for pods to become available"


def _sentence(edit: EditSet) -> str:
    name = edit.replica_set.metadata.name
    if edit.replicas is None:
        return f"notes on {name}"
    return f"scales {name} from {edit.replica_set.spec.replicas} to {edit.replicas}"
