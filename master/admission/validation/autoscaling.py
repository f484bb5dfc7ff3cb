"""Rules of autoscaling/v2: a target that can be scaled, bounds in order, and metrics that say what to aim at."""

from __future__ import annotations

from google.protobuf.message import Message

from master.admission.validation.walk import FieldRule, Findings, MessageRule, between
from podium.errors import BadRequest, Violation
from podium.objects import quantity
from podium.objects.kinds import BY_NAME, KINDS
from podium.objects.selectors import from_label_selector
from podium.v1.autoscaling_pb2 import (
    CrossVersionObjectReference,
    HorizontalPodAutoscalerSpec,
    HPAScalingPolicy,
    HPAScalingRules,
    MetricIdentifier,
    MetricSpec,
    MetricTarget,
)

MAX_WINDOW_SECONDS = 3600
MAX_PERIOD_SECONDS = 1800
MAX_QUERY = 10_000

_SOURCES = {
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "container_resource",
    "External": "external",
}
_TARGETS = {
    "Object": ("Value", "AverageValue"),
    "Pods": ("AverageValue",),
    "Resource": ("Utilization", "AverageValue"),
    "ContainerResource": ("Utilization", "AverageValue"),
    "External": ("Value", "AverageValue"),
}
_TARGET_FIELDS = {"Utilization": "average_utilization", "Value": "value", "AverageValue": "average_value"}
_JSON = {"container_resource": "containerResource", "average_utilization": "averageUtilization",
         "average_value": "averageValue"}  # fmt: skip
_OF_OTHERS = ("Object", "External")
"""Metrics that can be told without a pod."""


def _spec(spec: HorizontalPodAutoscalerSpec, path: str, findings: Findings) -> None:
    _scalable(spec.scale_target_ref, f"{path}.scaleTargetRef", findings)
    least = spec.min_replicas
    if least < 0:
        findings.append(Violation(f"{path}.minReplicas", f"must be at least 0, not {least}"))
    elif least == 0 and spec.HasField("min_replicas") and not any(m.type in _OF_OTHERS for m in spec.metrics):
        hint = "without pods there is nothing else to tell by when to start one"
        findings.append(
            Violation(f"{path}.minReplicas", "must be at least 1 without an Object or External metric", hint)
        )
    if 0 < spec.max_replicas < max(least, 1):
        findings.append(
            Violation(f"{path}.maxReplicas", f"must be at least minReplicas, {max(least, 1)}, not {spec.max_replicas}")
        )


def _scalable(ref: CrossVersionObjectReference, path: str, findings: Findings) -> None:
    if not ref.kind:
        return
    kind = BY_NAME.get(ref.kind)
    if kind is None or "scale" not in kind.subresources:
        known = ", ".join(k.name for k in KINDS if "scale" in k.subresources)
        findings.append(Violation(f"{path}.kind", f'must be of a kind that can be scaled, not "{ref.kind}"', known))
    elif ref.api_version and ref.api_version != kind.api_version:
        findings.append(
            Violation(f"{path}.apiVersion", f'must be "{kind.api_version}" for {kind.name}, not "{ref.api_version}"')
        )


def _metric(metric: MetricSpec, path: str, findings: Findings) -> None:
    wanted = _SOURCES.get(metric.type)
    if wanted is None:
        return  # named by the walk
    for name in _SOURCES.values():
        there, where = metric.HasField(name), f"{path}.{_JSON.get(name, name)}"  # type: ignore[arg-type]
        if name == wanted and not there:
            findings.append(Violation(where, f'is required when type is "{metric.type}"'))
        elif name != wanted and there:
            findings.append(Violation(where, f'must not be set when type is "{metric.type}"'))
    if metric.HasField(wanted):  # type: ignore[arg-type]
        target: MetricTarget = getattr(metric, wanted).target
        _target(target, _TARGETS[metric.type], f"{path}.{_JSON.get(wanted, wanted)}.target", findings)


def _target(target: MetricTarget, allowed: tuple[str, ...], path: str, findings: Findings) -> None:
    if not target.type:
        return
    if target.type not in allowed:
        findings.append(Violation(f"{path}.type", f'must be {" or ".join(allowed)} here, not "{target.type}"'))
        return
    for kind, name in _TARGET_FIELDS.items():
        where = f"{path}.{_JSON.get(name, name)}"
        there = target.HasField("average_utilization") if name == "average_utilization" else bool(getattr(target, name))
        if kind != target.type and there:
            findings.append(Violation(where, f'must not be set when type is "{target.type}"'))
        elif kind == target.type and not there:
            findings.append(Violation(where, f'is required when type is "{target.type}"'))
        elif kind == target.type:
            _positive(getattr(target, name), where, findings)


def _positive(amount: int | str, path: str, findings: Findings) -> None:
    try:
        number = quantity.parse(amount) if isinstance(amount, str) else amount
    except BadRequest as error:
        findings.append(Violation(path, error.message))
        return
    if number <= 0:
        findings.append(Violation(path, f"must be greater than 0, not {amount}"))


def _identifier(metric: MetricIdentifier, path: str, findings: Findings) -> None:
    if len(metric.query) > MAX_QUERY:
        findings.append(Violation(f"{path}.query", f"must be at most {MAX_QUERY} characters"))
    if metric.query and metric.HasField("selector"):
        findings.append(Violation(f"{path}.selector", "must not be set beside a query", "write it into the query"))
        return
    if not metric.query and not _is_series(metric.name):
        hint = "or give the query in PromQL"
        findings.append(
            Violation(f"{path}.name", f'must be the name of a series in Prometheus, not "{metric.name}"', hint)
        )
    try:
        from_label_selector(metric.selector)
    except BadRequest as error:
        findings.append(Violation(f"{path}.selector", error.message))


def _is_series(name: str) -> bool:
    return not name or (name.replace(":", "_").isidentifier() and name.isascii())


def _rules(rules: HPAScalingRules, path: str, findings: Findings) -> None:
    if not rules.tolerance:
        return
    try:
        number = quantity.parse(rules.tolerance)
    except BadRequest as error:
        findings.append(Violation(f"{path}.tolerance", error.message))
        return
    if number < 0:
        findings.append(Violation(f"{path}.tolerance", f"must be at least 0, not {rules.tolerance}"))


MESSAGES: dict[type[Message], MessageRule] = {
    HorizontalPodAutoscalerSpec: _spec,
    MetricSpec: _metric,
    MetricIdentifier: _identifier,
    HPAScalingRules: _rules,
}

FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (HorizontalPodAutoscalerSpec, "max_replicas"): between(1),
    (HPAScalingRules, "stabilization_window_seconds"): between(0, MAX_WINDOW_SECONDS),
    (HPAScalingPolicy, "value"): between(1),
    (HPAScalingPolicy, "period_seconds"): between(1, MAX_PERIOD_SECONDS),
}
