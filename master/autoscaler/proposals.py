"""What each metric of an autoscaler proposes, with the figure to show and the sentence that says why. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from master.autoscaler.facts import Observation, OfOne, OfPods, Reading, Tuning, Unread
from master.autoscaler.replicas import (
    Average,
    Groups,
    NoFigures,
    Tolerance,
    Utilization,
    by_pods,
    by_share,
    by_value,
    group,
    ready_pods,
)
from podium.objects import quantity
from podium.v1.autoscaling_pb2 import (
    HorizontalPodAutoscalerSpec,
    MetricSpec,
    MetricStatus,
    MetricTarget,
    MetricValueStatus,
)

FAILED = {
    "Resource": "FailedGetResourceMetric",
    "ContainerResource": "FailedGetContainerResourceMetric",
    "Pods": "FailedGetPodsMetric",
    "Object": "FailedGetObjectMetric",
    "External": "FailedGetExternalMetric",
}
"""Reasons of Kubernetes, by the metric's type."""
_MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a metric proposes."""

    metric: str
    replicas: int
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """What became of one metric: its status, and a proposal or why there is none."""

    status: MetricStatus
    result: Proposal | Unread


def propose(spec: MetricSpec, reading: Reading, seen: Observation, tuning: Tuning) -> Proposed:
    """What one metric proposes."""
    status = _status(spec)
    if isinstance(reading, Unread):
        return Proposed(status=status, result=reading)
    try:
        if isinstance(reading, OfPods):
            proposal = _of_pods(spec, reading, seen, tuning, status)
        else:
            proposal = _of_one(spec, reading, seen, tuning, status)
    except NoFigures as error:
        return Proposed(status=status, result=Unread(FAILED[spec.type], f"{metric_name(spec)}: {error}"))
    return Proposed(status=status, result=proposal)


def metric_name(spec: MetricSpec) -> str:
    """What the metric is called in conditions and events."""
    match spec.type:
        case "Resource":
            return _resource_name(spec.resource.name, spec.resource.target)
        case "ContainerResource":
            source = spec.container_resource
            return f"{source.name} container {source.container} {_resource_name('', source.target).strip()}"
        case "Pods":
            return f"pods metric {spec.pods.metric.name}"
        case "Object":
            return f"{spec.object.described_object.kind} metric {spec.object.metric.name}"
        case _:
            return f"external metric {spec.external.metric.name}"


def target_of(spec: MetricSpec) -> MetricTarget:
    """What the metric aims at."""
    match spec.type:
        case "Resource":
            return spec.resource.target
        case "ContainerResource":
            return spec.container_resource.target
        case "Pods":
            return spec.pods.target
        case "Object":
            return spec.object.target
        case _:
            return spec.external.target


def tolerance_of(spec: HorizontalPodAutoscalerSpec, tuning: Tuning) -> Tolerance:
    """The autoscaler's own tolerances, else the master's."""
    up, down = spec.behavior.scale_up.tolerance, spec.behavior.scale_down.tolerance
    return Tolerance(
        down=quantity.parse(down) if down else tuning.tolerance, up=quantity.parse(up) if up else tuning.tolerance
    )


def _resource_name(resource: str, target: MetricTarget) -> str:
    share = " utilization (percentage of request)" if target.type == "Utilization" else ""
    return f"{resource} resource{share}"


# ---------------------------------------------------------------- metrics of pods


def _of_pods(spec: MetricSpec, reading: OfPods, seen: Observation, tuning: Tuning, status: MetricStatus) -> Proposal:
    resource = spec.resource.name or spec.container_resource.name
    groups = group(seen.pods, reading.figures, cpu=resource == "cpu", now=seen.now, tuning=tuning)
    if not any((groups.counted, groups.unready, groups.missing)):
        raise NoFigures("the target has no pods")
    target, tolerance = target_of(spec), tolerance_of(seen.spec, tuning)
    write = _writer(resource)
    if target.type == "Utilization":
        gauge = Utilization(target.average_utilization, reading.requests)
        replicas = by_pods(groups, gauge, seen.wanted, tolerance)
        percent = gauge.percent(groups.counted)
        _current(status).average_utilization = percent
        shown = f"{percent}% of what the pods request, target {target.average_utilization}%"
        ratio = gauge.ratio(groups.counted)
    else:
        average = Average(quantity.milli(target.average_value))
        replicas = by_pods(groups, average, seen.wanted, tolerance)
        shown = f"{write(average.mean(groups.counted))} a pod on average, target {target.average_value}"
        ratio = average.ratio(groups.counted)
    _current(status).average_value = write(Average.mean(groups.counted))
    because = f"{metric_name(spec)} is {shown}{_counted(groups)}: {_outcome(ratio, replicas, seen.wanted, tolerance)}"
    return Proposal(metric=metric_name(spec), replicas=replicas, because=because)


def _counted(groups: Groups) -> str:
    left_out = [
        f"{len(names)} {what}"
        for names, what in ((groups.unready, "not ready"), (groups.missing, "not measured"))
        if names
    ]
    if not left_out:
        return f" (of {len(groups.counted)} pods)"
    return f" (of {len(groups.counted)} pods; {' and '.join(left_out)})"


def _outcome(ratio: Fraction, replicas: int, wanted: int, tolerance: Tolerance) -> str:
    times = f"{float(ratio):.2f} times the target"
    if replicas != wanted:
        return f"{times} asks for {replicas}"
    if tolerance.holds(ratio):
        return f"{times} is within the tolerance"
    return f"{times} changes nothing, for what is not known might outweigh it or rounds up to the same"


# ---------------------------------------------------------------- metrics of one figure


def _of_one(spec: MetricSpec, reading: OfOne, seen: Observation, tuning: Tuning, status: MetricStatus) -> Proposal:
    target, tolerance = target_of(spec), tolerance_of(seen.spec, tuning)
    if target.type == "Value":
        aim = quantity.milli(target.value)
        replicas = by_value(reading.amount, aim, replicas=seen.wanted, ready=ready_pods(seen.pods), tolerance=tolerance)
        shown = f"{quantity.from_milli(reading.amount)}, target {target.value}"
        ratio = Fraction(reading.amount, aim)
        _current(status).value = quantity.from_milli(reading.amount)
    else:
        aim, there = quantity.milli(target.average_value), seen.there
        replicas = by_share(reading.amount, aim, there=there, tolerance=tolerance)
        shown = f"{quantity.from_milli(reading.amount)} in all, target {target.average_value} a pod"
        ratio = Fraction(reading.amount, aim * max(1, there))
        _current(status).average_value = quantity.from_milli(-(-reading.amount // max(1, there)))
    because = f"{metric_name(spec)} is {shown}: {_outcome(ratio, replicas, seen.wanted, tolerance)}"
    return Proposal(metric=metric_name(spec), replicas=replicas, because=because)


# ---------------------------------------------------------------- status


def _status(spec: MetricSpec) -> MetricStatus:
    """Which metric it is; without a current figure."""
    status = MetricStatus(type=spec.type)
    match spec.type:
        case "Resource":
            status.resource.name = spec.resource.name
        case "ContainerResource":
            status.container_resource.name = spec.container_resource.name
            status.container_resource.container = spec.container_resource.container
        case "Pods":
            status.pods.metric.CopyFrom(spec.pods.metric)
        case "Object":
            status.object.metric.CopyFrom(spec.object.metric)
            status.object.described_object.CopyFrom(spec.object.described_object)
        case _:
            status.external.metric.CopyFrom(spec.external.metric)
    return status


def _current(status: MetricStatus) -> MetricValueStatus:
    match status.type:
        case "Resource":
            return status.resource.current
        case "ContainerResource":
            return status.container_resource.current
        case "Pods":
            return status.pods.current
        case "Object":
            return status.object.current
        case _:
            return status.external.current


def _writer(resource: str) -> Callable[[int], str]:
    """How an amount of it is written."""
    if resource == _MEMORY:
        return lambda thousandths: quantity.from_bytes(thousandths // 1000)
    return quantity.from_milli
