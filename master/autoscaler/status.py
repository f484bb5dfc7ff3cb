"""What an autoscaler says of itself. Pure.

Figures move all the time, and are only worth a write now and then: `weighty` tells a change that somebody waits for
from one that is only news.
"""

from __future__ import annotations

import datetime

from master.autoscaler.facts import Observation
from master.autoscaler.horizontal import ABLE, ACTIVE, Decision, Finding
from podium.objects.conditions import remove_condition, set_condition
from podium.objects.meta import timestamp
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus


def decided_status(
    hpa: HorizontalPodAutoscaler, seen: Observation, decision: Decision, now: datetime.datetime
) -> HorizontalPodAutoscalerStatus:
    """After a decision was carried out."""
    status = _with_findings(hpa, decision.findings, now)
    status.current_replicas, status.desired_replicas = seen.there, decision.replicas
    del status.current_metrics[:]
    status.current_metrics.extend(decision.metrics)
    if decision.replicas != seen.wanted:
        status.last_scale_time.CopyFrom(timestamp(now))
    return status


def stuck_status(
    hpa: HorizontalPodAutoscaler, finding: Finding, now: datetime.datetime
) -> HorizontalPodAutoscalerStatus:
    """While nothing can be decided."""
    status = _with_findings(hpa, (finding,), now)
    del status.current_metrics[:]
    return status


def weighty(old: HorizontalPodAutoscalerStatus, new: HorizontalPodAutoscalerStatus) -> bool:
    """Whether more than figures and sentences differ."""
    return _bones(old) != _bones(new)


def newly_wrong(old: HorizontalPodAutoscalerStatus, findings: tuple[Finding, ...]) -> list[Finding]:
    """Findings that something is wrong which the last status did not have: each is worth an Event."""
    known = {(c.type, c.status, c.reason) for c in old.conditions}
    wrong = (one for one in findings if one.type in (ABLE, ACTIVE) and not one.status)
    return [one for one in wrong if (one.type, "False", one.reason) not in known]


def _with_findings(
    hpa: HorizontalPodAutoscaler, findings: tuple[Finding, ...], now: datetime.datetime
) -> HorizontalPodAutoscalerStatus:
    status = HorizontalPodAutoscalerStatus()
    status.CopyFrom(hpa.status)
    status.observed_generation = hpa.metadata.generation
    told = {one.type for one in findings}
    for condition in hpa.status.conditions:
        if condition.type not in told:
            remove_condition(status.conditions, condition.type)
    for one in findings:
        set_condition(
            status.conditions,
            one.type,
            "True" if one.status else "False",
            now=now,
            reason=one.reason,
            message=one.message,
        )
    return status


def _bones(status: HorizontalPodAutoscalerStatus) -> HorizontalPodAutoscalerStatus:
    bare = HorizontalPodAutoscalerStatus()
    bare.CopyFrom(status)
    del bare.current_metrics[:]
    for condition in bare.conditions:
        condition.message = ""
    return bare
