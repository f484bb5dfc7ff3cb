"""Defaults of LimitRange (what a container gets follows from the bounds, where it is not said) and ResourceQuota."""

from __future__ import annotations

from master.admission.defaults.quantities import canonicalize
from podium.v1.policy_pb2 import LimitRange, LimitRangeItem, ResourceQuota


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


def _container(item: LimitRangeItem) -> None:
    for name, text in item.max.items():
        if name not in item.default:
            item.default[name] = text
    for amounts in (item.default, item.min):
        for name, text in amounts.items():
            if name not in item.default_request:
                item.default_request[name] = text
