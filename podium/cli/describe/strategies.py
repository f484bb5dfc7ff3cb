"""A Deployment's strategy, and the state that it is in."""

from __future__ import annotations

from podium.cli.describe.page import Page
from podium.objects.steps import metric_text, step_text, wanted
from podium.v1.apps_pb2 import (
    AnalysisMetric,
    AnalysisStatus,
    BlueGreenDeployment,
    BlueGreenStatus,
    CanaryDeployment,
    CanaryStatus,
    Deployment,
    RolloutAnalysis,
)
from podium.v1.meta_pb2 import IntOrString


def strategy(page: Page, obj: Deployment) -> None:
    """Type, what it may do, and how far it is."""
    spec, status = obj.spec.strategy, obj.status
    page.field("Strategy", spec.type)
    if spec.HasField("rolling_update"):
        page.field("RollingUpdate", _movement(spec.rolling_update.max_unavailable, spec.rolling_update.max_surge))
    if spec.HasField("rollback"):
        page.field("RollbackOnFailure", spec.rollback.on_failure)
    if spec.type == "BlueGreen":
        _blue_green(page, spec.blue_green, status.blue_green)
    if spec.type == "Canary":
        _canary(page, spec.canary, status.canary)
    if status.HasField("aborted"):
        aborted = status.aborted
        with page.section("Rolled Back"):
            page.field("Held Back", f"revision {aborted.revision} ({aborted.hash})")
            page.field("Because", f"{aborted.reason}: {aborted.message}")
            page.field("Runs Instead", f"revision {aborted.returned_to_revision} ({aborted.returned_to_hash})")
            page.field("Problems", "\n".join(aborted.problems))


def _blue_green(page: Page, spec: BlueGreenDeployment, status: BlueGreenStatus) -> None:
    after = f" after {spec.auto_promotion_seconds} s" if spec.auto_promotion_seconds else ""
    with page.section("BlueGreen"):
        page.field("Promotion", f"by itself{after}" if spec.auto_promotion else "by `podium rollout promote`")
        page.field("Keeps Previous", f"{spec.scale_down_delay_seconds} s")
        page.field("Active", _revision(status.active_revision, status.active_hash))
        page.field("Preview", _revision(status.preview_revision, status.preview_hash))
        page.field("Previous", _revision(status.previous_revision, status.previous_hash))
        _analysis(page, spec.analysis, status.analysis)


def _canary(page: Page, spec: CanaryDeployment, status: CanaryStatus) -> None:
    under_way = bool(status.canary_hash)
    with page.section("Canary"):
        page.field("Limits", _movement(spec.max_unavailable, spec.max_surge))
        page.field("Stable", _revision(status.stable_revision, status.stable_hash))
        page.field("New", _revision(status.canary_revision, status.canary_hash))
        page.field("Weight", f"{status.weight}%" if under_way else "")
        steps = [f"{_mark(under_way, i, status.current_step_index)} {step_text(s)}" for i, s in enumerate(spec.steps)]
        page.field("Steps", "\n".join(steps))
        if under_way and status.current_step_index < len(spec.steps):
            _analysis(page, spec.steps[status.current_step_index].analysis, status.analysis)
        _analysis(page, spec.analysis, status.background)


def _mark(under_way: bool, index: int, current: int) -> str:
    if not under_way or index > current:
        return "·"
    return "▶" if index == current else "✓"


def _analysis(page: Page, spec: RolloutAnalysis, status: AnalysisStatus) -> None:
    page.field("Analysis", "\n".join(f"{m.name}: {_metric(m, status)}" for m in spec.metrics))


def _metric(metric: AnalysisMetric, status: AnalysisStatus) -> str:
    measured = next((m for m in status.metrics if m.name == metric.name), None)
    return metric_text(metric, measured) if measured is not None else wanted(metric)


def _revision(number: int, digest: str) -> str:
    return f"revision {number} ({digest})" if digest else ""


def _movement(unavailable: IntOrString, surge: IntOrString) -> str:
    return f"{_amount(unavailable)} max unavailable, {_amount(surge)} max surge"


def _amount(value: IntOrString) -> str:
    return str(value.str_value) if value.HasField("str_value") else str(value.int_value)
