"""Defaults of autoscaling/v2: one replica at least, CPU at 80 %, and rules that let a target double every 15 s."""

from __future__ import annotations

from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler, HPAScalingPolicy, HPAScalingRules

_MIN_REPLICAS = 1
_CPU_UTILIZATION = 80
_PERIOD_SECONDS = 15
_UP = (
    HPAScalingPolicy(type="Pods", value=4, period_seconds=_PERIOD_SECONDS),
    HPAScalingPolicy(type="Percent", value=100, period_seconds=_PERIOD_SECONDS),
)
_DOWN = (HPAScalingPolicy(type="Percent", value=100, period_seconds=_PERIOD_SECONDS),)


def horizontal_pod_autoscaler(obj: HorizontalPodAutoscaler) -> None:
    """Bounds, a metric, and whole rules where `behavior` is given at all.

    Left open: how long going down is stabilized, and tolerances. Those are the master's to set.
    """
    spec = obj.spec
    if not spec.HasField("min_replicas"):
        spec.min_replicas = _MIN_REPLICAS
    if not spec.metrics:
        resource = spec.metrics.add(type="Resource").resource
        resource.name, resource.target.type = "cpu", "Utilization"
        resource.target.average_utilization = _CPU_UTILIZATION
    if spec.HasField("behavior"):
        up, down = spec.behavior.scale_up, spec.behavior.scale_down
        if not up.HasField("stabilization_window_seconds"):
            up.stabilization_window_seconds = 0
        _rules(up, _UP)
        _rules(down, _DOWN)


def _rules(rules: HPAScalingRules, policies: tuple[HPAScalingPolicy, ...]) -> None:
    if not rules.select_policy:
        rules.select_policy = "Max"
    if not rules.policies:
        rules.policies.extend(policies)
