"""Revisions of a Deployment: each is a ReplicaSet, numbered by an annotation; the newest template has the highest.

Shared by the controller that makes them, the API that tells their history, and the command that shows it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podium.objects.template import HASH_LABEL, same_template
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


def previous_of(current: ReplicaSet | None, replica_sets: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """The revision before the current one."""
    others = [rs for rs in replica_sets if current is None or rs.metadata.uid != current.metadata.uid]
    return max(others, key=revision_of, default=None)


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
