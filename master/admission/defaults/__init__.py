"""Defaulting: what an object leaves unsaid is written into it, as Kubernetes does, so that everyone reads the same.

`apply_defaults` changes the object in place. It is idempotent, and total: what it cannot read (a quantity that is
none) it leaves for validation to name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from master.admission.defaults import apps, autoscaling, batch, core, networking, nodepool, pods, policy, storage
from podium.objects.kinds import BY_MESSAGE
from podium.v1 import (
    apps_pb2,
    autoscaling_pb2,
    batch_pb2,
    core_pb2,
    networking_pb2,
    nodepool_pb2,
    policy_pb2,
    storage_pb2,
)

DEFAULT_NAMESPACE = "default"

_BY_MESSAGE: dict[type[Message], Callable[[Any], None]] = {
    core_pb2.Namespace: core.namespace,
    core_pb2.Node: core.node,
    core_pb2.Secret: core.secret,
    core_pb2.Event: core.event,
    core_pb2.Pod: pods.pod,
    policy_pb2.LimitRange: policy.limit_range,
    policy_pb2.PriorityClass: policy.priority_class,
    batch_pb2.Job: batch.job,
    policy_pb2.ResourceQuota: policy.resource_quota,
    batch_pb2.CronJob: batch.cron_job,
    apps_pb2.ReplicaSet: apps.replica_set,
    apps_pb2.ReplicationController: apps.replication_controller,
    apps_pb2.Deployment: apps.deployment,
    autoscaling_pb2.HorizontalPodAutoscaler: autoscaling.horizontal_pod_autoscaler,
    storage_pb2.PersistentVolume: storage.volume,
    storage_pb2.PersistentVolumeClaim: storage.claim,
    storage_pb2.StorageClass: storage.storage_class,
    networking_pb2.Service: networking.service,
    networking_pb2.AddressPool: networking.address_pool,
    networking_pb2.EndpointSlice: networking.endpoint_slice,
    networking_pb2.NetworkPolicy: networking.network_policy,
    apps_pb2.DaemonSet: apps.daemon_set,
    apps_pb2.StatefulSet: apps.stateful_set,
    nodepool_pb2.NodePool: nodepool.node_pool,
}


def apply_defaults(obj: Any) -> None:
    """Fill in the defaults of an object of any kind, in place."""
    cls = type(obj)
    metadata = obj.metadata
    if not metadata.namespace and BY_MESSAGE[cls].namespaced:
        metadata.namespace = DEFAULT_NAMESPACE
    default = _BY_MESSAGE.get(cls)
    if default is not None:
        default(obj)
