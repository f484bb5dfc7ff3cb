"""A pod that names its node goes there and nowhere else (`spec.nodeName`)."""

from __future__ import annotations

import numpy as np

from master.scheduler.columns import Bools, RowArray, Rows
from master.scheduler.framework import Reasons
from master.scheduler.shape import Footprint
from master.scheduler.snapshot import Cause, Snapshot
from podium.v1.core_pb2 import Pod

REASON = "node(s) didn't match the requested node name"


class NodeName:
    """Filter; the need is the node's name."""

    name = "NodeName"
    wakes_on = Cause.NODE_ADDED
    evictable = False

    def sign(self, pod: Pod, footprint: Footprint) -> str | None:
        return pod.spec.node_name or None

    def mask(self, need: str, cluster: Snapshot, rows: Rows) -> Bools:
        mask = np.zeros(cluster.capacity, dtype=np.bool_)
        row = cluster.row(need)
        if row is not None:
            mask[row] = True
        found: Bools = mask[rows]
        return found

    def explain(self, need: str, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        return [(REASON,)] * rows.size
