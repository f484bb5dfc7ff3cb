"""What a strategy is completed with, and what of it is refused, by field."""

from __future__ import annotations

from typing import Any

import pytest

from master.admission import apply_defaults, validate
from podium.codec.json import from_dict
from podium.v1.apps_pb2 import Deployment


def _admitted(strategy: dict[str, Any]) -> tuple[Deployment, dict[str, str]]:
    labels = {"app": "web"}
    made = from_dict(
        Deployment,
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": labels}, "strategy": strategy,
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
            },
        },
    )  # fmt: skip
    apply_defaults(made)
    return made, {v.field.removeprefix("spec.strategy."): v.description for v in validate(made)}


def _canary(**canary: Any) -> dict[str, Any]:
    return {"type": "Canary", "canary": canary}


def _metric(**metric: Any) -> dict[str, Any]:
    return _canary(analysis={"metrics": [{"name": "m", **metric}]})


@pytest.mark.parametrize(
    ("strategy", "field", "says"),
    [
        ({"type": "Canary", "blueGreen": {"previewReplicas": 2}}, "blueGreen", 'type is "Canary"'),
        ({"type": "Recreate", "rollingUpdate": {"maxSurge": 2}}, "rollingUpdate", 'type is "Recreate"'),
        ({"type": "BlueGreen", "blueGreen": {"previewReplicas": 0}}, "blueGreen.previewReplicas", "at least 1"),
        (
            {"type": "BlueGreen", "blueGreen": {"autoPromotion": False, "autoPromotionSeconds": 5}},
            "blueGreen.autoPromotionSeconds",
            "autoPromotion is false",
        ),
        ({"type": "Green"}, "type", "BlueGreen"),
        ({"resize": "Sometimes"}, "resize", "Replace, InPlace"),
        ({"type": "Recreate", "resize": "InPlace"}, "resize", "only a RollingUpdate"),
        ({"rollback": {"onFailure": "Sometimes"}}, "rollback.onFailure", "Automatic"),
        (_canary(steps=[{}]), "canary.steps[0]", "exactly one"),
        (_canary(steps=[{"setWeight": 20, "pause": {}}]), "canary.steps[0]", "setWeight and pause"),
        (_canary(steps=[{"setWeight": 120}]), "canary.steps[0].setWeight", "between 0 and 100"),
        (_canary(maxSurge=0, maxUnavailable=0), "canary.maxUnavailable", "nothing could move"),
        (_canary(steps=[{"analysis": {}}]), "canary.steps[0].analysis.metrics", "required"),
        (_metric(), "canary.analysis.metrics[0]", "exactly one of prometheus and pods"),
        (_metric(prometheus={"query": "up"}), "canary.analysis.metrics[0].successCondition", "required"),
        (_metric(prometheus={}, successCondition="> 1"), "canary.analysis.metrics[0].prometheus.query", "required"),
        (
            _metric(pods={"fact": "Restarts"}, failureCondition="many"),
            "canary.analysis.metrics[0].failureCondition",
            "comparison",
        ),
        (_metric(pods={"fact": "Mood"}), "canary.analysis.metrics[0].pods.fact", "Restarts"),
        (_metric(pods={"fact": "Restarts"}, interval="100ms"), "canary.analysis.metrics[0].interval", "at least 1s"),
        (_metric(pods={"fact": "Restarts"}, count=0), "canary.analysis.metrics[0].count", "at least 1"),
    ],
)
def test_a_strategy_that_cannot_be_is_refused_by_field(strategy: dict[str, Any], field: str, says: str) -> None:
    _, refused = _admitted(strategy)
    assert says in refused[field]


def test_the_same_metric_twice_is_refused() -> None:
    twice = {"metrics": [{"name": "m", "pods": {"fact": "Restarts"}}] * 2}
    _, refused = _admitted(_canary(analysis=twice))
    assert "unique" in refused["canary.analysis.metrics[1].name"]


def test_defaults_of_the_strategies() -> None:
    green, refused = _admitted({"type": "BlueGreen"})
    assert not refused
    assert green.spec.strategy.blue_green.auto_promotion
    assert green.spec.strategy.blue_green.scale_down_delay_seconds == 30
    steps = [{"analysis": {"metrics": [{"name": "m", "pods": {"fact": "Restarts"}}]}}]
    canary, refused = _admitted({**_canary(steps=steps), "rollback": {}})
    metric = canary.spec.strategy.canary.steps[0].analysis.metrics[0]
    assert (refused, metric.interval, metric.count, metric.inconclusive_limit) == ({}, "10s", 1, 4)
    assert canary.spec.strategy.canary.max_surge.str_value == "25%"
    assert canary.spec.strategy.rollback.on_failure == "Never"


@pytest.mark.parametrize("type_", ["Recreate", "BlueGreen", "Canary"])
def test_what_a_default_filled_in_for_another_type_is_not_in_the_way(type_: str) -> None:
    made, _ = _admitted({})
    made.spec.strategy.type = type_
    apply_defaults(made)
    assert not validate(made)
    assert not made.spec.strategy.HasField("rolling_update")
