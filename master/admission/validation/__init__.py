"""Validation: everything that is wrong with an object, each with its full path.

    validate(obj)               a new object, after defaulting
    validate(obj, old)          a change of one: also what may not change
    validate_status(obj, old)   a change of `status` only; cheap, for it is what nodes write all day

All are pure. Rules are one file an API group, and `pods`, `placement`, `containers`, `volumes` and `config` for what is
large; `walk` takes them through an object; `names` holds the syntax.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from master.admission.validation import (
    apps,
    autoscaling,
    batch,
    config,
    containers,
    core,
    ephemeral,
    ingress,
    meta,
    networking,
    nodepool,
    placement,
    pods,
    policy,
    storage,
    strategies,
    volumes,
)
from master.admission.validation.walk import Findings, Walk
from podium.errors import Violation
from podium.objects.kinds import kind_of
from podium.v1 import apps_pb2, batch_pb2, core_pb2, ingress_pb2, networking_pb2, policy_pb2, storage_pb2

_UPDATES: Mapping[type[Message], Callable[[Any, Any, Findings], None]] = {
    core_pb2.Pod: pods.update,
    core_pb2.Node: core.update_node,
    core_pb2.Namespace: core.update_namespace,
    core_pb2.Secret: config.update_secret,
    core_pb2.ConfigMap: config.update_config_map,
    apps_pb2.ReplicaSet: apps.update_replica_set,
    apps_pb2.Deployment: apps.update_deployment,
    policy_pb2.PriorityClass: policy.update_priority_class,
    policy_pb2.ResourceQuota: policy.update_resource_quota,
    storage_pb2.PersistentVolume: storage.update_volume,
    storage_pb2.PersistentVolumeClaim: storage.update_claim,
    storage_pb2.StorageClass: storage.update_class,
    networking_pb2.Service: networking.update_service,
    networking_pb2.EndpointSlice: networking.update_slice,
    ingress_pb2.IngressClass: ingress.update_class,
    apps_pb2.DaemonSet: apps.update_daemon_set,
    apps_pb2.StatefulSet: apps.update_stateful_set,
    apps_pb2.ControllerRevision: apps.update_controller_revision,
    batch_pb2.Job: batch.update_job,
}

_RULES = (
    meta,
    core,
    config,
    containers,
    volumes,
    pods,
    ephemeral,
    placement,
    apps,
    autoscaling,
    batch,
    policy,
    storage,
    strategies,
    networking,
    ingress,
    nodepool,
)

_walk = Walk(
    {message: rule for rules in _RULES for message, rule in rules.MESSAGES.items()},
    {field: rule for rules in _RULES for field, rule in rules.FIELDS.items()},
    remembered=(core_pb2.PodSpec,),
)


def validate(obj: Any, old: Any = None) -> list[Violation]:
    """Everything wrong with a defaulted object; empty when it may be stored.

    Args:
        obj: Of any kind.
        old: What it replaces, unless it is new.
    """
    findings: Findings = []
    meta.identity(obj.metadata, kind_of(obj), findings)
    _walk(obj, "", findings)
    if old is not None:
        _unchanged(obj, old, findings)
    elif isinstance(obj, core_pb2.Pod):
        pods.create(obj, findings)
    return _finished(findings)


def validate_status(obj: Any, old: Any) -> list[Violation]:
    """Everything wrong with a change that only touches status."""
    findings: Findings = []
    if obj.metadata != old.metadata:
        meta.unchanged(obj.metadata, old.metadata, findings)
    _walk(obj.status, ".status", findings)
    return _finished(findings)


def _unchanged(obj: Any, old: Any, findings: Findings) -> None:
    meta.unchanged(obj.metadata, old.metadata, findings)
    update = _UPDATES.get(type(obj))
    if update is not None:
        update(obj, old, findings)


def _finished(findings: Findings) -> list[Violation]:
    """Paths lose the dot that they begin with."""
    return [Violation(f.field.removeprefix("."), f.description, f.hint) for f in findings]
