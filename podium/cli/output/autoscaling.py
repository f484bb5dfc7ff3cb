"""Autoscalers' metrics in short: `cpu: 72%/50%`, as `get hpa` and `describe` show them."""

from __future__ import annotations

from typing import Any

from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler, MetricSpec, MetricStatus, MetricTarget

UNKNOWN = "<unknown>"
_SOURCES = {
    "Resource": "resource",
    "ContainerResource": "container_resource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def targets(hpa: HorizontalPodAutoscaler) -> str:
    """Every metric with what it is and what it should be."""
    return ", ".join(f"{name}: {current}/{aim}" for name, current, aim in metrics(hpa)) or "<none>"


def metrics(hpa: HorizontalPodAutoscaler) -> list[tuple[str, str, str]]:
    """Name, current figure and target of each metric."""
    statuses = list(hpa.status.current_metrics)
    if len(statuses) != len(hpa.spec.metrics):
        statuses = [MetricStatus(type=metric.type) for metric in hpa.spec.metrics]
    return [_row(spec, status) for spec, status in zip(hpa.spec.metrics, statuses, strict=True)]


def _row(spec: MetricSpec, status: MetricStatus) -> tuple[str, str, str]:
    field = _SOURCES[spec.type]
    source: Any = getattr(spec, field)
    told: Any = getattr(status, field)
    known = told.HasField("current")
    return _name(spec), _current(source.target, told.current) if known else UNKNOWN, _aim(source.target)


def _name(spec: MetricSpec) -> str:
    match spec.type:
        case "Resource":
            return spec.resource.name
        case "ContainerResource":
            return f"{spec.container_resource.name} of {spec.container_resource.container}"
        case "Pods":
            return spec.pods.metric.name
        case "Object":
            about = spec.object.described_object
            return f"{spec.object.metric.name} of {about.kind.lower()}/{about.name}"
        case _:
            return spec.external.metric.name


def _current(target: MetricTarget, current: Any) -> str:
    match target.type:
        case "Utilization":
            return f"{current.average_utilization}%"
        case "Value":
            return str(current.value)
        case _:
            return str(current.average_value)


def _aim(target: MetricTarget) -> str:
    match target.type:
        case "Utilization":
            return f"{target.average_utilization}%"
        case "Value":
            return target.value
        case _:
            return f"{target.average_value} (avg)"
