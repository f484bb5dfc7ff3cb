"""Steps of a canary rollout and metrics of an analysis, as the manifest has them: what one is, how it is told. Pure."""

from __future__ import annotations

from podium.v1.apps_pb2 import AnalysisMetric, AnalysisMetricStatus, CanaryStep

SET_WEIGHT, PAUSE, ANALYSIS = "set_weight", "pause", "analysis"

ABOVE_ZERO = "> 0"


def kind_of_step(step: CanaryStep) -> str:
    """The name of the one field that is set; validation lets no other steps in."""
    return next(field.name for field, _ in step.ListFields())


def step_text(step: CanaryStep) -> str:
    """`weight 20%`, `pause 30s`, `pause`, `analysis errors, latency`."""
    if step.HasField("set_weight"):
        return f"weight {step.set_weight}%"
    if step.HasField("pause"):
        return f"pause {step.pause.duration}".rstrip()
    return f"analysis {', '.join(m.name for m in step.analysis.metrics)}"


def conditions(metric: AnalysisMetric) -> tuple[str, str]:
    """The success and the failure condition; a fact of pods without any fails above 0."""
    good, bad = metric.success_condition, metric.failure_condition
    return (good, bad) if good or bad or not metric.HasField("pods") else ("", ABOVE_ZERO)


def wanted(metric: AnalysisMetric) -> str:
    """The conditions, told: `wanted: >= 0.99`, `not wanted: > 0`."""
    good, bad = conditions(metric)
    return "; ".join([*([f"wanted: {good}"] if good else []), *([f"not wanted: {bad}"] if bad else [])])


def metric_text(metric: AnalysisMetric, status: AnalysisMetricStatus) -> str:
    """`0.998 (wanted: >= 0.99), 3 of 5 passed`."""
    value = status.last_value or "no value"
    count = f"{status.passed} of {metric.count}" if metric.HasField("count") else str(status.passed)
    failed = f", {status.failed} failed" if status.failed else ""
    nothing = f", {status.inconclusive} told nothing" if status.inconclusive else ""
    why = f": {status.message}" if status.message and status.phase != "Failed" else ""
    return f"{value} ({wanted(metric)}), {count} passed{failed}{nothing}{why}"
