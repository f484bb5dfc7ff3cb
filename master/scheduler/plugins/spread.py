"""Replicas of one controller are spread over the nodes: a preference, never a refusal.

The score is 100, 50, 33, … for a node that has none, one, two, … of them: the first replica on a fresh node always
outweighs a moderate difference in load, and the pull fades as all nodes have many.
"""

from __future__ import annotations

import numpy as np

from master.scheduler.columns import Floats, RowArray
from master.scheduler.shape import Footprint
from master.scheduler.snapshot import Snapshot
from podium.v1.core_pb2 import Pod


class Spread:
    """Scorer; the need is the controller's uid."""

    name = "ReplicaSpread"
    weight = 2.0

    def sign(self, pod: Pod, footprint: Footprint) -> str | None:
        return footprint.group or None

    def score(self, need: str, cluster: Snapshot, rows: RowArray, depth: int) -> Floats:
        there = cluster.group_count(need, rows)[:, np.newaxis] + np.arange(depth, dtype=np.float64)
        score: Floats = 100.0 / (1.0 + there)
        return score
