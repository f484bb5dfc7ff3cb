"""What the past allows: stabilization over what was wanted before, and limits on how fast to change. Pure.

A `History` is what one autoscaler wanted and did, as far back as its rules look. It is kept in memory: after a restart
of the master it begins with what the target has then, as if that had just been wanted, so that nothing goes down before
a whole window has been seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from podium.v1.autoscaling_pb2 import HPAScalingPolicy, HPAScalingRules

LONGEST_WINDOW, LONGEST_PERIOD = 3600.0, 1800.0
"""Seconds; validation allows no longer ones."""
_PERCENT = 100

_Choice = Callable[[list[int]], int]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Replicas that the metrics proposed, without a break until `at`."""

    at: float
    replicas: int


@dataclass(frozen=True, slots=True)
class Scaled:
    """A change that was made: more or, below zero, fewer."""

    at: float
    change: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """See the module. Oldest first; times are monotonic seconds."""

    wanted: tuple[Wanted, ...] = ()
    scaled: tuple[Scaled, ...] = ()

    def wants(self, replicas: int, now: float) -> History:
        """With one more proposal; the same as the last only moves its time."""
        kept = [one for one in self.wanted if now - one.at <= LONGEST_WINDOW]
        if kept and kept[-1].replicas == replicas:
            kept.pop()
        return replace(self, wanted=(*kept, Wanted(now, replicas)))

    def scales(self, change: int, now: float) -> History:
        """With one more change that was made."""
        kept = [one for one in self.scaled if now - one.at <= LONGEST_PERIOD]
        return replace(self, scaled=(*kept, Scaled(now, change)))


def stabilize(
    proposed: int, replicas: int, history: History, *, up_window: float, down_window: float, now: float
) -> int:
    """The number nearest to what there is among what was proposed lately: up goes to the least, down to the greatest.

    Args:
        proposed: By the metrics, now.
        replicas: What the target has.
    """
    least = min([proposed, *_lately(history, up_window, now)])
    most = max([proposed, *_lately(history, down_window, now)])
    return min(max(replicas, least), most)


def _lately(history: History, window: float, now: float) -> Iterable[int]:
    return (one.replicas for one in history.wanted if one.at > now - window)


def up_limit(rules: HPAScalingRules, replicas: int, history: History, now: float) -> int:
    """The most replicas that the rules allow now; never fewer than there are."""
    if rules.select_policy == "Disabled":
        return replicas
    limits = [_up(policy, _at_start(policy, replicas, history, now)) for policy in rules.policies]
    return max(replicas, _chosen(rules, limits, most=max, least=min))


def down_limit(rules: HPAScalingRules, replicas: int, history: History, now: float) -> int:
    """The fewest replicas that the rules allow now; never more than there are."""
    if rules.select_policy == "Disabled":
        return replicas
    limits = [_down(policy, _at_start(policy, replicas, history, now)) for policy in rules.policies]
    return min(replicas, max(0, _chosen(rules, limits, most=min, least=max)))


def _chosen(rules: HPAScalingRules, limits: list[int], *, most: _Choice, least: _Choice) -> int:
    return (least if rules.select_policy == "Min" else most)(limits)


def _up(policy: HPAScalingPolicy, start: int) -> int:
    if policy.type == "Pods":
        return start + policy.value
    # A share of nothing would never leave zero.
    return max(1, math.ceil(start * (1 + Fraction(policy.value, _PERCENT))))


def _down(policy: HPAScalingPolicy, start: int) -> int:
    if policy.type == "Pods":
        return start - policy.value
    return math.floor(start * (1 - Fraction(policy.value, _PERCENT)))


def _at_start(policy: HPAScalingPolicy, replicas: int, history: History, now: float) -> int:
    """What there was when the policy's period began."""
    return replicas - sum(one.change for one in history.scaled if one.at > now - policy.period_seconds)
