"""Every other kind, and the table of who describes what."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from podium.cli.describe import autoscaling, batch, config, ingress, networking, nodepools, pods, policy, storage
from podium.cli.describe.page import Page, conditions, header
from podium.cli.describe.strategies import strategy
from podium.objects.kinds import kind_of
from podium.objects.selectors import workload_selector
from podium.v1.apps_pb2 import DaemonSet, Deployment, ReplicaSet, ReplicationController, StatefulSet
from podium.v1.core_pb2 import Namespace, Node

Describer = Callable[[Page, Any, datetime.datetime], None]


def describe(page: Page, obj: Any, now: datetime.datetime) -> None:
    """Describe an object of any kind (events are added by the caller)."""
    _DESCRIBERS.get(kind_of(obj).name, _plain)(page, obj, now)


def _deployment(page: Page, obj: Deployment, now: datetime.datetime) -> None:
    header(page, obj)
    status = obj.status
    page.field("Selector", workload_selector(obj))
    page.field(
        "Replicas",
        f"{obj.spec.replicas} desired | {status.updated_replicas} updated | {status.replicas} total | "
        f"{status.available_replicas} available | {status.unavailable_replicas} unavailable",
    )
    strategy(page, obj)
    page.field("MinReadySeconds", obj.spec.min_ready_seconds)
    page.field("Paused", obj.spec.paused or "")
    page.field("ConfigRollout", obj.spec.config_rollout)
    pods.template(page, obj.spec.template.spec, obj.spec.template.metadata.labels)
    conditions(page, status.conditions, now)


def _replicated(page: Page, obj: ReplicaSet | ReplicationController, now: datetime.datetime) -> None:
    header(page, obj)
    page.field("Selector", workload_selector(obj))
    status = obj.status
    page.field("Replicas", f"{obj.spec.replicas} desired | {status.replicas} current | {status.ready_replicas} ready")
    pods.template(page, obj.spec.template.spec, obj.spec.template.metadata.labels)
    conditions(page, status.conditions, now)


def _daemonset(page: Page, obj: DaemonSet, now: datetime.datetime) -> None:
    header(page, obj)
    status, strategy = obj.status, obj.spec.update_strategy
    page.field("Selector", workload_selector(obj))
    page.field(
        "Nodes",
        f"{status.desired_number_scheduled} desired | {status.current_number_scheduled} with a pod | "
        f"{status.updated_number_scheduled} updated | {status.number_available} available | "
        f"{status.number_misscheduled} misscheduled",
    )
    page.field("Strategy", strategy.type)
    if strategy.HasField("rolling_update"):
        update = strategy.rolling_update
        page.field(
            "RollingUpdate", f"{_amount(update.max_unavailable)} max unavailable, {_amount(update.max_surge)} max surge"
        )
    page.field("MinReadySeconds", obj.spec.min_ready_seconds)
    page.field("ConfigRollout", obj.spec.config_rollout)
    pods.template(page, obj.spec.template.spec, obj.spec.template.metadata.labels)
    conditions(page, status.conditions, now)


def _statefulset(page: Page, obj: StatefulSet, now: datetime.datetime) -> None:
    header(page, obj)
    status, strategy = obj.status, obj.spec.update_strategy
    page.field("Selector", workload_selector(obj))
    page.field(
        "Replicas",
        f"{obj.spec.replicas} desired | {status.replicas} total | {status.updated_replicas} updated | "
        f"{status.available_replicas} available",
    )
    page.field("Ordinals", f"from {obj.spec.ordinals.start}" if obj.spec.ordinals.start else "")
    page.field("Subdomain", obj.spec.service_name)
    page.field("Pod Management", obj.spec.pod_management_policy)
    page.field("Strategy", strategy.type)
    if strategy.HasField("rolling_update"):
        update = strategy.rolling_update
        most = _amount(update.max_unavailable) if update.HasField("max_unavailable") else "1"
        page.field("RollingUpdate", f"partition {update.partition}, {most} max unavailable")
    page.field("MinReadySeconds", obj.spec.min_ready_seconds)
    retention = obj.spec.persistent_volume_claim_retention_policy
    if obj.spec.volume_claim_templates:
        page.field("Claim Retention", f"when deleted {retention.when_deleted}, when scaled {retention.when_scaled}")
    page.field("ConfigRollout", obj.spec.config_rollout)
    page.field("Current Revision", status.current_revision)
    page.field("Update Revision", status.update_revision)
    pods.template(page, obj.spec.template.spec, obj.spec.template.metadata.labels)
    storage.templates(page, obj.spec.volume_claim_templates)
    conditions(page, status.conditions, now)


def _node(page: Page, obj: Node, now: datetime.datetime) -> None:
    header(page, obj)
    page.field("Taints", "\n".join(f"{t.key}{'=' + t.value if t.value else ''}:{t.effect}" for t in obj.spec.taints))
    page.field("Unschedulable", obj.spec.unschedulable)
    page.field("PodCIDR", obj.spec.pod_cidr)
    conditions(page, obj.status.conditions, now)
    page.field("Addresses", "\n".join(f"{a.type} {a.address}" for a in obj.status.addresses))
    names = sorted({*obj.status.capacity, *obj.status.allocatable})
    with page.section("Resources"):
        page.table(
            ["RESOURCE", "CAPACITY", "ALLOCATABLE"],
            [[n, obj.status.capacity.get(n, "-"), obj.status.allocatable.get(n, "-")] for n in names],
        )
    info = obj.status.node_info
    page.field("System", f"{info.os_image}, kernel {info.kernel_version}, {info.architecture}")
    page.field("Runtime", f"{info.container_runtime_version}, nodelet {info.kubelet_version}")


def _namespace(page: Page, obj: Namespace, now: datetime.datetime) -> None:
    header(page, obj)
    page.field("Status", obj.status.phase)
    conditions(page, obj.status.conditions, now)


def _plain(page: Page, obj: Any, now: datetime.datetime) -> None:
    """Everything else: metadata, then its fields as YAML."""
    from podium.codec.json import to_dict
    from podium.codec.yaml import dump_data

    header(page, obj)
    data = {k: v for k, v in to_dict(obj).items() if k not in ("apiVersion", "kind", "metadata")}
    if data:
        page.field("Content", dump_data(data).rstrip())


def _amount(value: Any) -> str:
    return str(value.str_value) if value.HasField("str_value") else str(value.int_value)


_DESCRIBERS: dict[str, Describer] = {
    "Pod": pods.describe,
    "Deployment": _deployment,
    "DaemonSet": _daemonset,
    "StatefulSet": _statefulset,
    "PersistentVolume": storage.volume,
    "PersistentVolumeClaim": storage.claim,
    "StorageClass": storage.storage_class,
    "ReplicaSet": _replicated,
    "ReplicationController": _replicated,
    "Job": batch.job,
    "HorizontalPodAutoscaler": autoscaling.autoscaler,
    "CronJob": batch.cron_job,
    "Node": _node,
    "Namespace": _namespace,
    "Secret": config.secret,
    "ConfigMap": config.config_map,
    "Service": networking.service,
    "EndpointSlice": networking.endpoint_slice,
    "NetworkPolicy": networking.network_policy,
    "AddressPool": networking.address_pool,
    "Ingress": ingress.ingress,
    "IngressClass": ingress.ingress_class,
    "LimitRange": policy.limit_range,
    "ResourceQuota": policy.resource_quota,
    "PriorityClass": policy.priority_class,
    "PodDisruptionBudget": policy.disruption_budget,
    "NodePool": nodepools.node_pool,
}
