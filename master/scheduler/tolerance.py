"""Tolerations as values, and the taints of nodes that they leave untolerated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from master.scheduler.columns import Bools
from master.scheduler.snapshot import UNSCHEDULABLE, Snapshot, TaintKey
from podium.v1.core_pb2 import Pod


class Tolerance(NamedTuple):
    """One toleration; an empty key with `exists` tolerates every taint, an empty effect every effect."""

    key: str
    exists: bool
    value: str
    effect: str

    def covers(self, taint: TaintKey) -> bool:
        """Whether the taint is tolerated."""
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        return self.exists or (bool(self.key) and self.value == taint.value)


Tolerances = tuple[Tolerance, ...]


def tolerances_of(pod: Pod) -> Tolerances:
    """Read a pod's tolerations; their order means nothing."""
    return tuple(sorted({Tolerance(t.key, t.operator == "Exists", t.value, t.effect) for t in pod.spec.tolerations}))


def untolerated(need: Tolerances, cluster: Snapshot, *, hard: bool) -> Iterator[tuple[TaintKey, Bools]]:
    """Taints that matter, the cordon first, then as they were first seen."""
    for taint, where in sorted(cluster.taints.items(), key=lambda item: item[0].key != UNSCHEDULABLE):
        if taint.hard is hard and not any(tolerance.covers(taint) for tolerance in need):
            yield taint, where


def tolerated(need: Tolerances, cluster: Snapshot) -> Bools:
    """The rows without a taint that keeps such pods away."""
    refused = np.zeros(cluster.capacity, dtype=np.bool_)
    for _, where in untolerated(need, cluster, hard=True):
        refused |= where
    return ~refused
