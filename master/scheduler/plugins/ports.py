"""Ports of the node's own addresses: two pods with the same one cannot share a node.

Ports conflict when protocol and number are equal and either address is a wildcard or both are the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from master.scheduler.columns import Ints, RowArray, Rows
from master.scheduler.framework import Reasons
from master.scheduler.shape import Footprint
from master.scheduler.snapshot import Cause, Snapshot
from podium.objects.pod import HostPort
from podium.v1.core_pb2 import Pod

REASON = "node(s) didn't have free ports for the requested pod ports"


class Ports(NamedTuple):
    """The ports, and the priority: what more important pods have been promised is taken."""

    ports: tuple[HostPort, ...]
    priority: int


class HostPorts:
    """Meter; the need is a Ports. A node takes one such pod, or none."""

    name = "NodePorts"
    wakes_on = Cause.PODS_LEFT
    evictable = True

    def sign(self, pod: Pod, footprint: Footprint) -> Ports | None:
        return Ports(footprint.ports, footprint.priority) if footprint.ports else None

    def room(self, need: Ports, cluster: Snapshot, rows: Rows, evicting: bool) -> Ints:
        room = np.ones(cluster.capacity, dtype=np.int64)
        if not evicting:
            for port in need.ports:
                room[cluster.port_taken(port)] = 0
        for row, other in cluster.promised(need.priority):
            if any(port.conflicts(theirs) for port in need.ports for theirs in other.ports):
                room[row] = 0
        found: Ints = room[rows]
        return found

    def explain(self, need: Ports, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        return [(REASON,)] * rows.size
