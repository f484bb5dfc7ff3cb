"""Crash-loop arithmetic: how long a container that ended waits before it runs again.

A run's *level* counts the quick ends in a row before it; it is kept in a label of the container, so the nodelet's own
restart forgets nothing. A run that lasted ten minutes, or a change of the container's configuration, starts over at 0.
Defaults: 1 s, doubling, at most 300 s; `spec.crashLoopBackOff` tunes both ends for one pod.
"""

from __future__ import annotations

from dataclasses import dataclass

from podium.aio.backoff import Backoff
from podium.settings import parse_duration
from podium.v1.core_pb2 import PodSpec

INITIAL_SECONDS = 1.0
MAXIMUM_SECONDS = 300.0
STEADY_SECONDS = 600.0
"""A run that lasted so long is forgiven all before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashLoop:
    """A pod's bounds, in seconds."""

    initial: float = INITIAL_SECONDS
    maximum: float = MAXIMUM_SECONDS

    def delay(self, level: int) -> float:
        """Seconds between the end of the run before and the start of a run of this level."""
        return Backoff(initial=self.initial, maximum=self.maximum).delay(level)


def crash_loop(spec: PodSpec) -> CrashLoop:
    """The pod's bounds; durations were validated by the master, an unreadable one falls back to the default."""
    wanted = spec.crash_loop_back_off
    initial = _seconds(wanted.initial_delay, INITIAL_SECONDS)
    return CrashLoop(initial=initial, maximum=max(initial, _seconds(wanted.max_delay, MAXIMUM_SECONDS)))


def next_level(level: int, ran_seconds: float) -> int:
    """The level of the run after one that had `level` and lasted `ran_seconds`."""
    return 1 if ran_seconds >= STEADY_SECONDS else level + 1


def _seconds(text: str, default: float) -> float:
    try:
        return max(0.0, parse_duration(text)) if text else default
    except ValueError:
        return default
