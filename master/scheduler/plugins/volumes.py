"""Claims: a pod goes where its data is, or can be; and a claim for one pod, or one node, is not used by more.

`VolumeBinding` asks where the volumes of a pod's claims are, or may be made (`master.scheduler.volume_table`).
`VolumeRestrictions` asks who uses the claims already: a ReadWriteOncePod claim has one pod in the whole cluster; a
ReadWriteOnce claim whose volume many nodes could reach is used from one node at a time, which Kubernetes leaves to
whoever attaches volumes. There evicting can help; where data lies cannot be changed.

Placing one pod changes the answer for the next one with the same claims, on other nodes: both give a gate that follows.
"""

from __future__ import annotations

import numpy as np

from master.scheduler.columns import UNLIMITED, Bools, Ints, RowArray, Rows
from master.scheduler.framework import Reasons
from master.scheduler.shape import Footprint
from master.scheduler.snapshot import Cause, Snapshot
from master.scheduler.volume_table import Answer
from podium.objects.storage import ClaimKey
from podium.v1.core_pb2 import Pod

Need = tuple[ClaimKey, ...]

ONE_POD = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
ONE_NODE = "node(s) cannot use a ReadWriteOnce volume that pods on another node use"


class VolumeBinding:
    """Meter; the need is the claims."""

    name = "VolumeBinding"
    wakes_on = Cause.VOLUMES_CHANGED | Cause.LABELS_CHANGED
    evictable = False

    def sign(self, pod: Pod, footprint: Footprint) -> Need | None:
        return footprint.volume_claims or None

    def room(self, need: Need, cluster: Snapshot, rows: Rows, evicting: bool) -> Ints:
        found: Ints = np.where(_allowed(need, cluster), UNLIMITED, 0)[rows]
        return found

    def explain(self, need: Need, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        reasons: list[Reasons] = [()] * rows.size
        for answer in cluster.volumes.answers(need, cluster):
            for index in np.flatnonzero(_refuses(answer, rows)):
                reasons[index] = reasons[index] or (answer.reason,)
        return reasons

    def follow(self, need: Need, cluster: Snapshot) -> VolumeGate | None:
        """An open claim goes with the first pod that is placed; its like must follow it."""
        if not any(cluster.volumes.is_open(key) for key in need):
            return None
        return VolumeGate(_allowed(need, cluster))

    def stirred(self, need: Need, cluster: Snapshot, by: Footprint) -> bool:
        """Pods that come or leave do not move data."""
        return False

    def recount(self, need: Need, cluster: Snapshot) -> list[str]:
        """Nothing is counted."""
        return []


class VolumeGate:
    """Where the next pod with the same open claims may go: at first where they can be bound, then where they were."""

    def __init__(self, allowed: Bools) -> None:
        self.allowed = allowed

    def put(self, row: int) -> None:
        """A pod was placed there, and its claims with it."""
        self.allowed = np.zeros_like(self.allowed)
        self.allowed[row] = True


class VolumeRestrictions:
    """Meter; the need is the claims."""

    name = "VolumeRestrictions"
    wakes_on = Cause.VOLUMES_CHANGED | Cause.NEIGHBOURS
    evictable = True

    def sign(self, pod: Pod, footprint: Footprint) -> Need | None:
        return footprint.volume_claims or None

    def room(self, need: Need, cluster: Snapshot, rows: Rows, evicting: bool) -> Ints:
        room = np.full(cluster.capacity, UNLIMITED, dtype=np.int64)
        for key in need:
            _restrict(key, room, cluster, evicting)
        found: Ints = room[rows]
        return found

    def explain(self, need: Need, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        reasons: list[Reasons] = [()] * rows.size
        for key in need:
            room = np.full(cluster.capacity, UNLIMITED, dtype=np.int64)
            _restrict(key, room, cluster, False)
            facts = cluster.volumes.facts(key)
            why = ONE_POD if facts is not None and facts.once_pod else ONE_NODE
            for index in np.flatnonzero(room[rows] <= 0):
                reasons[index] = reasons[index] or (why,)
        return reasons

    def follow(self, need: Need, cluster: Snapshot) -> RestrictionGate | None:
        """Once a pod is placed, another with the same claim may go nowhere, or only there."""
        return RestrictionGate(need, cluster) if any(_limits(key, cluster) for key in need) else None

    def stirred(self, need: Need, cluster: Snapshot, by: Footprint) -> bool:
        """Whether it used the same claim."""
        return not set(need).isdisjoint(by.volume_claims)

    def recount(self, need: Need, cluster: Snapshot) -> list[str]:
        """Nothing is counted."""
        return []


class RestrictionGate:
    """Asks again after each pod."""

    def __init__(self, need: Need, cluster: Snapshot) -> None:
        self._need, self._cluster = need, cluster
        self.allowed: Bools = self._ask()

    def _ask(self) -> Bools:
        room = np.full(self._cluster.capacity, UNLIMITED, dtype=np.int64)
        for key in self._need:
            _restrict(key, room, self._cluster, False)
        allowed: Bools = room > 0
        return allowed

    def put(self, row: int) -> None:
        """A pod was placed there; the cluster has it reserved already."""
        self.allowed = self._ask()


def _allowed(need: Need, cluster: Snapshot) -> Bools:
    allowed = cluster.live.copy()
    for answer in cluster.volumes.answers(need, cluster):
        if answer.rows is not None:
            allowed &= answer.rows
    return allowed


def _refuses(answer: Answer, rows: RowArray) -> Bools:
    refused: Bools = np.zeros(rows.size, dtype=np.bool_) if answer.rows is None else ~answer.rows[rows]
    return refused


def _limits(key: ClaimKey, cluster: Snapshot) -> bool:
    """Whether who uses the claim matters to others. A ReadWriteOnce volume of a single node limits itself."""
    facts = cluster.volumes.facts(key)
    return facts is not None and (facts.once_pod or (facts.once and cluster.volumes.spans(key)))


def _restrict(key: ClaimKey, room: Ints, cluster: Snapshot, evicting: bool) -> None:
    """Close nodes to one more user of a claim."""
    facts = cluster.volumes.facts(key)
    if facts is None or not _limits(key, cluster):
        return
    if facts.once_pod:
        np.minimum(room, 1, out=room)
    users = cluster.volume_users(key)
    if not users:
        return
    closed = np.ones(room.size, dtype=np.bool_)
    if len(users) == 1 and (evicting or not facts.once_pod):
        closed[list(users)] = False
    room[closed] = 0
