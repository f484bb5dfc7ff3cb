"""CPU, memory, pods and whatever else nodes offer: never more requested than is allocatable.

Among nodes where a pod fits, the emptier and the more evenly used is better (LeastAllocated and BalancedAllocation, in
equal parts). For that comparison a container that requests nothing counts as a small one, so that pods without requests
spread too.
"""

from __future__ import annotations

import numpy as np

from master.scheduler.columns import UNLIMITED, Floats, Ints, RowArray, Rows
from master.scheduler.framework import Reasons
from master.scheduler.shape import PODS, Footprint
from master.scheduler.snapshot import Cause, Snapshot
from podium.objects.pod import CPU, MEMORY
from podium.v1.core_pb2 import Pod


class Resources:
    """Meter and scorer; the need is the footprint."""

    name = "NodeResourcesFit"
    wakes_on = Cause.PODS_LEFT | Cause.CAPACITY_GREW
    evictable = True
    weight = 1.0

    def sign(self, pod: Pod, footprint: Footprint) -> Footprint | None:
        return footprint

    def room(self, need: Footprint, cluster: Snapshot, rows: Rows, evicting: bool) -> Ints:
        room = np.full(cluster.live[rows].size, UNLIMITED, dtype=np.int64)
        for name, amount in need.requests:
            np.minimum(room, cluster.free(name, rows, need.priority, evicting) // amount, out=room)
        return room

    def explain(self, need: Footprint, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        reasons: list[list[str]] = [[] for _ in rows]
        for name, amount in need.requests:
            for index in np.flatnonzero(cluster.free(name, rows, need.priority, False) < amount):
                reasons[index].append(_reason(name))
        return [tuple(why) for why in reasons]

    def score(self, need: Footprint, cluster: Snapshot, rows: RowArray, depth: int) -> Floats:
        pods = np.arange(1, depth + 1)
        cpu = _fraction(cluster.load_cpu[rows], pods * need.load[0], cluster.resource(CPU).allocatable[rows])
        memory = _fraction(cluster.load_memory[rows], pods * need.load[1], cluster.resource(MEMORY).allocatable[rows])
        least = 1.0 - (cpu + memory) / 2
        balanced = 1.0 - np.abs(cpu - memory) / 2
        return 50.0 * (least + balanced)


def _reason(resource: str) -> str:
    return "Too many pods" if resource == PODS else f"Insufficient {resource}"


def _fraction(used: Ints, added: Ints, allocatable: Ints) -> Floats:
    """How full the node would be, 0 to 1; full where there is nothing to give."""
    total = used[:, np.newaxis] + added
    return np.minimum(total / np.maximum(allocatable, 1)[:, np.newaxis], 1.0)
