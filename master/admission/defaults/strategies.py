"""Defaults of a Deployment's strategy.

What an earlier default filled in for another type goes when the type changes: who changes the type did not write it,
and could not know that it is in the way.
"""

from __future__ import annotations

from podium.v1.apps_pb2 import (
    BlueGreenDeployment,
    CanaryDeployment,
    DeploymentStrategy,
    RollingUpdateDeployment,
    RolloutAnalysis,
)

_SHARE = "25%"
_SCALE_DOWN_DELAY_SECONDS = 30
_INTERVAL = "10s"
_INCONCLUSIVE_LIMIT = 4


def strategy(obj: DeploymentStrategy) -> None:
    """A rolling update by quarters."""
    if not obj.type:
        obj.type = "RollingUpdate"
    _drop_what_was_filled_in(obj)
    match obj.type:
        case "RollingUpdate":
            _shares(obj.rolling_update)
        case "BlueGreen":
            _blue_green(obj.blue_green)
        case "Canary":
            _canary(obj.canary)
        case _:
            pass
    if obj.HasField("rollback") and not obj.rollback.on_failure:
        obj.rollback.on_failure = "Never"


def _drop_what_was_filled_in(obj: DeploymentStrategy) -> None:
    if obj.type != "RollingUpdate" and obj.rolling_update == _filled_rolling_update():
        obj.ClearField("rolling_update")
    if obj.type != "BlueGreen" and obj.blue_green == _filled_blue_green():
        obj.ClearField("blue_green")
    if obj.type != "Canary" and obj.canary == _filled_canary():
        obj.ClearField("canary")


def _filled_rolling_update() -> RollingUpdateDeployment:
    rolling = RollingUpdateDeployment()
    _shares(rolling)
    return rolling


def _filled_blue_green() -> BlueGreenDeployment:
    blue_green = BlueGreenDeployment()
    _blue_green(blue_green)
    return blue_green


def _filled_canary() -> CanaryDeployment:
    canary = CanaryDeployment()
    _canary(canary)
    return canary


def _shares(rolling: RollingUpdateDeployment | CanaryDeployment) -> None:
    if not rolling.HasField("max_unavailable"):
        rolling.max_unavailable.str_value = _SHARE
    if not rolling.HasField("max_surge"):
        rolling.max_surge.str_value = _SHARE


def _blue_green(blue_green: BlueGreenDeployment) -> None:
    if not blue_green.HasField("auto_promotion"):
        blue_green.auto_promotion = True
    if not blue_green.HasField("scale_down_delay_seconds"):
        blue_green.scale_down_delay_seconds = _SCALE_DOWN_DELAY_SECONDS
    if blue_green.HasField("analysis"):
        _analysis(blue_green.analysis, ends=True)


def _canary(canary: CanaryDeployment) -> None:
    _shares(canary)
    if canary.HasField("analysis"):
        _analysis(canary.analysis, ends=False)
    for step in canary.steps:
        if step.HasField("analysis"):
            _analysis(step.analysis, ends=True)


def _analysis(analysis: RolloutAnalysis, *, ends: bool) -> None:
    for metric in analysis.metrics:
        if not metric.interval:
            metric.interval = _INTERVAL
        if not metric.HasField("inconclusive_limit"):
            metric.inconclusive_limit = _INCONCLUSIVE_LIMIT
        if ends and not metric.HasField("count"):
            metric.count = 1
