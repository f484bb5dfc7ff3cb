"""What a namespace must keep to."""

from __future__ import annotations

import datetime

from podium.cli.describe.page import Page, header
from podium.objects.quotas import scopes_of
from podium.v1.policy_pb2 import LimitRange, PriorityClass, ResourceQuota


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
