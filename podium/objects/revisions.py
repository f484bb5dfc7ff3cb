"""Revisions of a Deployment: each is a ReplicaSet, numbered by an annotation; the newest template has the highest.

Shared by the controller that makes them, the API that tells their history, and the command that shows it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podium.objects.template import HASH_LABEL, same_template, template_hash
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.core_pb2 import PodTemplateSpec

REVISION = "deployment.kubernetes.io/revision"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
CHANGE_CAUSE = "kubernetes.io/change-cause"
CHANGED_BY = "podium.dev/changed-by"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
SUCCEEDED = "podium.dev/succeeded"
"""On a ReplicaSet: every replica of this revision was available once."""
FAILED = "podium.dev/failed"
"""On a ReplicaSet: why its rollout failed, when it was the last that was tried of it."""
ROLE = "podium.dev/rollout-role"
"""Label on a ReplicaSet and its pods: active, preview, previous (BlueGreen), stable, canary (Canary)."""


def revision_of(obj: Deployment | ReplicaSet) -> int:
    """The revision's number; 0 when it has none yet."""
    try:
        return int(obj.metadata.annotations.get(REVISION, "0"))
    except ValueError:
        return 0


def current_of(deployment: Deployment, replica_sets: Iterable[ReplicaSet]) -> ReplicaSet | None:
    """The ReplicaSet of the Deployment's template; the oldest if, against all odds, there are several."""
    same = [rs for rs in replica_sets if same_template(rs.spec.template, deployment.spec.template)]
    return min(same, key=_age, default=None)


def by_age(replica_sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    """Oldest first."""
    return sorted(replica_sets, key=_age)


def hash_of(replica_set: ReplicaSet) -> str:
    """Its `pod-template-hash`."""
    return str(replica_set.spec.template.metadata.labels.get(HASH_LABEL, ""))


def newest_hash(deployment: Deployment, replica_sets: Iterable[ReplicaSet]) -> str:
    """The hash of the Deployment's template, whether or not it has a ReplicaSet yet."""
    current = current_of(deployment, replica_sets)
    if current is not None:
        return hash_of(current)
    return template_hash(deployment.spec.template, deployment.status.collision_count)


def with_hash(digest: str, replica_sets: Iterable[ReplicaSet]) -> ReplicaSet | None:
    """The ReplicaSet of this hash."""
    return next((rs for rs in replica_sets if digest and hash_of(rs) == digest), None)


def worked(replica_set: ReplicaSet) -> bool:
    """Whether all replicas of this revision were available once."""
    return SUCCEEDED in replica_set.metadata.annotations


def is_held(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> bool:
    """Whether the Deployment's template is held back, and an earlier revision runs in its place."""
    aborted = deployment.status.aborted
    if not aborted.hash or with_hash(aborted.returned_to_hash, replica_sets) is None:
        return False  # what was returned to is gone: the template is tried again
    return aborted.hash == newest_hash(deployment, replica_sets)


def to_return_to(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """The revision that a rollout which has failed returns to: what serves now, or else the newest that once worked."""
    current, status = current_of(deployment, replica_sets), deployment.status
    others = [rs for rs in replica_sets if rs is not current and not rs.metadata.HasField("deletion_timestamp")]
    # What another strategy's status names is of the past.
    serving = {"BlueGreen": status.blue_green.active_hash, "Canary": status.canary.stable_hash}
    found = with_hash(serving.get(deployment.spec.strategy.type, ""), others)
    return found or max((rs for rs in others if worked(rs)), key=revision_of, default=None)


def previous_of(current: ReplicaSet | None, replica_sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """The revision before the current one; one that is known to have failed only if there is no other."""
    others = [rs for rs in replica_sets if current is None or rs.metadata.uid != current.metadata.uid]
    sound = [rs for rs in others if FAILED not in rs.metadata.annotations]
    return max(sound or others, key=revision_of, default=None)


def last_good(current: ReplicaSet | None, replica_sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """The newest other revision that once worked; if none is known to have, the revision before the current one."""
    others = [rs for rs in replica_sets if current is None or rs.metadata.uid != current.metadata.uid]
    worked = [rs for rs in others if SUCCEEDED in rs.metadata.annotations]
    return max(worked or others, key=revision_of, default=None)


def bare_template(replica_set: ReplicaSet) -> PodTemplateSpec:
    """The template as its Deployment had it: without the hash label."""
    template = PodTemplateSpec()
    template.CopyFrom(replica_set.spec.template)
    template.metadata.labels.pop(HASH_LABEL, None)
    return template


def _age(replica_set: ReplicaSet) -> tuple[int, int, str]:
    created = replica_set.metadata.creation_timestamp
    return created.seconds, created.nanos, replica_set.metadata.name
