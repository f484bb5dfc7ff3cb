"""Rules of a Deployment's strategy: only the part of its type, steps that say one thing, analyses that can judge."""

from __future__ import annotations

from google.protobuf.message import Message

from master.admission.validation.shares import amount, share
from master.admission.validation.walk import FieldRule, Findings, MessageRule, between
from podium.errors import BadRequest, Violation
from podium.objects import duration
from podium.objects.comparison import is_comparison
from podium.v1.apps_pb2 import (
    AnalysisMetric,
    BlueGreenDeployment,
    CanaryDeployment,
    CanaryPause,
    CanaryStep,
    DeploymentStrategy,
    RollingUpdateDeployment,
    RolloutAnalysis,
)
from podium.v1.meta_pb2 import IntOrString

_PARTS = {"rolling_update": ("RollingUpdate", "rollingUpdate"), "blue_green": ("BlueGreen", "blueGreen")}
_PARTS["canary"] = ("Canary", "canary")
_FORM = "must be a comparison such as >= 0.99"


def _strategy(strategy: DeploymentStrategy, path: str, findings: Findings) -> None:
    present = {field.name for field, _ in strategy.ListFields()}
    for name, (type_, json) in _PARTS.items():
        if name in present and strategy.type != type_:
            findings.append(Violation(f"{path}.{json}", f'must not be set when type is "{strategy.type}"'))
    if strategy.resize == "InPlace" and strategy.type != "RollingUpdate":
        said = f'must not be "InPlace" when type is "{strategy.type}": only a RollingUpdate resizes pods in place'
        findings.append(Violation(f"{path}.resize", said))


# ---------------------------------------------------------------- surge


def _rolling_update(rolling: RollingUpdateDeployment, path: str, findings: Findings) -> None:
    _movement(rolling.max_surge, rolling.max_unavailable, path, findings)


def _movement(max_surge: IntOrString, max_unavailable: IntOrString, path: str, findings: Findings) -> None:
    unavailable = share(max_unavailable, f"{path}.maxUnavailable", findings)
    surge = amount(max_surge, f"{path}.maxSurge", findings)
    if unavailable == 0 and surge == 0 and max_unavailable.WhichOneof("value"):
        findings.append(Violation(f"{path}.maxUnavailable", "must not be 0 when maxSurge is 0: nothing could move"))


# ---------------------------------------------------------------- blue/green, canary


def _blue_green(spec: BlueGreenDeployment, path: str, findings: Findings) -> None:
    if spec.auto_promotion_seconds and not spec.auto_promotion:
        hint = "leave autoPromotion out, or promote with `podium rollout promote`"
        findings.append(Violation(f"{path}.autoPromotionSeconds", "must not be set when autoPromotion is false", hint))


def _canary(spec: CanaryDeployment, path: str, findings: Findings) -> None:
    _movement(spec.max_surge, spec.max_unavailable, path, findings)


def _step(step: CanaryStep, path: str, findings: Findings) -> None:
    told = [field.json_name for field, _ in step.ListFields()]
    if len(told) != 1:
        said = " and ".join(told) or "none"
        findings.append(Violation(path, f"must have exactly one of setWeight, pause and analysis, not {said}"))


def _pause(pause: CanaryPause, path: str, findings: Findings) -> None:
    if pause.duration:
        _seconds(pause.duration, f"{path}.duration", findings)


def _seconds(text: str, path: str, findings: Findings) -> float | None:
    try:
        found = duration.seconds(text)
    except BadRequest as error:
        findings.append(Violation(path, error.message))
        return None
    if found < 0:
        findings.append(Violation(path, f"must not be negative, not {text}"))
    return found


# ---------------------------------------------------------------- analysis


def _analysis(analysis: RolloutAnalysis, path: str, findings: Findings) -> None:
    seen: set[str] = set()
    for index, metric in enumerate(analysis.metrics):
        if metric.name in seen:
            findings.append(Violation(f"{path}.metrics[{index}].name", f'must be unique: "{metric.name}" is twice'))
        seen.add(metric.name)


def _metric(metric: AnalysisMetric, path: str, findings: Findings) -> None:
    sources = [name for name in ("prometheus", "pods") if any(f.name == name for f, _ in metric.ListFields())]
    if len(sources) != 1:
        said = " and ".join(sources) or "none"
        findings.append(Violation(path, f"must have exactly one of prometheus and pods, not {said}"))
    good, bad = metric.success_condition, metric.failure_condition
    if not good and not bad and "prometheus" in sources:
        findings.append(Violation(f"{path}.successCondition", "is required, or failureCondition", "such as >= 0.99"))
    for name, condition in (("successCondition", good), ("failureCondition", bad)):
        if condition and not is_comparison(condition):
            findings.append(Violation(f"{path}.{name}", f'{_FORM}, not "{condition}"'))
    if metric.interval:
        seconds = _seconds(metric.interval, f"{path}.interval", findings)
        if seconds is not None and 0 <= seconds < 1:
            findings.append(Violation(f"{path}.interval", f"must be at least 1s, not {metric.interval}"))
    if metric.initial_delay:
        _seconds(metric.initial_delay, f"{path}.initialDelay", findings)


MESSAGES: dict[type[Message], MessageRule] = {
    DeploymentStrategy: _strategy,
    RollingUpdateDeployment: _rolling_update,
    BlueGreenDeployment: _blue_green,
    CanaryDeployment: _canary,
    CanaryStep: _step,
    CanaryPause: _pause,
    RolloutAnalysis: _analysis,
    AnalysisMetric: _metric,
}

FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (BlueGreenDeployment, "preview_replicas"): between(1),
    (BlueGreenDeployment, "auto_promotion_seconds"): between(0),
    (BlueGreenDeployment, "scale_down_delay_seconds"): between(0),
    (CanaryStep, "set_weight"): between(0, 100),
    (AnalysisMetric, "count"): between(1),
    (AnalysisMetric, "failure_limit"): between(0),
    (AnalysisMetric, "inconclusive_limit"): between(0),
}
