"""Autoscalers in words: the column of targets, the page, and the paragraph that explains a figure."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from podium.cli.describe.autoscaling import autoscaler, explanation
from podium.cli.describe.page import Page
from podium.cli.output.autoscaling import targets
from podium.codec.json import object_from_dict
from podium.objects.conditions import set_condition
from podium.objects.meta import timestamp
from podium.v1.apps_pb2 import Deployment
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
METRIC = {"metric": {"name": "queue"}}


def hpa(*metrics: tuple[str, Any, Any], **spec: Any) -> HorizontalPodAutoscaler:
    """Of (type, source, current) each."""
    field = {"ContainerResource": "containerResource"}
    made: Any = object_from_dict(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "minReplicas": 1,
                "maxReplicas": 5,
                "metrics": [{"type": t, field.get(t, t.lower()): source} for t, source, _ in metrics],
                **spec,
            },
            "status": {
                "currentMetrics": [
                    {"type": t, field.get(t, t.lower()): {"current": current} if current else {}}
                    for t, _, current in metrics
                ]
            },
        }
    )
    typed: HorizontalPodAutoscaler = made
    return typed


CPU = (
    "Resource",
    {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
    {"averageUtilization": 72},
)


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (hpa(CPU), "cpu: 72%/50%"),
        (hpa((*CPU[:2], None)), "cpu: <unknown>/50%"),
        (
            hpa(
                ("ContainerResource", {**CPU[1], "container": "app"}, {"averageUtilization": 9}),
                (
                    "Pods",
                    {**METRIC, "target": {"type": "AverageValue", "averageValue": "10"}},
                    {"averageValue": "1500m"},
                ),
            ),
            "cpu of app: 9%/50%, queue: 1500m/10 (avg)",
        ),
        (
            hpa(
                (
                    "Object",
                    {
                        **METRIC,
                        "describedObject": {"kind": "Ingress", "name": "main"},
                        "target": {"type": "Value", "value": "2k"},
                    },
                    {"value": "300"},
                ),
                (
                    "External",
                    {**METRIC, "target": {"type": "AverageValue", "averageValue": "30"}},
                    {"averageValue": "4"},
                ),
            ),
            "queue of ingress/main: 300/2k, queue: 4/30 (avg)",
        ),
    ],
)
def test_targets(obj: HorizontalPodAutoscaler, text: str) -> None:
    assert targets(obj) == text


def test_before_the_first_look_nothing_is_known() -> None:
    fresh = hpa(CPU)
    fresh.ClearField("status")
    assert targets(fresh) == "cpu: <unknown>/50%"


def target(replicas: int, *, paused: bool = False) -> Deployment:
    made = Deployment()
    made.spec.replicas, made.spec.paused = replicas, paused
    return made


def test_the_paragraph_says_what_holds_the_number() -> None:
    obj = hpa(CPU)
    found = obj.status.conditions
    set_condition(found, "AbleToScale", "True", now=NOW, reason="ScaleDownStabilized", message="2 would do now")
    set_condition(found, "ScalingActive", "True", now=NOW, reason="ValidMetricFound", message="cpu is 72%")
    set_condition(found, "ScalingLimited", "False", now=NOW, reason="DesiredWithinRange", message="in range")
    obj.status.last_scale_time.CopyFrom(timestamp(NOW - datetime.timedelta(seconds=30)))
    assert explanation(obj, target(3, paused=True), NOW) == (
        "Deployment web is to have 3 replicas, of between 1 and 5. Cpu is 72%. 2 would do now. It was last scaled 30s "
        "ago. Its rollout is paused: replicas follow the load all the same, its template does not."
    )


def test_the_paragraph_without_a_figure() -> None:
    obj = hpa(CPU)
    assert explanation(obj, None, NOW).startswith('Deployment "web" does not exist')
    assert explanation(obj, target(1), NOW).endswith("The autoscaler has not looked at it yet.")
    set_condition(obj.status.conditions, "ScalingActive", "False", now=NOW, reason="Failed", message="no pod is ready")
    assert explanation(obj, target(1), NOW).endswith("1 replica, of between 1 and 5. No figure: no pod is ready.")


def test_the_page_shows_metrics_and_rules() -> None:
    rules = {"stabilizationWindowSeconds": 60, "policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}]}
    page = Page()
    autoscaler(page, hpa(CPU, behavior={"scaleDown": rules}), NOW)
    text = str(page)
    for words in ("Deployment/web", "cpu      72%       50%", "60 s", "10 percent in 60 s"):
        assert words in text
