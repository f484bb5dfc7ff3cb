"""LimitRanges: which are refused, what pods get from them, and which pods they refuse."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.admission import admit, apply_defaults, validate
from master.admission.limit_ranges import ANNOTATION, check_limits
from master.admission.surroundings import Surroundings
from podium.errors import Forbidden, Invalid
from podium.objects import quantity
from tests.support.policies import bounded_pod, claim, limit_range


def admitted(pod: Any, *ranges: Any) -> Any:
    """The pod, admitted to a namespace with these LimitRanges."""
    for each in ranges:
        apply_defaults(each)
        assert validate(each) == []
    admit(pod, around=Surroundings(limit_ranges=ranges))
    return pod


def resources(pod: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Requests and limits of the pod's first container."""
    found = pod.spec.containers[0].resources
    return dict(found.requests), dict(found.limits)


# ---------------------------------------------------------------- which are refused


@pytest.mark.parametrize(
    ("item", "field", "words"),
    [
        ({"type": "Node"}, "type", "must be one of Container, Pod, PersistentVolumeClaim"),
        ({"type": ""}, "type", "is required"),
        ({"max": {"gpu": 1}}, "max[gpu]", "must be one of cpu"),
        ({"min": {"cpu": -1}}, "min[cpu]", "must be at least 0"),
        ({"min": {"cpu": 2}, "max": {"cpu": 1}}, "min[cpu]", "must be at most max, 1, not 2"),
        ({"default": {"cpu": 2}, "max": {"cpu": 1}}, "default[cpu]", "must be at most max, 1, not 2"),
        ({"defaultRequest": {"cpu": 2}, "default": {"cpu": 1}}, "defaultRequest[cpu]", "must be at most default"),
        ({"min": {"memory": "2Gi"}, "defaultRequest": {"memory": "1Gi"}}, "min[memory]", "at most defaultRequest, 1Gi"),
        ({"maxLimitRequestRatio": {"cpu": "500m"}}, "maxLimitRequestRatio[cpu]", "at least 1, not 500m"),
        ({"maxLimitRequestRatio": {"cpu": 9}, "min": {"cpu": 1}, "max": {"cpu": 4}}, "maxLimitRequestRatio[cpu]", "4"),
        ({"type": "Pod", "default": {"cpu": 1}}, "default", 'must not be set when type is "Pod"'),
        ({"type": "PersistentVolumeClaim"}, "", "must have min[storage] or max[storage]"),
        ({"type": "PersistentVolumeClaim", "max": {"storage": 1, "cpu": 1}}, "max[cpu]", "must be one of storage"),
    ],
)
def test_limit_ranges_that_are_refused(item: dict[str, Any], field: str, words: str) -> None:
    made = limit_range(item)
    apply_defaults(made)
    found = {violation.field: violation.description for violation in validate(made)}
    assert words in found[f"spec.limits[0].{field}".removesuffix(".")]


def test_a_type_is_there_once_and_something_is() -> None:
    for made, field in ((limit_range({}, {}), "spec.limits[1].type"), (limit_range(), "spec.limits")):
        assert [v.field for v in validate(made)] == [field]


# ---------------------------------------------------------------- what pods get


def test_a_container_that_says_nothing_gets_the_defaults_and_a_note() -> None:
    limits = limit_range({"default": {"cpu": 1}, "defaultRequest": {"cpu": "500m", "memory": "64Mi"}})
    pod = admitted(bounded_pod(), limits)
    assert resources(pod) == ({"cpu": "500m", "memory": "64Mi"}, {"cpu": "1"})
    said = "LimitRanger plugin set: cpu, memory request for container c; cpu limit for container c"
    assert pod.metadata.annotations[ANNOTATION] == said
    assert pod.status.qos_class == "Burstable"


def test_what_is_said_stays_and_a_limit_is_the_request_before_any_default() -> None:
    limits = limit_range({"default": {"cpu": 1}, "defaultRequest": {"cpu": "500m"}})
    assert resources(admitted(bounded_pod(limits={"cpu": "200m"}), limits)) == ({"cpu": "200m"}, {"cpu": "200m"})
    assert resources(admitted(bounded_pod(requests={"cpu": "1"}), limits)) == ({"cpu": "1"}, {"cpu": "1"})
    pod = admitted(bounded_pod(requests={"cpu": "1"}, limits={"cpu": "2"}), limits)
    assert ANNOTATION not in pod.metadata.annotations


