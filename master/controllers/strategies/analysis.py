"""Analyses: when to measure, and what measurements amount to. Pure; `master.controllers.analysis` measures.

A measurement passes, fails, or tells nothing (an error, no data, a value between both conditions). A metric

    fails   when more than `failureLimit` failed, or more than `inconclusiveLimit` in a row told nothing
    passes  when `count` have passed or failed; without a count it goes on until the rollout ends

and the analysis fails with its first metric, and passes when all have. It begins when its status does; all that must
outlive the master is in there.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

from master.controllers.strategies.steps import Failure
from podium.objects.comparison import satisfies
from podium.objects.duration import seconds
from podium.objects.meta import micro_timestamp, seconds_since
from podium.objects.steps import conditions, wanted
from podium.v1.apps_pb2 import AnalysisMetric, AnalysisMetricStatus, AnalysisStatus, RolloutAnalysis

RUNNING, PASSED, FAILED = "Running", "Passed", "Failed"
REASON = "AnalysisFailed"

DEFAULT_INTERVAL = 10.0
DEFAULT_INCONCLUSIVE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What measuring gave: a value, or why there is none."""

    metric: str
    value: float | None = None
    error: str = ""


def begin(now: datetime.datetime) -> AnalysisStatus:
    """An analysis that has measured nothing yet."""
    return AnalysisStatus(phase=RUNNING, started_time=micro_timestamp(now))


def failure(status: AnalysisStatus) -> Failure | None:
    """Why the rollout must not go on, if it must not."""
    return Failure(reason=REASON, message=status.message) if status.phase == FAILED else None


def due(
    spec: RolloutAnalysis, status: AnalysisStatus, now: datetime.datetime
) -> tuple[list[AnalysisMetric], float | None]:
    """The metrics to measure now, and in how many seconds the next of the others is due."""
    waits = [(metric, wait) for metric in spec.metrics if (wait := _wait(metric, status, now)) is not None]
    later = [wait for _, wait in waits if wait > 0]
    return [metric for metric, wait in waits if wait <= 0], min(later, default=None)


def _wait(metric: AnalysisMetric, status: AnalysisStatus, now: datetime.datetime) -> float | None:
    known = _known(status, metric.name)
    if status.phase != RUNNING or (known is not None and known.phase != RUNNING):
        return None
    if known is None or not known.HasField("last_measured_time"):
        delay = seconds(metric.initial_delay) if metric.initial_delay else 0.0
        return delay - seconds_since(status.started_time, now)
    return interval(metric) - seconds_since(known.last_measured_time, now)


def interval(metric: AnalysisMetric) -> float:
    """Seconds between measurements."""
    return seconds(metric.interval) if metric.interval else DEFAULT_INTERVAL


def record(
    spec: RolloutAnalysis, before: AnalysisStatus, measurement: Measurement, now: datetime.datetime
) -> AnalysisStatus:
    """The analysis with one more measurement."""
    status = AnalysisStatus()
    status.CopyFrom(before)
    metric = next((m for m in spec.metrics if m.name == measurement.metric), None)
    if metric is None or status.phase != RUNNING:
        return status
    entry = _known(status, metric.name)
    if entry is None:
        entry = status.metrics.add(name=metric.name, phase=RUNNING)
    _count(metric, entry, measurement)
    entry.last_measured_time.CopyFrom(micro_timestamp(now))
    entry.phase, entry.message = _judge(metric, entry)
    _conclude(spec, status)
    return status


def _known(status: AnalysisStatus, name: str) -> AnalysisMetricStatus | None:
    return next((m for m in status.metrics if m.name == name), None)


def _count(metric: AnalysisMetric, entry: AnalysisMetricStatus, measurement: Measurement) -> None:
    entry.last_value = f"{measurement.value:.6g}" if measurement.value is not None else ""
    entry.message = measurement.error
    verdict = judge_value(metric, measurement.value)
    if verdict is None:
        entry.inconclusive += 1
        return
    entry.inconclusive = 0
    entry.passed += verdict
    entry.failed += not verdict


def judge_value(metric: AnalysisMetric, value: float | None) -> bool | None:
    """Whether a value is good; None when it tells nothing."""
    good, bad = conditions(metric)
    if value is None or value != value:  # not a number: a rate of nothing
        return None
    if bad and satisfies(bad, value):
        return False
    if good and satisfies(good, value):
        return True
    return None if good and bad else bool(bad)


def _judge(metric: AnalysisMetric, entry: AnalysisMetricStatus) -> tuple[str, str]:
    limit = metric.inconclusive_limit if metric.HasField("inconclusive_limit") else DEFAULT_INCONCLUSIVE
    if entry.failed > metric.failure_limit:
        return FAILED, f"{entry.last_value} is not good ({wanted(metric)})"
    if entry.inconclusive > limit:
        why = entry.message or (f"{entry.last_value} tells nothing" if entry.last_value else "no data")
        return FAILED, f"{entry.inconclusive} measurements in a row told nothing: {why}"
    if metric.HasField("count") and entry.passed + entry.failed >= metric.count:
        return PASSED, entry.message
    return RUNNING, entry.message


def _conclude(spec: RolloutAnalysis, status: AnalysisStatus) -> None:
    failed = next((m for m in status.metrics if m.phase == FAILED), None)
    if failed is not None:
        status.phase, status.message = FAILED, f"analysis failed: {failed.name}: {failed.message}"
        return
    passed = {m.name for m in status.metrics if m.phase == PASSED}
    if all(m.name in passed for m in spec.metrics):
        status.phase = PASSED


def expand(query: str, words: Mapping[str, str]) -> str:
    """A query with $(HASH) and its like filled in."""
    for name, text in words.items():
        query = query.replace(f"$({name})", text)
    return query
