"""Thresholds: from single answers to a verdict. Pure.

A verdict changes only after `success_threshold` healthy or `failure_threshold` unhealthy answers in a row. Until the
first change a readiness probe holds its container for not ready, a startup probe for not started, and a liveness probe
for alive.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from podium.v1.core_pb2 import Probe


class ProbeKind(Enum):
    """What a probe's verdict decides."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """A probe's schedule in seconds and its thresholds, Kubernetes' defaults filled in."""

    initial_delay: float
    period: float
    successes: int
    failures: int


def timing(probe: Probe) -> Timing:
    """Read a probe."""
    return Timing(
        initial_delay=float(max(0, probe.initial_delay_seconds)),
        period=float(probe.period_seconds or 10),
        successes=probe.success_threshold or 1,
        failures=probe.failure_threshold or 3,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """A probe's verdict so far (None: none yet), and how many answers in a row were alike."""

    verdict: bool | None = None
    streak: int = 0
    last: bool | None = None

    def fold(self, healthy: bool, rules: Timing) -> Tally:
        """Take in one more answer."""
        streak = self.streak + 1 if healthy is self.last else 1
        counted = replace(self, streak=streak, last=healthy)
        needed = rules.successes if healthy else rules.failures
        return replace(counted, verdict=healthy) if streak >= needed else counted


def first_attempt(now: float, started: float, rules: Timing, spread: float) -> float:
    """When to probe a container first, given when it started.

    One that has run past its initial delay already (the nodelet restarted) is probed within a period, at the share
    `spread` of it, so that many adopted ones are not probed in one moment.
    """
    due = started + rules.initial_delay
    return due if due >= now else now + rules.period * spread
