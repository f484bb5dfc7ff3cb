"""Defaults of workloads. Selectors and labels have none in apps/v1; v1's ReplicationController takes its template's."""

from __future__ import annotations

from master.admission.defaults.pods import pod_spec
from master.admission.defaults.storage import claim_spec
from master.admission.defaults.strategies import strategy
from podium.v1.apps_pb2 import DaemonSet, Deployment, ReplicaSet, ReplicationController, StatefulSet

_REPLICAS = 1
_REVISION_HISTORY_LIMIT = 10
_PROGRESS_DEADLINE_SECONDS = 600


def replica_set(obj: ReplicaSet) -> None:
    """One replica."""
    if not obj.spec.HasField("replicas"):
        obj.spec.replicas = _REPLICAS
    pod_spec(obj.spec.template.spec)


def replication_controller(obj: ReplicationController) -> None:
    """One replica; selector and labels are those of the template."""
    labels = obj.spec.template.metadata.labels
    if not obj.spec.HasField("replicas"):
        obj.spec.replicas = _REPLICAS
    if not obj.spec.selector:
        obj.spec.selector.update(labels)
    if not obj.metadata.labels:
        obj.metadata.labels.update(labels)
    if obj.spec.HasField("template"):
        pod_spec(obj.spec.template.spec)


def deployment(obj: Deployment) -> None:
    """One replica, rolled over by quarters, ten old revisions kept, ten minutes to make progress."""
    spec = obj.spec
    if not spec.HasField("replicas"):
        spec.replicas = _REPLICAS
    if not spec.HasField("revision_history_limit"):
        spec.revision_history_limit = _REVISION_HISTORY_LIMIT
    if not spec.HasField("progress_deadline_seconds"):
        spec.progress_deadline_seconds = _PROGRESS_DEADLINE_SECONDS
    strategy(spec.strategy)
    pod_spec(spec.template.spec)


def daemon_set(obj: DaemonSet) -> None:
    """Rolled over a node at a time, ten old revisions kept."""
    spec = obj.spec
    if not spec.HasField("revision_history_limit"):
        spec.revision_history_limit = _REVISION_HISTORY_LIMIT
    if not spec.update_strategy.type:
        spec.update_strategy.type = "RollingUpdate"
    if spec.update_strategy.type == "RollingUpdate":
        rolling = spec.update_strategy.rolling_update
        if not rolling.HasField("max_unavailable"):
            rolling.max_unavailable.int_value = 1
        if not rolling.HasField("max_surge"):
            rolling.max_surge.int_value = 0
    pod_spec(spec.template.spec)


def stateful_set(obj: StatefulSet) -> None:
    """One replica, pods in order, rolled over one at a time, ten old revisions kept."""
    spec = obj.spec
    if not spec.HasField("replicas"):
        spec.replicas = _REPLICAS
    if not spec.pod_management_policy:
        spec.pod_management_policy = "OrderedReady"
    if not spec.HasField("revision_history_limit"):
        spec.revision_history_limit = _REVISION_HISTORY_LIMIT
    if not spec.update_strategy.type:
        spec.update_strategy.type = "RollingUpdate"
    rolling = spec.update_strategy.rolling_update
    if spec.update_strategy.type == "RollingUpdate" and not rolling.HasField("partition"):
        rolling.partition = 0
    for template in spec.volume_claim_templates:
        claim_spec(template.spec)
        template.ClearField("status")
    retention = spec.persistent_volume_claim_retention_policy
    for when in ("when_deleted", "when_scaled"):
        if spec.volume_claim_templates and not getattr(retention, when):
            setattr(retention, when, "Retain")
    pod_spec(spec.template.spec)