def test_the_most_is_the_default_limit_and_the_first_range_wins() -> None:
    first, second = limit_range({"max": {"cpu": 2}}), limit_range({"default": {"cpu": 1}}, name="second")
    assert resources(admitted(bounded_pod(), first, second)) == ({"cpu": "2"}, {"cpu": "2"})


def test_init_containers_are_containers() -> None:
    init = {"initContainers": [{"name": "i", "image": "i:1"}]}
    pod = admitted(bounded_pod(spec=init), limit_range({"default": {"memory": "1Gi"}}))
    assert dict(pod.spec.init_containers[0].resources.limits) == {"memory": "1Gi"}


# ---------------------------------------------------------------- which pods are refused


@pytest.mark.parametrize(
    ("item", "given_", "words"),
    [
        ({"min": {"cpu": "100m"}}, {"requests": {"cpu": "50m"}}, "containers[0].resources.requests[cpu]: must be at least 100m, not 50m"),
        ({"max": {"cpu": 1}}, {"limits": {"cpu": 2}}, "containers[0].resources.limits[cpu]: must be at most 1, not 2"),
        ({"max": {"cpu": 1}}, {"requests": {"cpu": 2}}, "requests[cpu]: must be at most"),
        ({"maxLimitRequestRatio": {"cpu": 2}}, {"requests": {"cpu": 1}, "limits": {"cpu": 3}}, "at most 2 times the request, not 3 times"),
        ({"maxLimitRequestRatio": {"cpu": 2}}, {"requests": {"cpu": 1}}, "limits[cpu]: is required"),
        ({"maxLimitRequestRatio": {"cpu": 2}}, {}, "requests[cpu]: is required"),
        ({"type": "Pod", "max": {"cpu": 1}}, {"limits": {"cpu": 2}}, "containers[*].resources.limits[cpu]: must be at most 1, not 2"),
        ({"type": "Pod", "min": {"memory": "1Gi"}}, {"requests": {"memory": "1Mi"}}, "must be at least 1Gi, not 1Mi"),
        ({"type": "Pod", "max": {"memory": "1Gi"}}, {}, "limits[memory]: is required, and must be at most 1Gi"),
    ],
)  # fmt: skip
def test_pods_out_of_bounds_are_forbidden_by_field(item: dict[str, Any], given_: dict[str, Any], words: str) -> None:
    bounds = limit_range(item)
    apply_defaults(bounds)
    pod = bounded_pod(**given_)
    apply_defaults(pod)
    with pytest.raises(Forbidden, match='Pod "p" is forbidden by LimitRange "limits"') as refused:
        check_limits(pod, [bounds])
    assert words in refused.value.message


def test_a_pod_that_runs_is_not_judged_anew() -> None:
    pod = admitted(bounded_pod(limits={"cpu": "2"}))
    changed = copy.deepcopy(pod)
    changed.metadata.labels["a"] = "b"
    admit(changed, pod, Surroundings(limit_ranges=[limit_range({"max": {"cpu": 1}})]))


amounts = st.integers(1, 64)


@given(low=amounts, high=amounts, request=st.none() | amounts, limit=st.none() | amounts)
def test_what_is_admitted_is_within_the_bounds(low: int, high: int, request: int | None, limit: int | None) -> None:
    """Whatever a container asks for: it is refused, or ends between the least and the most, its request included."""
    bounds = limit_range({"min": {"memory": low}, "max": {"memory": high}})
    apply_defaults(bounds)
    pod = bounded_pod(
        requests={} if request is None else {"memory": request}, limits={} if limit is None else {"memory": limit}
    )
    if low > high or (request is not None and limit is not None and request > limit):
        return
    try:
        admit(pod, around=Surroundings(limit_ranges=[bounds]))
    except Forbidden:
        asked = [amount for amount in (request, limit) if amount is not None]
        assert any(not low <= amount <= high for amount in asked)
        return
    except Invalid:
        assert request is not None
        assert request > high  # and so more than the limit that it was given
        return
    requested, limited = resources(pod)
    assert low <= quantity.value(requested["memory"]) <= quantity.value(limited["memory"]) <= high


@pytest.mark.parametrize(("size", "admitted_"), [("1Gi", True), ("2Gi", True), ("512Mi", False), ("3Gi", False)])
def test_claims_are_bounded_when_made_and_when_they_grow(size: str, admitted_: bool) -> None:
    bounds = limit_range({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}})
    if admitted_:
        check_limits(claim(size), [bounds])
        return
    with pytest.raises(Forbidden, match=r"spec\.resources\.requests\[storage\]: must be at"):
        check_limits(claim(size), [bounds])
