"""Defaults of LimitRange (what a container gets follows from its bounds), ResourceQuota and PriorityClass."""

from __future__ import annotations

from master.admission.defaults.quantities import canonicalize
from podium.v1.policy_pb2 import LimitRange, LimitRangeItem, PriorityClass, ResourceQuota


def limit_range(obj: LimitRange) -> None:
    """Quantities are canonical; containers get the most as limit, and that limit or the least as request."""
    for item in obj.spec.limits:
        for amounts in (item.max, item.min, item.default, item.default_request, item.max_limit_request_ratio):
            canonicalize(amounts)
        if item.type == "Container":
            _container(item)


def resource_quota(obj: ResourceQuota) -> None:
    """Quantities are canonical."""
    canonicalize(obj.spec.hard)


def priority_class(obj: PriorityClass) -> None:
    """Pods of a class may take the place of others."""
    if not obj.preemption_policy:
        obj.preemption_policy = "PreemptLowerPriority"


def _container(item: LimitRangeItem) -> None:
    for name, text in item.max.items():
        if name not in item.default:
            item.default[name] = text
    for amounts in (item.default, item.min):
        for name, text in amounts.items():
            if name not in item.default_request:
                item.default_request[name] = text
