"""The columns of each kind's table. A column reads one object; `wide` columns show with `-o wide`."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from podium.cli.output.age import age
from podium.cli.output.autoscaling import targets
from podium.cli.output.jobs import completions, job_word, lasted
from podium.cli.output.pods import phase_word, restarts
from podium.cli.output.strategies import strategy_word
from podium.objects import ingress, storage
from podium.objects.address_pool import gives_unasked
from podium.objects.conditions import get_condition
from podium.objects.kinds import Kind
from podium.objects.nodepool import at_most
from podium.objects.owners import controller_of
from podium.v1.meta_pb2 import LabelSelector

NONE = "<none>"


@dataclass(frozen=True, slots=True)
class Column:
    """A header, how to read the cell from (object, now), and whether only `-o wide` shows it."""

    header: str
    read: Callable[[Any, datetime.datetime], str]
    wide: bool = False


def columns_of(kind: Kind, *, wide: bool, namespaces: bool, labels: bool) -> list[Column]:
    """The columns to show for a kind."""
    chosen = [c for c in _TABLES.get(kind.name, _DEFAULT) if wide or not c.wide]
    if namespaces and kind.namespaced:
        chosen = [Column("NAMESPACE", lambda o, _: o.metadata.namespace), *chosen]
    if labels:
        chosen = [*chosen, Column("LABELS", lambda o, _: _pairs(o.metadata.labels))]
    return chosen


def cells(obj: Any, columns: Sequence[Column], now: datetime.datetime) -> list[str]:
    """One row."""
    return [column.read(obj, now) for column in columns]


def _pairs(labels: Any) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted(labels.items())) or NONE


def _controller(obj: Any, _: datetime.datetime) -> str:
    owner = controller_of(obj)
    return f"{owner.kind.lower()}/{owner.name}" if owner is not None else NONE


def _name(obj: Any, _: datetime.datetime) -> str:
    return str(obj.metadata.name)


def _age(obj: Any, now: datetime.datetime) -> str:
    return age(obj.metadata.creation_timestamp, now)


def _pod_ready(pod: Any, _: datetime.datetime) -> str:
    sidecars = [c.name for c in pod.spec.init_containers if c.restart_policy == "Always"]
    names = {c.name for c in pod.spec.containers} | set(sidecars)
    statuses = [*pod.status.container_statuses, *pod.status.init_container_statuses]
    return f"{sum(1 for s in statuses if s.ready and s.name in names)}/{len(names)}"


def _node_status(node: Any, _: datetime.datetime) -> str:
    ready = get_condition(node.status.conditions, "Ready")
    words = ["Ready" if ready is not None and ready.status == "True" else "NotReady"]
    if node.spec.unschedulable:
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(node: Any, _: datetime.datetime) -> str:
    prefix = "node-role.kubernetes.io/"
    return ",".join(sorted(k.removeprefix(prefix) for k in node.metadata.labels if k.startswith(prefix))) or NONE


def _address(node: Any, wanted: str) -> str:
    return next((a.address for a in node.status.addresses if a.type == wanted), NONE)


def _containers(template: Any) -> str:
    return ",".join(c.name for c in template.spec.containers)


def _images(template: Any) -> str:
    return ",".join(c.image for c in template.spec.containers)


def _selector(selector: Any) -> str:
    if not isinstance(selector, LabelSelector):  # a ReplicationController's is a map of labels
        return _pairs(selector)
    words = [f"{k}={v}" for k, v in sorted(selector.match_labels.items())]
    words += [f"{e.key} {e.operator} ({','.join(e.values)})" for e in selector.match_expressions]
    return ",".join(words) or NONE


def _int_or_string(spec: Any, name: str) -> str:
    if not spec.HasField(name):
        return "N/A"
    value = getattr(spec, name)
    return str(value.str_value if value.HasField("str_value") else value.int_value)


def _used(quota: Any, *, of_limits: bool) -> str:
    names = (name for name in sorted(quota.spec.hard) if name.startswith("limits.") is of_limits)
    return ", ".join(f"{name}: {quota.status.used.get(name, '-')}/{quota.spec.hard[name]}" for name in names)


def _external(service: Any, _: datetime.datetime) -> str:
    spec = service.spec
    if spec.type == "ExternalName":
        return str(spec.external_name)
    found = [*(ingress.ip for ingress in service.status.load_balancer.ingress), *spec.external_ips]
    return ",".join(found) or ("<pending>" if spec.type == "LoadBalancer" else NONE)


def _service_ports(service: Any, _: datetime.datetime) -> str:
    ports = (f"{p.port}{f':{p.node_port}' if p.node_port else ''}/{p.protocol}" for p in service.spec.ports)
    return ",".join(ports) or NONE


def _ingress_hosts(obj: Any, _: datetime.datetime) -> str:
    """The first few, and how many more there are."""
    hosts = [host or "*" for host in ingress.hosts_of(obj)] or ["*"]
    return ",".join(hosts[:3]) + (f" + {len(hosts) - 3} more..." if len(hosts) > 3 else "")


def _endpoints(endpoint_slice: Any, _: datetime.datetime) -> str:
    """The first few addresses that take connections, and how many more there are. Not said to be ready: is ready."""
    able = (e for e in endpoint_slice.endpoints if e.conditions.ready or not e.conditions.HasField("ready"))
    ready = [e.addresses[0] for e in able if e.addresses]
    more = f" + {len(ready) - 3} more" if len(ready) > 3 else ""
    return ",".join(ready[:3]) + more or NONE


def _event_object(event: Any, _: datetime.datetime) -> str:
    about = event.involved_object
    return f"{about.kind.lower()}/{about.name}"


def _claim_of(volume: Any, _: datetime.datetime) -> str:
    ref = volume.spec.claim_ref
    return f"{ref.namespace}/{ref.name}" if volume.spec.HasField("claim_ref") else ""


def _phase(obj: Any, _: datetime.datetime) -> str:
    return "Terminating" if obj.metadata.HasField("deletion_timestamp") else str(obj.status.phase)


def _class_name(cls: Any, _: datetime.datetime) -> str:
    return f"{cls.metadata.name} (default)" if storage.is_default(cls) else str(cls.metadata.name)


def _ingress_class_name(cls: Any, _: datetime.datetime) -> str:
    return f"{cls.metadata.name} (default)" if ingress.is_default(cls) else str(cls.metadata.name)


def _last_schedule(cron: Any, now: datetime.datetime) -> str:
    return age(cron.status.last_schedule_time, now) if cron.status.HasField("last_schedule_time") else NONE


_AGE = Column("AGE", _age)
_NAME = Column("NAME", _name)
_DEFAULT = (_NAME, _AGE)

_TEMPLATE = (
    Column("CONTAINERS", lambda o, _: _containers(o.spec.template), wide=True),
    Column("IMAGES", lambda o, _: _images(o.spec.template), wide=True),
    Column("SELECTOR", lambda o, _: _selector(o.spec.selector), wide=True),
)

_REPLICATED = (
    _NAME,
    Column("DESIRED", lambda o, _: str(o.spec.replicas)),
    Column("CURRENT", lambda o, _: str(o.status.replicas)),
    Column("READY", lambda o, _: str(o.status.ready_replicas)),
    _AGE,
    *_TEMPLATE,
)

_TABLES: dict[str, tuple[Column, ...]] = {
    "Pod": (
        _NAME,
        Column("READY", _pod_ready),
        Column("STATUS", lambda o, _: phase_word(o)),
        Column("RESTARTS", restarts),
        _AGE,
        Column("IP", lambda o, _: o.status.pod_ip or NONE, wide=True),
        Column("NODE", lambda o, _: o.spec.node_name or NONE, wide=True),
        Column("NOMINATED NODE", lambda o, _: o.status.nominated_node_name or NONE, wide=True),
    ),
    "Node": (
        _NAME,
        Column("STATUS", _node_status),
        Column("ROLES", _roles),
        _AGE,
        Column("VERSION", lambda o, _: o.status.node_info.kubelet_version),
        Column("INTERNAL-IP", lambda o, _: _address(o, "InternalIP"), wide=True),
        Column("POD-CIDR", lambda o, _: o.spec.pod_cidr or NONE, wide=True),
        Column("OS-IMAGE", lambda o, _: o.status.node_info.os_image, wide=True),
        Column("KERNEL-VERSION", lambda o, _: o.status.node_info.kernel_version, wide=True),
        Column("CONTAINER-RUNTIME", lambda o, _: o.status.node_info.container_runtime_version, wide=True),
    ),
    "Deployment": (
        _NAME,
        Column("READY", lambda o, _: f"{o.status.ready_replicas}/{o.spec.replicas}"),
        Column("UP-TO-DATE", lambda o, _: str(o.status.updated_replicas)),
        Column("AVAILABLE", lambda o, _: str(o.status.available_replicas)),
        _AGE,
        Column("STRATEGY", strategy_word, wide=True),
        *_TEMPLATE,
    ),
    "DaemonSet": (
        _NAME,
        Column("DESIRED", lambda o, _: str(o.status.desired_number_scheduled)),
        Column("CURRENT", lambda o, _: str(o.status.current_number_scheduled)),
        Column("READY", lambda o, _: str(o.status.number_ready)),
        Column("UP-TO-DATE", lambda o, _: str(o.status.updated_number_scheduled)),
        Column("AVAILABLE", lambda o, _: str(o.status.number_available)),
        Column("NODE SELECTOR", lambda o, _: _pairs(o.spec.template.spec.node_selector)),
        _AGE,
        *_TEMPLATE,
    ),
    "StatefulSet": (
        _NAME,
        Column("READY", lambda o, _: f"{o.status.ready_replicas}/{o.spec.replicas}"),
        _AGE,
        *_TEMPLATE,
    ),
    "ControllerRevision": (
        _NAME,
        Column("CONTROLLER", _controller),
        Column("REVISION", lambda o, _: str(o.revision)),
        _AGE,
    ),
    "ReplicaSet": _REPLICATED,
    "ReplicationController": _REPLICATED,
    "Job": (
        _NAME,
        Column("STATUS", lambda o, _: job_word(o)),
        Column("COMPLETIONS", lambda o, _: completions(o)),
        Column("DURATION", lasted),
        _AGE,
        *_TEMPLATE,
    ),
    "HorizontalPodAutoscaler": (
        _NAME,
        Column("REFERENCE", lambda o, _: f"{o.spec.scale_target_ref.kind}/{o.spec.scale_target_ref.name}"),
        Column("TARGETS", lambda o, _: targets(o)),
        Column("MINPODS", lambda o, _: str(o.spec.min_replicas)),
        Column("MAXPODS", lambda o, _: str(o.spec.max_replicas)),
        Column("REPLICAS", lambda o, _: str(o.status.current_replicas)),
        _AGE,
    ),
    "CronJob": (
        _NAME,
        Column("SCHEDULE", lambda o, _: o.spec.schedule),
        Column("TIMEZONE", lambda o, _: o.spec.time_zone or NONE),
        Column("SUSPEND", lambda o, _: str(o.spec.suspend)),
        Column("ACTIVE", lambda o, _: str(len(o.status.active))),
        Column("LAST SCHEDULE", _last_schedule),
        _AGE,
        Column("CONTAINERS", lambda o, _: _containers(o.spec.job_template.spec.template), wide=True),
        Column("IMAGES", lambda o, _: _images(o.spec.job_template.spec.template), wide=True),
    ),
    "Service": (
        _NAME,
        Column("TYPE", lambda o, _: o.spec.type),
        Column("CLUSTER-IP", lambda o, _: o.spec.cluster_ip or NONE),
        Column("EXTERNAL-IP", _external),
        Column("PORT(S)", _service_ports),
        _AGE,
        Column("SELECTOR", lambda o, _: _selector(o.spec.selector), wide=True),
    ),
    "EndpointSlice": (
        _NAME,
        Column("PORTS", lambda o, _: ",".join(str(p.port) for p in o.ports) or NONE),
        Column("ENDPOINTS", _endpoints),
        _AGE,
    ),
    "Ingress": (
        _NAME,
        Column("CLASS", lambda o, _: ingress.class_of(o) or NONE),
        Column("HOSTS", _ingress_hosts),
        Column("ADDRESS", lambda o, _: ",".join(i.ip for i in o.status.load_balancer.ingress)),
        Column("PORTS", lambda o, _: "80, 443" if o.spec.tls else "80"),
        _AGE,
    ),
    "AddressPool": (
        _NAME,
        Column("ADDRESSES", lambda o, _: ",".join(o.spec.addresses)),
        Column("ASSIGNED", lambda o, _: f"{o.status.assigned}/{o.status.total}"),
        Column("UNASKED", lambda o, _: "yes" if gives_unasked(o) else "no"),
        _AGE,
    ),
    "IngressClass": (
        Column("NAME", _ingress_class_name),
        Column("CONTROLLER", lambda o, _: o.spec.controller),
        _AGE,
    ),
    "NetworkPolicy": (
        _NAME,
        Column("POD-SELECTOR", lambda o, _: _selector(o.spec.pod_selector)),
        Column("TYPES", lambda o, _: ",".join(o.spec.policy_types)),
        _AGE,
    ),
    "Namespace": (_NAME, Column("STATUS", lambda o, _: o.status.phase), _AGE),
    "Secret": (_NAME, Column("TYPE", lambda o, _: o.type), Column("DATA", lambda o, _: str(len(o.data))), _AGE),
    "ConfigMap": (_NAME, Column("DATA", lambda o, _: str(len(o.data) + len(o.binary_data))), _AGE),
    "PersistentVolume": (
        _NAME,
        Column("CAPACITY", lambda o, _: o.spec.capacity.get(storage.STORAGE, "")),
        Column("ACCESS MODES", lambda o, _: storage.short_modes(o.spec.access_modes)),
        Column("RECLAIM POLICY", lambda o, _: o.spec.persistent_volume_reclaim_policy),
        Column("STATUS", _phase),
        Column("CLAIM", _claim_of),
        Column("STORAGECLASS", lambda o, _: o.spec.storage_class_name),
        Column("REASON", lambda o, _: o.status.reason),
        _AGE,
        Column("VOLUMEMODE", lambda o, _: o.spec.volume_mode, wide=True),
        Column("USED", lambda o, _: o.status.used or NONE, wide=True),
        Column("LOCATION", lambda o, _: storage.where(o), wide=True),
    ),
    "PersistentVolumeClaim": (
        _NAME,
        Column("STATUS", _phase),
        Column("VOLUME", lambda o, _: o.spec.volume_name),
        Column("CAPACITY", lambda o, _: o.status.capacity.get(storage.STORAGE, "")),
        Column("ACCESS MODES", lambda o, _: storage.short_modes(o.status.access_modes)),
        Column("STORAGECLASS", lambda o, _: o.spec.storage_class_name),
        _AGE,
        Column("VOLUMEMODE", lambda o, _: o.spec.volume_mode, wide=True),
        Column("REQUESTED", lambda o, _: o.spec.resources.requests.get(storage.STORAGE, ""), wide=True),
    ),
    "StorageClass": (
        Column("NAME", _class_name),
        Column("PROVISIONER", lambda o, _: o.provisioner),
        Column("RECLAIMPOLICY", lambda o, _: o.reclaim_policy),
        Column("VOLUMEBINDINGMODE", lambda o, _: o.volume_binding_mode),
        Column("ALLOWVOLUMEEXPANSION", lambda o, _: str(bool(o.allow_volume_expansion)).lower()),
        _AGE,
    ),
    "Lease": (_NAME, Column("HOLDER", lambda o, _: o.spec.holder_identity), _AGE),
    "PodDisruptionBudget": (
        _NAME,
        Column("MIN AVAILABLE", lambda o, _: _int_or_string(o.spec, "min_available")),
        Column("MAX UNAVAILABLE", lambda o, _: _int_or_string(o.spec, "max_unavailable")),
        Column("ALLOWED DISRUPTIONS", lambda o, _: str(o.status.disruptions_allowed)),
        _AGE,
    ),
    "PriorityClass": (
        _NAME,
        Column("VALUE", lambda o, _: str(o.value)),
        Column("GLOBAL-DEFAULT", lambda o, _: str(o.global_default).lower()),
        _AGE,
        Column("PREEMPTIONPOLICY", lambda o, _: o.preemption_policy),
    ),
    "ResourceQuota": (
        _NAME,
        Column("REQUEST", lambda o, _: _used(o, of_limits=False)),
        Column("LIMIT", lambda o, _: _used(o, of_limits=True)),
        _AGE,
    ),
    "LimitRange": (_NAME, Column("TYPES", lambda o, _: ",".join(i.type for i in o.spec.limits)), _AGE),
    "NodePool": (
        _NAME,
        Column("HOSTS", lambda o, _: str(len(o.spec.hosts))),
        Column("READY", lambda o, _: str(o.status.ready)),
        Column("COMING", lambda o, _: str(o.status.provisioning)),
        Column("FAILED", lambda o, _: str(o.status.failed)),
        Column("MIN", lambda o, _: str(o.spec.min)),
        Column("MAX", lambda o, _: str(at_most(o))),
        _AGE,
        Column("DECISION", lambda o, _: o.status.decision, wide=True),
    ),
    "Event": (
        Column("LAST SEEN", lambda o, now: age(o.last_timestamp, now)),
        Column("TYPE", lambda o, _: o.type),
        Column("REASON", lambda o, _: o.reason),
        Column("OBJECT", _event_object),
        Column("COUNT", lambda o, _: str(max(o.count, 1)), wide=True),
        Column("SOURCE", lambda o, _: o.reporting_component or o.source.component, wide=True),
        Column("MESSAGE", lambda o, _: o.message.strip().replace("\n", " ")),
    ),
}
