"""Taints and tolerations: a node's NoSchedule and NoExecute taints keep away pods that do not tolerate them.

PreferNoSchedule only lowers the score. A cordoned node (`spec.unschedulable`) is a taint too, with a sentence of its
own. Of several taints the first is blamed, so that every refused node is counted once.
"""

from __future__ import annotations

import numpy as np

from master.scheduler.columns import Bools, Floats, RowArray, Rows
from master.scheduler.framework import Reasons
from master.scheduler.shape import Footprint
from master.scheduler.snapshot import UNSCHEDULABLE, Cause, Snapshot, TaintKey
from master.scheduler.tolerance import Tolerances, tolerances_of, tolerated, untolerated
from podium.v1.core_pb2 import Pod

CORDONED = "node(s) were unschedulable"


class Taints:
    """Filter and scorer; the need is the tolerations."""

    name = "TaintToleration"
    wakes_on = Cause.TAINTS_CHANGED
    evictable = False
    weight = 3.0

    def sign(self, pod: Pod, footprint: Footprint) -> Tolerances:
        return tolerances_of(pod)

    def mask(self, need: Tolerances, cluster: Snapshot, rows: Rows) -> Bools:
        mask: Bools = tolerated(need, cluster)[rows]
        return mask

    def explain(self, need: Tolerances, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        reasons: list[Reasons] = [()] * rows.size
        for taint, where in untolerated(need, cluster, hard=True):
            for index in np.flatnonzero(where[rows]):
                reasons[index] = reasons[index] or (_reason(taint),)
        return reasons

    def score(self, need: Tolerances, cluster: Snapshot, rows: RowArray, depth: int) -> Floats:
        disliked = np.zeros(rows.size)
        for _, where in untolerated(need, cluster, hard=False):
            disliked += where[rows]
        score: Floats = (100.0 / (1.0 + disliked))[:, np.newaxis]
        return score


def _reason(taint: TaintKey) -> str:
    if taint.key == UNSCHEDULABLE:
        return CORDONED
    return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
