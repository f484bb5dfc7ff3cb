"""What a namespace must keep to."""

from __future__ import annotations

import datetime

from podium.cli.describe.page import Page, conditions, header, when
from podium.objects.budgets import selector_of
from podium.objects.quotas import scopes_of
from podium.v1.policy_pb2 import LimitRange, PodDisruptionBudget, PriorityClass, ResourceQuota


def limit_range(page: Page, obj: LimitRange, now: datetime.datetime) -> None:
    """Each bounded resource in a row."""
    header(page, obj)
    rows: list[list[str]] = []
    for item in obj.spec.limits:
        columns = (item.min, item.max, item.default_request, item.default, item.max_limit_request_ratio)
        names = sorted({name for column in columns for name in column})
        rows += [[item.type, name, *(column.get(name, "-") for column in columns)] for name in names]
    with page.section("Limits"):
        page.table(["TYPE", "RESOURCE", "MIN", "MAX", "DEFAULT REQUEST", "DEFAULT LIMIT", "MAX LIMIT/REQUEST"], rows)


def resource_quota(page: Page, obj: ResourceQuota, now: datetime.datetime) -> None:
    """How much is used of what is allowed."""
    header(page, obj)
    scopes = (f"{s.name} {s.operator} {','.join(sorted(s.values))}".rstrip() for s in scopes_of(obj))
    page.field("Scopes", "\n".join(scope.removesuffix(" Exists") for scope in scopes))
    with page.section("Resources"):
        rows = [[name, obj.status.used.get(name, "-"), obj.spec.hard[name]] for name in sorted(obj.spec.hard)]
        page.table(["RESOURCE", "USED", "HARD"], rows)


def priority_class(page: Page, obj: PriorityClass, now: datetime.datetime) -> None:
    """How important its pods are, and whether they push others aside."""
    header(page, obj)
    page.field("Value", obj.value)
    page.field("Global Default", obj.global_default)
    page.field("Preemption", obj.preemption_policy)
    page.field("Description", obj.description)


def disruption_budget(page: Page, obj: PodDisruptionBudget, now: datetime.datetime) -> None:
    """How many pods may go, and who is going."""
    header(page, obj)
    spec, status = obj.spec, obj.status
    page.field("Selector", selector_of(obj))
    for name, value in (("Min available", spec.min_available), ("Max unavailable", spec.max_unavailable)):
        if value.WhichOneof("value"):
            page.field(name, value.str_value if value.HasField("str_value") else value.int_value)
    page.field("Unhealthy pods", spec.unhealthy_pod_eviction_policy)
    with page.section("Status"):
        page.field("Allowed disruptions", status.disruptions_allowed)
        page.field("Current", status.current_healthy)
        page.field("Desired", status.desired_healthy)
        page.field("Total", status.expected_pods)
    page.field("Disrupted", "\n".join(f"{name} since {when(at)}" for name, at in sorted(status.disrupted_pods.items())))
    conditions(page, status.conditions, now)
