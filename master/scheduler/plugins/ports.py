"""Ports of the node's own addresses: two pods with the same one cannot share a node.

Ports conflict when protocol and number are equal and either address is a wildcard or both are the same.
"""

from __future__ import annotations

import numpy as np

from master.scheduler.columns import Ints, RowArray, Rows
from master.scheduler.framework import Reasons
from master.scheduler.shape import Footprint
from master.scheduler.snapshot import Cause, Snapshot
from podium.objects.pod import HostPort
from podium.v1.core_pb2 import Pod

REASON = "node(s) didn't have free ports for the requested pod ports"


class HostPorts:
    """Meter; the need is the ports. A node takes one such pod, or none."""

    name = "NodePorts"
    wakes_on = Cause.PODS_LEFT
    evictable = True

    def sign(self, pod: Pod, footprint: Footprint) -> tuple[HostPort, ...] | None:
        return footprint.ports or None

    def room(self, need: tuple[HostPort, ...], cluster: Snapshot, rows: Rows, evicting: bool) -> Ints:
        room = np.ones(cluster.capacity, dtype=np.int64)
        if not evicting:
            for port in need:
                room[cluster.port_taken(port)] = 0
        found: Ints = room[rows]
        return found

    def explain(self, need: tuple[HostPort, ...], cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        return [(REASON,)] * rows.size
