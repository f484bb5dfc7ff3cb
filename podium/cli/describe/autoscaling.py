"""A HorizontalPodAutoscaler: what it aims at, what it sees, how fast it may move; and in one paragraph, why so many."""

from __future__ import annotations

import datetime
from typing import Any

from podium.cli.describe.page import Page, conditions, header
from podium.cli.output.age import age
from podium.cli.output.autoscaling import metrics
from podium.objects.conditions import get_condition
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler, HPAScalingRules

_UNREMARKABLE = frozenset(("ReadyForNewScale", "SucceededGetScale", "SucceededRescale", "DesiredWithinRange"))


def autoscaler(page: Page, obj: HorizontalPodAutoscaler, now: datetime.datetime) -> None:
    """Target, bounds, metrics, rules, conditions."""
    header(page, obj)
    spec, status = obj.spec, obj.status
    page.field("Reference", f"{spec.scale_target_ref.kind}/{spec.scale_target_ref.name}")
    page.field("Replicas", f"{status.current_replicas} current | {status.desired_replicas} desired")
    page.field("Min replicas", spec.min_replicas)
    page.field("Max replicas", spec.max_replicas)
    if status.HasField("last_scale_time"):
        page.field("Last scaled", f"{age(status.last_scale_time, now)} ago")
    with page.section("Metrics"):
        page.table(["METRIC", "CURRENT", "TARGET"], [list(row) for row in metrics(obj)])
    if spec.HasField("behavior"):
        with page.section("Behavior"):
            _rules(page, "Scale up", spec.behavior.scale_up)
            _rules(page, "Scale down", spec.behavior.scale_down)
    conditions(page, status.conditions, now)


def _rules(page: Page, title: str, rules: HPAScalingRules) -> None:
    with page.section(title):
        if rules.HasField("stabilization_window_seconds"):
            page.field("Window", f"{rules.stabilization_window_seconds} s")
        page.field("Select policy", rules.select_policy)
        page.field("Tolerance", rules.tolerance)
        units = {"Pods": "pods", "Percent": "percent"}
        page.field("Policies", "\n".join(f"{p.value} {units[p.type]} in {p.period_seconds} s" for p in rules.policies))


def explanation(hpa: HorizontalPodAutoscaler, target: Any, now: datetime.datetime) -> str:
    """Why the target has the replicas that it has. `target` is None when it is not there."""
    ref, status, spec = hpa.spec.scale_target_ref, hpa.status, hpa.spec
    bounds = f"between {spec.min_replicas} and {spec.max_replicas}"
    if target is None:
        return f'{ref.kind} "{ref.name}" does not exist: there is nothing to keep {bounds} replicas.'
    wanted = f"{target.spec.replicas} replica{'' if target.spec.replicas == 1 else 's'}"
    sentences = [f"{ref.kind} {ref.name} is to have {wanted}, of {bounds}."]
    if not status.conditions:
        return " ".join([*sentences, "The autoscaler has not looked at it yet."])
    active = get_condition(status.conditions, "ScalingActive")
    if active is not None:
        sentences.append(_sentence(active.message if active.status == "True" else f"No figure: {active.message}"))
    for type_ in ("AbleToScale", "ScalingLimited"):
        found = get_condition(status.conditions, type_)
        if found is not None and found.reason not in _UNREMARKABLE:
            sentences.append(_sentence(found.message))
    if status.HasField("last_scale_time"):
        sentences.append(f"It was last scaled {age(status.last_scale_time, now)} ago.")
    if getattr(target.spec, "paused", False):
        sentences.append("Its rollout is paused: replicas follow the load all the same, its template does not.")
    return " ".join(sentences)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
