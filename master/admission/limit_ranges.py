"""LimitRanges applied: containers get the defaults that they lack, and what is out of bounds is refused.

A request that is absent is the limit (an ordinary default, made before), else the namespace's `defaultRequest`. What
was added is noted in the annotation `kubernetes.io/limit-ranger`, for who wonders where it comes from.

Bounds are for what is created, and for claims also when they change: pods that run are left alone when a LimitRange
comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from podium.errors import Forbidden, Violation
from podium.objects import pod as pods
from podium.objects import quantity
from podium.objects.kinds import kind_of
from podium.v1.core_pb2 import Container, Pod
from podium.v1.policy_pb2 import LimitRange, LimitRangeItem

ANNOTATION = "kubernetes.io/limit-ranger"

Amounts = Mapping[str, str]


def concerns(kind: str) -> bool:
    """Whether LimitRanges say anything about objects of a kind."""
    return kind in _CHECKS


def apply_limits(pod: Pod, ranges: Sequence[LimitRange]) -> None:
    """Give a new, defaulted pod's containers the limits and requests of the namespace that they lack."""
    items = [item for each in ranges for item in each.spec.limits if item.type == "Container"]
    notes = [note for container in pods.all_containers(pod.spec) for note in _fill(container, items)]
    if notes:
        pod.metadata.annotations[ANNOTATION] = "LimitRanger plugin set: " + "; ".join(notes)
        pod.status.qos_class = pods.qos_class(pod.spec)


def _fill(container: Container, items: Iterable[LimitRangeItem]) -> Iterator[str]:
    requests, limits = set[str](), set[str]()
    for item in items:
        resources = container.resources
        for given, defaults, added in (
            (resources.requests, item.default_request, requests),
            (resources.limits, item.default, limits),
        ):
            for name in defaults.keys() - given.keys():
                given[name] = defaults[name]
                added.add(name)
    for added, what in ((requests, "request"), (limits, "limit")):
        if added:
            yield f"{', '.join(sorted(added))} {what} for container {container.name}"


def check_limits(obj: Any, ranges: Sequence[LimitRange]) -> None:
    """Return when an object keeps to all bounds of its namespace.

    Raises:
        Forbidden: Names the LimitRange, and every field that does not keep to it.
    """
    kind = kind_of(obj).name
    for each in ranges:
        violations = [violation for item in each.spec.limits for violation in _CHECKS[kind](obj, item)]
        if violations:
            raise Forbidden(
                f'{kind} "{obj.metadata.name or obj.metadata.generate_name}" is forbidden by LimitRange '
                f'"{each.metadata.name}": {"; ".join(map(str, violations))}',
                {"limitRange": each.metadata.name, "field": violations[0].field},
            )


# ---------------------------------------------------------------- by kind


def _pod(pod: Pod, item: LimitRangeItem) -> Iterator[Violation]:
    if item.type == "Container":
        for name, containers in (("initContainers", pod.spec.init_containers), ("containers", pod.spec.containers)):
            for index, container in enumerate(containers):
                path = f"spec.{name}[{index}].resources"
                yield from _bounded(container.resources.requests, container.resources.limits, item, path)
    elif item.type == "Pod":
        requests, limits = _texts(pods.requests(pod.spec)), _texts(pods.limits(pod.spec))
        yield from _bounded(requests, limits, item, "spec.containers[*].resources")


def _claim(claim: Any, item: LimitRangeItem) -> Iterator[Violation]:
    if item.type != "PersistentVolumeClaim":
        return
    requests = claim.spec.resources.requests
    for name in sorted(item.min):
        yield from _at_least(requests, name, item.min[name], "spec.resources.requests")
    for name in sorted(item.max):
        yield from _at_most(requests, name, item.max[name], "spec.resources.requests")


_CHECKS: Mapping[str, Callable[[Any, LimitRangeItem], Iterator[Violation]]] = {
    "Pod": _pod,
    "PersistentVolumeClaim": _claim,
}


def _texts(amounts: Mapping[str, int]) -> dict[str, str]:
    return {name: quantity.from_milli(n) if name == pods.CPU else quantity.from_bytes(n) for name, n in amounts.items()}


# ---------------------------------------------------------------- bounds


def _bounded(requests: Amounts, limits: Amounts, item: LimitRangeItem, path: str) -> Iterator[Violation]:
    for name in sorted(item.min):
        yield from _at_least(requests, name, item.min[name], f"{path}.requests")
        if name in limits:
            yield from _at_least(limits, name, item.min[name], f"{path}.limits")
    for name in sorted(item.max):
        yield from _at_most(limits, name, item.max[name], f"{path}.limits")
        if name in requests:
            yield from _at_most(requests, name, item.max[name], f"{path}.requests")
    for name in sorted(item.max_limit_request_ratio):
        yield from _in_ratio(requests, limits, name, item.max_limit_request_ratio[name], path)


def _at_least(given: Amounts, name: str, least: str, path: str) -> Iterator[Violation]:
    if name not in given:
        yield Violation(f"{path}[{name}]", f"is required, and must be at least {least}")
    elif quantity.parse(given[name]) < quantity.parse(least):
        yield Violation(f"{path}[{name}]", f"must be at least {least}, not {given[name]}")


def _at_most(given: Amounts, name: str, most: str, path: str) -> Iterator[Violation]:
    if name not in given:
        yield Violation(f"{path}[{name}]", f"is required, and must be at most {most}")
    elif quantity.parse(given[name]) > quantity.parse(most):
        yield Violation(f"{path}[{name}]", f"must be at most {most}, not {given[name]}")


def _in_ratio(requests: Amounts, limits: Amounts, name: str, most: str, path: str) -> Iterator[Violation]:
    request, limit = quantity.parse(requests.get(name, "0")), quantity.parse(limits.get(name, "0"))
    if not request or not limit:
        missing = "requests" if not request else "limits"
        yield Violation(f"{path}.{missing}[{name}]", f"is required: a limit may be at most {most} times its request")
    elif limit / request > quantity.parse(most):
        ratio = f"{float(limit / request):g}"
        yield Violation(f"{path}.limits[{name}]", f"must be at most {most} times the request, not {ratio} times")
