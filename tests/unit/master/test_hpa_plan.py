"""Decisions: the greatest proposal, bounds, what cannot be read, and conditions that say how it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.admission import apply_defaults
from master.autoscaler.behavior import History
from master.autoscaler.facts import Figure, Observation, OfOne, OfPods, PodFacts, Reading, Tuning, Unread
from master.autoscaler.horizontal import Decision, plan_scale
from podium.codec.json import object_from_dict
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscalerSpec

NOW, WALL = 1000.0, 1_800_000_000.0
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
QUEUE = {
    "type": "External",
    "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}},
}
RATE = {"type": "External", "external": {"metric": {"name": "rate"}, "target": {"type": "Value", "value": "100"}}}
LOST = Unread("FailedGetExternalMetric", "external metric queue: Prometheus is not there")


def spec(
    *metrics: Mapping[str, Any], least: int = 1, most: int = 10, behavior: Any = None
) -> HorizontalPodAutoscalerSpec:
    hpa: Any = object_from_dict(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "minReplicas": least,
                "maxReplicas": most,
                "metrics": list(metrics),
                **({"behavior": behavior} if behavior else {}),
            },
        }
    )
    apply_defaults(hpa)
    made: HorizontalPodAutoscalerSpec = hpa.spec
    return made


def pods(count: int) -> tuple[PodFacts, ...]:
    old = WALL - 3600
    return tuple(
        PodFacts(name=f"p{n}", phase="Running", ready=True, started=old, ready_changed=old) for n in range(count)
    )


def cpu(count: int, percent: int) -> OfPods:
    names = [f"p{n}" for n in range(count)]
    return OfPods(figures=dict.fromkeys(names, Figure(percent * 10, WALL, 1)), requests=dict.fromkeys(names, 1000))


def decide(
    made: HorizontalPodAutoscalerSpec, replicas: int, readings: Sequence[Reading], history: History | None = None
) -> Decision:
    seen = Observation(
        spec=made, wanted=replicas, there=replicas, pods=pods(replicas), readings=tuple(readings), now=WALL
    )
    return plan_scale(seen, history or History(), now=NOW, tuning=Tuning())


def conditions(decision: Decision) -> dict[str, tuple[bool, str]]:
    return {one.type: (one.status, one.reason) for one in decision.findings}


def message(decision: Decision, type_: str) -> str:
    return next(one.message for one in decision.findings if one.type == type_)


def test_load_that_doubles_doubles_the_replicas() -> None:
    decision = decide(spec(CPU), 3, [cpu(3, 100)])
    assert (decision.replicas, decision.because) == (6, "cpu resource utilization (percentage of request) above target")
    assert conditions(decision) == {
        "AbleToScale": (True, "SucceededRescale"),
        "ScalingActive": (True, "ValidMetricFound"),
        "ScalingLimited": (False, "DesiredWithinRange"),
    }
    assert message(decision, "ScalingActive") == (
        "cpu resource utilization (percentage of request) is 100% of what the pods request, target 50% (of 3 pods): "
        "2.00 times the target asks for 6"
    )
    (metric,) = decision.metrics
    assert metric.resource.current.average_utilization == 100
    assert metric.resource.current.average_value == "1"
    assert [(one.at, one.change) for one in decision.history.scaled] == [(NOW, 3)]


def test_a_steady_load_changes_nothing() -> None:
    decision = decide(spec(CPU), 3, [cpu(3, 52)])
    assert (decision.replicas, decision.because) == (3, "")
    assert conditions(decision)["AbleToScale"] == (True, "ReadyForNewScale")
    assert message(decision, "ScalingActive").endswith("1.04 times the target is within the tolerance")
    assert not decision.history.scaled


def test_going_down_waits_for_a_whole_window() -> None:
    began = History().wants(6, NOW - 100)
    held = decide(spec(CPU), 6, [cpu(6, 10)], began)
    assert held.replicas == 6
    assert conditions(held)["AbleToScale"] == (True, "ScaleDownStabilized")
    assert message(held, "AbleToScale") == "2 would do now, but up to 6 were recommended within the last 300 s"
    freed = decide(spec(CPU), 6, [cpu(6, 10)], History().wants(6, NOW - 301))
    assert (freed.replicas, freed.because) == (2, "All metrics below target")


def test_a_window_of_its_own() -> None:
    made = spec(CPU, behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    assert decide(made, 6, [cpu(6, 10)], History().wants(6, NOW - 1)).replicas == 2


def test_the_greatest_of_several_counts() -> None:
    decision = decide(spec(CPU, QUEUE, RATE), 3, [cpu(3, 100), OfOne(70_000), OfOne(100_000)])
    assert decision.replicas == 7
    assert "external metric queue is 70 in all, target 10 a pod" in message(decision, "ScalingActive")
    assert len(decision.metrics) == 3


@pytest.mark.parametrize(
    ("percent", "replicas", "active"),
    [(100, 6, (True, "ValidMetricFound")), (10, 3, (False, "FailedGetExternalMetric"))],
    ids=["up", "down"],
)
def test_while_something_cannot_be_read_nothing_goes_down(
    percent: int, replicas: int, active: tuple[bool, str]
) -> None:
    decision = decide(spec(CPU, QUEUE), 3, [cpu(3, percent), LOST])
    assert decision.replicas == replicas
    assert conditions(decision)["ScalingActive"] == active
    assert [metric.type for metric in decision.metrics] == ["Resource", "External"]
    assert not decision.metrics[1].external.HasField("current")


def test_what_cannot_be_read_is_told() -> None:
    decision = decide(spec(QUEUE), 3, [LOST])
    assert (decision.replicas, decision.fault) == (3, LOST.message)
    assert conditions(decision) == {
        "AbleToScale": (True, "SucceededGetScale"),
        "ScalingActive": (False, "FailedGetExternalMetric"),
    }
    unmeasured = decide(spec(CPU), 3, [OfPods(figures={}, requests={})])
    assert "no pod was measured" in unmeasured.fault
    gone = decide(spec(CPU), 0, [OfPods(figures={}, requests={})])
    assert conditions(gone)["ScalingActive"] == (False, "ScalingDisabled")


@pytest.mark.parametrize(
    ("replicas", "to", "because", "limited"),
    [
        (12, 10, "Current number of replicas above Spec.MaxReplicas", "TooManyReplicas"),
        (1, 2, "Current number of replicas below Spec.MinReplicas", "TooFewReplicas"),
    ],
)
def test_bounds_hold_whatever_the_metrics_say(replicas: int, to: int, because: str, limited: str) -> None:
    decision = decide(spec(QUEUE, least=2), replicas, [LOST])
    assert (decision.replicas, decision.because) == (to, because)
    assert conditions(decision)["ScalingLimited"] == (True, limited)


@pytest.mark.parametrize(
    ("percent", "behavior", "replicas", "reason"),
    [
        (500, None, 8, "ScaleUpLimit"),
        (150, {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}, 5, "ScaleUpLimit"),
        (150, {"scaleUp": {"selectPolicy": "Disabled"}}, 4, "ScaleUpLimit"),
        (120, None, 8, "ScaleUpLimit"),
        (70, {"scaleUp": {"stabilizationWindowSeconds": 0}}, 6, "DesiredWithinRange"),
        (5, {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}, 3, "ScaleDownLimit"),
        (5, None, 2, "TooFewReplicas"),
    ],
)
def test_rules_limit_how_fast(percent: int, behavior: Any, replicas: int, reason: str) -> None:
    decision = decide(spec(CPU, least=2, most=20, behavior=behavior), 4, [cpu(4, percent)])
    assert decision.replicas == replicas
    assert conditions(decision)["ScalingLimited"][1] == reason


def test_no_more_than_the_most() -> None:
    decision = decide(spec(CPU, most=5), 4, [cpu(4, 100)])
    assert decision.replicas == 5
    assert message(decision, "ScalingLimited") == "the desired replica count, 8, is more than maxReplicas, 5"


def test_to_zero_and_from_zero() -> None:
    made = spec(QUEUE, least=0)
    assert decide(made, 2, [OfOne(0)]).replicas == 0
    asleep = decide(made, 0, [OfOne(0)])
    assert (asleep.replicas, conditions(asleep)["ScalingActive"]) == (0, (True, "ValidMetricFound"))
    assert decide(made, 0, [OfOne(1)]).replicas == 1
    assert decide(made, 0, [OfOne(35_000)]).replicas == 4
    assert decide(made, 0, [LOST]).replicas == 0


def test_a_target_that_was_set_to_zero_is_left_alone() -> None:
    assert decide(spec(QUEUE), 0, [OfOne(10**6)]).replicas == 0


@given(
    st.integers(1, 5),
    st.integers(0, 40),
    st.integers(0, 60),
    st.lists(st.tuples(st.floats(0, 400), st.integers(0, 60)), max_size=5),
    st.integers(0, 1000),
)
def test_a_decision_is_within_bounds_and_not_against_its_proposal(
    least: int, more: int, replicas: int, past: list[tuple[float, int]], percent: int
) -> None:
    history = History()
    for ago, count in sorted(past, reverse=True):
        history = history.wants(count, NOW - ago)
    decision = decide(spec(CPU, least=least, most=least + more), replicas, [cpu(replicas, percent)], history)
    if replicas == 0:
        assert decision.replicas == 0
        return
    assert least <= decision.replicas <= least + more
    if least <= replicas <= least + more:
        if percent > 55:
            assert decision.replicas >= replicas
        if percent < 45:
            assert decision.replicas <= replicas
    assert bool(decision.because) == (decision.replicas != replicas)


@given(st.integers(1, 30), st.integers(0, 300), st.integers(0, 400))
def test_decided_twice_is_decided_once(replicas: int, percent: int, later: int) -> None:
    """Crashed after the write, before anything else: the same load on the new number of replicas asks for no more."""
    made = spec(CPU, most=100)
    first = decide(made, replicas, [cpu(replicas, percent)])
    if first.replicas <= replicas or conditions(first)["ScalingLimited"][0]:
        return
    load = percent * replicas // first.replicas
    again = decide(made, first.replicas, [cpu(first.replicas, load)], History().wants(first.replicas, NOW))
    assert again.replicas == first.replicas
