"""`nodeSelector` and node affinity: labels that a node must have, and labels that make it better.

Preferred terms add their weight to the score.
"""

from __future__ import annotations

import numpy as np

from master.scheduler.columns import Bools, Floats, RowArray, Rows
from master.scheduler.framework import Reasons
from master.scheduler.node_terms import Demand, all_of, demand_of, matching
from master.scheduler.shape import Footprint
from master.scheduler.snapshot import Cause, Snapshot
from podium.v1.core_pb2 import Pod

REASON = "node(s) didn't match Pod's node affinity/selector"


class NodeAffinity:
    """Filter and scorer; the need is a Demand."""

    name = "NodeAffinity"
    wakes_on = Cause.LABELS_CHANGED
    evictable = False
    weight = 2.0

    def sign(self, pod: Pod, footprint: Footprint) -> Demand | None:
        return demand_of(pod)

    def mask(self, need: Demand, cluster: Snapshot, rows: Rows) -> Bools:
        found: Bools = matching(need, cluster)[rows]
        return found

    def explain(self, need: Demand, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        return [(REASON,)] * rows.size

    def score(self, need: Demand, cluster: Snapshot, rows: RowArray, depth: int) -> Floats:
        liked = np.zeros(rows.size)
        for weight, term in need.preferred:
            liked += weight * all_of(term, cluster)[rows]
        best = sum(weight for weight, _ in need.preferred)
        score: Floats = (100.0 * liked / max(best, 1))[:, np.newaxis]
        return score
