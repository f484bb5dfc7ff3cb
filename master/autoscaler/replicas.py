"""How many replicas one metric proposes. Pure; the algorithm is Kubernetes' (autoscaling/v2).

The target's figure over the pods' is a ratio; within the tolerance around 1 nothing is to be done, else the pods that
were measured, times the ratio, rounded up. What is not known is assumed to damp the change:

    missing figures   going down: as if at the full request (or the target, if higher); going up: as if at zero
    unready pods      left out; going up: as if at zero
    over              left out altogether

If the assumption turns the direction around, nothing is done. Numbers are exact: 10 pods at 110 % are 11, not 12.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from master.autoscaler.facts import Figure, PodFacts, Tuning

PENDING = "Pending"
_PERCENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far under and over the target is let be."""

    down: Fraction
    up: Fraction

    def holds(self, ratio: Fraction) -> bool:
        """Whether nothing is to be done."""
        return 1 - self.down <= ratio <= 1 + self.up


class NoFigures(Exception):
    """Nothing can be concluded; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The pods by what is known of them: amounts of those that count, and names of the others."""

    counted: Mapping[str, int]
    unready: frozenset[str]
    missing: frozenset[str]


class Gauge(Protocol):
    """How amounts compare with the target."""

    def ratio(self, amounts: Mapping[str, int]) -> Fraction:
        """What is, over what should be."""
        ...

    def full(self, pod: str) -> int:
        """The amount of a pod that does all it can."""
        ...


@dataclass(frozen=True, slots=True)
class Utilization:
    """In percent of what the pods request."""

    target: int
    requests: Mapping[str, int]

    def percent(self, amounts: Mapping[str, int]) -> int:
        """Raises: NoFigures: the pods request nothing."""
        requested = sum(self.requests[pod] for pod in amounts)
        if not requested:
            raise NoFigures("the pods request none of it: a share of nothing is no figure")
        return sum(amounts.values()) * _PERCENT // requested

    def ratio(self, amounts: Mapping[str, int]) -> Fraction:
        """See Gauge."""
        return Fraction(self.percent(amounts), self.target)

    def full(self, pod: str) -> int:
        """See Gauge."""
        return self.requests[pod] * max(_PERCENT, self.target) // _PERCENT


@dataclass(frozen=True, slots=True)
class Average:
    """A mean over the pods."""

    target: int

    @staticmethod
    def mean(amounts: Mapping[str, int]) -> int:
        """Of the amounts."""
        return sum(amounts.values()) // len(amounts)

    def ratio(self, amounts: Mapping[str, int]) -> Fraction:
        """See Gauge."""
        return Fraction(self.mean(amounts), self.target)

    def full(self, pod: str) -> int:
        """See Gauge."""
        return self.target


def group(pods: Iterable[PodFacts], figures: Mapping[str, Figure], *, cpu: bool, now: float, tuning: Tuning) -> Groups:
    """Tell the pods whose figures count from those that are not ready for it, and from those without."""
    counted: dict[str, int] = {}
    unready, missing = set(), set()
    for pod in pods:
        if pod.over:
            continue
        figure = figures.get(pod.name)
        if pod.phase == PENDING:
            unready.add(pod.name)
        elif figure is None:
            missing.add(pod.name)
        elif cpu and _warming_up(pod, figure, now, tuning):
            unready.add(pod.name)
        else:
            counted[pod.name] = figure.amount
    return Groups(counted=counted, unready=frozenset(unready), missing=frozenset(missing))


def _warming_up(pod: PodFacts, figure: Figure, now: float, tuning: Tuning) -> bool:
    """Whether CPU is what the pod takes to start, or what it took before it was ready."""
    if pod.ready is None or pod.started is None:
        return True
    if now < pod.started + tuning.cpu_initialization:
        return not pod.ready or figure.at < pod.ready_changed + figure.window
    return not pod.ready and pod.started + tuning.readiness_delay > pod.ready_changed


def by_pods(groups: Groups, gauge: Gauge, replicas: int, tolerance: Tolerance) -> int:
    """What a metric of pods proposes, with `replicas` of them wanted now.

    Raises:
        NoFigures: No pod was measured.
    """
    known = groups.counted
    if not known:
        raise NoFigures("no pod was measured: the pods may not be ready yet")
    ratio = gauge.ratio(known)
    up_with_unready = bool(groups.unready) and ratio > 1
    if not up_with_unready and not groups.missing:
        return replicas if tolerance.holds(ratio) else math.ceil(ratio * len(known))
    assumed = dict(known)
    if ratio != 1:
        assumed |= {pod: gauge.full(pod) if ratio < 1 else 0 for pod in groups.missing}
    if up_with_unready:
        assumed |= dict.fromkeys(groups.unready, 0)
    damped = gauge.ratio(assumed)
    if tolerance.holds(damped) or (damped > 1) is not (ratio > 1):
        return replicas
    proposed = math.ceil(damped * len(assumed))
    against = proposed > replicas if damped < 1 else proposed < replicas
    return replicas if against else proposed


def by_value(amount: int, target: int, *, replicas: int, ready: int, tolerance: Tolerance) -> int:
    """What one figure proposes that all pods together should bring to its target; from zero as well.

    While none of them is ready, none is taken away.
    """
    ratio = Fraction(amount, target)
    if replicas and tolerance.holds(ratio):
        return replicas
    return math.ceil(ratio * ready) if ready else max(replicas, math.ceil(ratio))


def by_share(amount: int, target: int, *, there: int, tolerance: Tolerance) -> int:
    """What one figure proposes of which each of the pods that are there should have its share."""
    if there and tolerance.holds(Fraction(amount, target * there)):
        return there
    return math.ceil(Fraction(amount, target))


def ready_pods(pods: Iterable[PodFacts]) -> int:
    """How many pods are ready, of those that count."""
    return sum(1 for pod in pods if pod.ready and not pod.over)
