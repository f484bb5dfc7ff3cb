"""What is refused of autoscalers, by path; and that good ones are taken."""

from __future__ import annotations

from typing import Any

import pytest

from master.admission import apply_defaults, validate
from podium.codec.json import object_from_dict

CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
QUEUE = {
    "type": "External",
    "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}},
}
METRIC = "spec.metrics[0]"


def hpa(*metrics: Any, **spec: Any) -> Any:
    whole = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 5}
    made = object_from_dict(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web"},
            "spec": whole | {"metrics": list(metrics)} | spec,
        }
    )
    apply_defaults(made)
    return made


def resource(target: Any, name: str = "cpu") -> Any:
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def external(target: Any, **metric: Any) -> Any:
    return {"type": "External", "external": {"metric": {"name": "queue"} | metric, "target": target}}


def refusals(obj: Any) -> dict[str, str]:
    return {violation.field: violation.description for violation in validate(obj)}


def behavior(**rules: Any) -> Any:
    return hpa(behavior={"scaleUp": rules})


@pytest.mark.parametrize(
    "good",
    [
        hpa(),
        hpa(CPU, QUEUE, minReplicas=0),
        hpa(scaleTargetRef={"kind": "ReplicationController", "name": "web"}),
        hpa(external({"type": "Value", "value": "1500m"}, name="any name", query="sum(up)")),
        behavior(selectPolicy="Disabled", tolerance="0.05", stabilizationWindowSeconds=3600),
    ],
)
def test_good_ones_pass(good: Any) -> None:
    assert validate(good) == []


def test_defaults() -> None:
    spec = hpa().spec
    assert (spec.min_replicas, spec.metrics[0].resource.target.average_utilization) == (1, 80)
    assert not spec.HasField("behavior")
    up, down = behavior(tolerance="0").spec.behavior.scale_up, behavior(tolerance="0").spec.behavior.scale_down
    assert [(p.type, p.value, p.period_seconds) for p in up.policies] == [("Pods", 4, 15), ("Percent", 100, 15)]
    assert [(p.type, p.value, p.period_seconds) for p in down.policies] == [("Percent", 100, 15)]
    assert (up.stabilization_window_seconds, down.HasField("stabilization_window_seconds")) == (0, False)


@pytest.mark.parametrize(
    ("bad", "field", "words"),
    [
        (hpa(maxReplicas=0), "spec.maxReplicas", "is required"),
        (hpa(maxReplicas=-1), "spec.maxReplicas", "at least 1"),
        (hpa(minReplicas=6), "spec.maxReplicas", "must be at least minReplicas, 6, not 5"),
        (hpa(minReplicas=-1), "spec.minReplicas", "must be at least 0"),
        (hpa(CPU, minReplicas=0), "spec.minReplicas", "must be at least 1 without an Object or External metric"),
        (hpa(scaleTargetRef={"kind": "Pod", "name": "x"}), "spec.scaleTargetRef.kind", "must be of a kind that can be"),
        (hpa(scaleTargetRef={"kind": "Deployment"}), "spec.scaleTargetRef.name", "is required"),
        (
            hpa(scaleTargetRef={"apiVersion": "v1", "kind": "Deployment", "name": "x"}),
            "spec.scaleTargetRef.apiVersion",
            'must be "apps/v1" for Deployment, not "v1"',
        ),
        (hpa({"type": "Magic"}), f"{METRIC}.type", "must be one of Object, Pods"),
        (hpa({"type": "Resource"}), f"{METRIC}.resource", 'is required when type is "Resource"'),
        (hpa(CPU | {"external": QUEUE["external"]}), f"{METRIC}.external", "must not be set when type is"),
        (hpa(resource({"type": "Value", "value": "1"})), f"{METRIC}.resource.target.type", "must be Utilization or Av"),
        (hpa(resource({"type": "Utilization"})), f"{METRIC}.resource.target.averageUtilization", "is required when"),
        (
            hpa(resource({"type": "Utilization", "averageUtilization": 50, "averageValue": "1"})),
            f"{METRIC}.resource.target.averageValue",
            "must not be set",
        ),
        (
            hpa(resource({"type": "Utilization", "averageUtilization": 0})),
            f"{METRIC}.resource.target.averageUtilization",
            "must be greater than 0",
        ),
        (hpa(resource({"type": "AverageValue", "averageValue": "1"}, "disk")), f"{METRIC}.resource.name", "one of cpu"),
        (hpa(external({"type": "Value", "value": "-1"})), f"{METRIC}.external.target.value", "greater than 0, not -1"),
        (hpa(external({"type": "Value", "value": "1"}, name="a-b")), f"{METRIC}.external.metric.name", "a series"),
        (
            hpa(external({"type": "Value", "value": "1"}, query="up", selector={"matchLabels": {"a": "b"}})),
            f"{METRIC}.external.metric.selector",
            "must not be set beside a query",
        ),
        (
            hpa({"type": "ContainerResource", "containerResource": CPU["resource"]}),
            f"{METRIC}.containerResource.container",
            "is required",
        ),
        (
            behavior(policies=[{"type": "Pods", "value": 0, "periodSeconds": 15}]),
            "spec.behavior.scaleUp.policies[0].value",
            "is required",
        ),
        (
            behavior(policies=[{"type": "Pods", "value": 1, "periodSeconds": 1801}]),
            "spec.behavior.scaleUp.policies[0].periodSeconds",
            "between 1 and 1800",
        ),
        (
            behavior(stabilizationWindowSeconds=3601),
            "spec.behavior.scaleUp.stabilizationWindowSeconds",
            "between 0 and 3600",
        ),
        (behavior(selectPolicy="Most"), "spec.behavior.scaleUp.selectPolicy", "must be one of Max, Min, Disabled"),
        (behavior(tolerance="-0.1"), "spec.behavior.scaleUp.tolerance", "must be at least 0"),
    ],
)
def test_bad_ones_are_refused_by_field(bad: Any, field: str, words: str) -> None:
    found = refusals(bad)
    assert list(found) == [field]
    assert words in found[field]
