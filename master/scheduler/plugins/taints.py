"""Taints and tolerations: a node's NoSchedule and NoExecute taints keep away pods that do not tolerate them.

PreferNoSchedule only lowers the score. A cordoned node (`spec.unschedulable`) is a taint too, with a sentence of its
own. Of several taints the first is blamed, so that every refused node is counted once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from master.scheduler.columns import Bools, Floats, RowArray, Rows
from master.scheduler.framework import Reasons
from master.scheduler.shape import Footprint
from master.scheduler.snapshot import UNSCHEDULABLE, Cause, Snapshot, TaintKey
from podium.v1.core_pb2 import Pod

CORDONED = "node(s) were unschedulable"


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


class Taints:
    """Filter and scorer; the need is the tolerations."""

    name = "TaintToleration"
    wakes_on = Cause.TAINTS_CHANGED
    evictable = False
    weight = 3.0

    def sign(self, pod: Pod, footprint: Footprint) -> Tolerances:
        return tuple(
            sorted({Tolerance(t.key, t.operator == "Exists", t.value, t.effect) for t in pod.spec.tolerations})
        )

    def mask(self, need: Tolerances, cluster: Snapshot, rows: Rows) -> Bools:
        refused = np.zeros(cluster.capacity, dtype=np.bool_)
        for _, where in _untolerated(need, cluster, hard=True):
            refused |= where
        mask: Bools = ~refused[rows]
        return mask

    def explain(self, need: Tolerances, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        reasons: list[Reasons] = [()] * rows.size
        for taint, where in _untolerated(need, cluster, hard=True):
            for index in np.flatnonzero(where[rows]):
                reasons[index] = reasons[index] or (_reason(taint),)
        return reasons

    def score(self, need: Tolerances, cluster: Snapshot, rows: RowArray, depth: int) -> Floats:
        disliked = np.zeros(rows.size)
        for _, where in _untolerated(need, cluster, hard=False):
            disliked += where[rows]
        score: Floats = (100.0 / (1.0 + disliked))[:, np.newaxis]
        return score


def _untolerated(need: Tolerances, cluster: Snapshot, *, hard: bool) -> Iterator[tuple[TaintKey, Bools]]:
    """Taints that matter, the cordon first, then as they were first seen."""
    for taint, where in sorted(cluster.taints.items(), key=lambda item: item[0].key != UNSCHEDULABLE):
        if taint.hard is hard and not any(tolerance.covers(taint) for tolerance in need):
            yield taint, where


def _reason(taint: TaintKey) -> str:
    if taint.key == UNSCHEDULABLE:
        return CORDONED
    return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
