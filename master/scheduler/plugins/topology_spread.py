"""Topology spread constraints: pods of a crowd in even numbers over the values of a node label. Three plugins.

`TopologyLabels`: a node must have the labels of all constraints with DoNotSchedule.

`TopologySpread`: with one more pod, the node's domain has at most `maxSkew` more than the domain with the fewest. Nodes
count that have all these labels and that the pod could use at all, as far as `nodeAffinityPolicy` (default Honor) and
`nodeTaintsPolicy` (default Ignore) say. With fewer domains than `minDomains`, the fewest is 0.

`TopologyPreference`: constraints with ScheduleAnyway make emptier domains better; a constraint over many domains weighs
more than one over few (by the logarithm of their number), as differences between few domains are greater anyway.

Pods that are being deleted do not count. A pod that does not match its own selector changes nothing by coming.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from master.scheduler import domains
from master.scheduler.columns import UNLIMITED, Bools, Floats, Ints, RowArray, Rows
from master.scheduler.crowd import Crowd, Kin, selector_of, with_keys
from master.scheduler.framework import Gate, Pull, Reasons
from master.scheduler.node_terms import Demand, demand_of, matching
from master.scheduler.shape import Footprint
from master.scheduler.snapshot import Cause, Snapshot
from master.scheduler.tolerance import Tolerances, tolerances_of, tolerated
from podium.objects.selectors import Operator
from podium.v1.core_pb2 import Pod, TopologySpreadConstraint

REASON = "node(s) didn't match pod topology spread constraints"
NO_LABEL = f"{REASON} (missing required label)"
HARD, SOFT, IGNORE, HONOR = "DoNotSchedule", "ScheduleAnyway", "Ignore", "Honor"


class Constraint(NamedTuple):
    """One constraint. `demand`, `tolerances`: what nodes must meet to count; None when that does not matter."""

    crowd: Crowd
    topology_key: str
    max_skew: int
    min_domains: int
    demand: Demand | None
    tolerances: Tolerances | None


class Spreading(NamedTuple):
    """Constraints of one kind, and what their selectors see of the pod itself."""

    constraints: tuple[Constraint, ...]
    kin: Kin


def _spreading(pod: Pod, footprint: Footprint, when: str) -> Spreading | None:
    if footprint.kin is None:
        return None
    written = [c for c in pod.spec.topology_spread_constraints if c.when_unsatisfiable == when]
    return Spreading(tuple(_constraint(c, pod) for c in written), footprint.kin) if written else None


def _constraint(constraint: TopologySpreadConstraint, pod: Pod) -> Constraint:
    selector = selector_of(constraint.label_selector if constraint.HasField("label_selector") else None)
    selector = with_keys(selector, constraint.match_label_keys, pod.metadata.labels, Operator.IN)
    return Constraint(
        crowd=Crowd(selector, frozenset((pod.metadata.namespace,)), staying=True),
        topology_key=constraint.topology_key,
        max_skew=constraint.max_skew,
        min_domains=max(constraint.min_domains, 1),
        demand=None if constraint.node_affinity_policy == IGNORE else _required_only(demand_of(pod)),
        tolerances=tolerances_of(pod) if constraint.node_taints_policy == HONOR else None,
    )


def _required_only(demand: Demand | None) -> Demand | None:
    return None if demand is None or (not demand.labels and demand.terms is None) else demand._replace(preferred=())


def _labelled(keys: tuple[str, ...], cluster: Snapshot) -> Bools:
    labelled = cluster.live.copy()
    for key in keys:
        labelled &= cluster.column(key).codes != 0
    return labelled


def _keys(need: Spreading) -> tuple[str, ...]:
    return tuple(constraint.topology_key for constraint in need.constraints)


class _Count:
    """One constraint counted: pods by domain, over the nodes that count."""

    def __init__(self, constraint: Constraint, need: Spreading, labelled: Bools, cluster: Snapshot) -> None:
        counting = labelled.copy()
        if constraint.demand is not None:
            counting &= matching(constraint.demand, cluster)
        if constraint.tolerances is not None:
            counting &= tolerated(constraint.tolerances, cluster)
        self.constraint = constraint
        self.column = cluster.column(constraint.topology_key)
        self.counting = counting
        self.here: Ints = np.where(counting, cluster.census.of((constraint.crowd,)), 0)
        self.pods = domains.sums(self.column, self.here)
        self.present: Bools = domains.sums(self.column, counting) > 0
        self.itself = int(cluster.census.includes((constraint.crowd,), need.kin))

    def fewest(self) -> int:
        """The least of any domain; 0 while there are fewer domains than there should be."""
        there = self.pods[self.present]
        return int(there.min()) if there.size >= self.constraint.min_domains else 0

    def spare(self) -> Ints:
        """How many more pods each domain takes before the skew is too great; below 0: it is already."""
        return self.fewest() + self.constraint.max_skew - self.pods

    def open(self) -> Bools:
        """The domains that take one more pod of the shape."""
        opened: Bools = self.spare() >= self.itself
        return opened

    def put(self, row: int) -> bool:
        """A pod of the shape came to a row; whether the counts changed."""
        if not self.itself or not self.counting[row]:
            return False
        self.pods[self.column.codes[row]] += 1
        return True


def _counts(need: Spreading, cluster: Snapshot) -> list[_Count]:
    labelled = _labelled(_keys(need), cluster)
    return [_Count(constraint, need, labelled, cluster) for constraint in need.constraints]


# ---------------------------------------------------------------- DoNotSchedule


class TopologyLabels:
    """Filter; the need is the label keys."""

    name = "PodTopologyLabels"
    wakes_on = Cause.LABELS_CHANGED
    evictable = False

    def sign(self, pod: Pod, footprint: Footprint) -> tuple[str, ...] | None:
        keys = {c.topology_key for c in pod.spec.topology_spread_constraints if c.when_unsatisfiable == HARD}
        return tuple(sorted(keys)) or None

    def mask(self, need: tuple[str, ...], cluster: Snapshot, rows: Rows) -> Bools:
        mask: Bools = _labelled(need, cluster)[rows]
        return mask

    def explain(self, need: tuple[str, ...], cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        return [(NO_LABEL,)] * rows.size

    def detail(self, need: tuple[str, ...], cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        lacking = {key: cluster.column(key).codes[rows] == 0 for key in need}
        return [
            (f"{NO_LABEL}: {', '.join(key for key in need if lacking[key][index])}",) for index in range(rows.size)
        ]  # fmt: skip


class TopologySpread:
    """Social meter; the need is a Spreading."""

    name = "PodTopologySpread"
    wakes_on = Cause.NEIGHBOURS
    evictable = True

    def sign(self, pod: Pod, footprint: Footprint) -> Spreading | None:
        return _spreading(pod, footprint, HARD)

    def room(self, need: Spreading, cluster: Snapshot, rows: Rows, evicting: bool) -> Ints:
        room = np.full(cluster.capacity, UNLIMITED, dtype=np.int64)
        for count in _counts(need, cluster):
            spare = count.spare()[count.column.codes]
            if evicting:
                spare = spare + count.here
            np.minimum(room, spare if count.itself else np.where(spare < 0, 0, UNLIMITED), out=room)
        found: Ints = room[rows]
        return found

    def follow(self, need: Spreading, cluster: Snapshot) -> Gate | None:
        counts = _counts(need, cluster)
        return _EvenDomains(counts) if any(count.itself for count in counts) else None

    def stirred(self, need: Spreading, cluster: Snapshot, by: Footprint) -> bool:
        return by.kin is not None and any(
            cluster.census.includes((constraint.crowd,), by.kin) for constraint in need.constraints
        )

    def explain(self, need: Spreading, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        return [(REASON,)] * rows.size

    def detail(self, need: Spreading, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        reasons: list[list[str]] = [[] for _ in rows]
        for count in _counts(need, cluster):
            opened, rest = count.open(), f"the fewest is {count.fewest()}, maxSkew is {count.constraint.max_skew}"
            for index, code in enumerate(count.column.codes[rows].tolist()):
                if not opened[code]:
                    where = f"{count.constraint.topology_key}={count.column.values[code]}"
                    have = f"has {count.pods[code]} of the {count.constraint.crowd}"
                    reasons[index].append(f"{REASON}: {where} {have}, {rest}")
        return [tuple(why) for why in reasons]

    def recount(self, need: Spreading, cluster: Snapshot) -> list[str]:
        return [_told(count) for count in _counts(need, cluster)]


def _told(count: _Count) -> str:
    constraint = count.constraint
    there = domains.listed(count.column, count.pods, np.flatnonzero(count.present).tolist())
    few = int(count.present.sum()) < constraint.min_domains
    because = f", as there are fewer than minDomains {constraint.min_domains}" if few and there else ""
    return (
        f"topology spread over {constraint.topology_key}, {constraint.crowd}, maxSkew {constraint.max_skew}: "
        f"{there or 'no nodes count'}; the fewest is {count.fewest()}{because}"
    )


class _EvenDomains:
    """Counts each pod in its domain; only when a domain opens or closes, nodes are looked at again."""

    def __init__(self, counts: list[_Count]) -> None:
        self._counts = counts
        self._open = [count.open() for count in counts]
        self.allowed = self._gathered()

    def _gathered(self) -> Bools:
        allowed = self._open[0][self._counts[0].column.codes]
        for opened, count in zip(self._open[1:], self._counts[1:], strict=True):
            allowed &= opened[count.column.codes]
        return allowed

    def put(self, row: int) -> None:
        moved = False
        for index, count in enumerate(self._counts):
            if count.put(row):
                opened = count.open()
                moved |= not np.array_equal(opened, self._open[index])
                self._open[index] = opened
        if moved:
            self.allowed = self._gathered()


# ---------------------------------------------------------------- ScheduleAnyway


class TopologyPreference:
    """Drawn scorer; the need is a Spreading."""

    name = "PodTopologyPreference"
    weight = 2.0

    def sign(self, pod: Pod, footprint: Footprint) -> Spreading | None:
        return _spreading(pod, footprint, SOFT)

    def score(self, need: Spreading, cluster: Snapshot, rows: RowArray, depth: int) -> Floats:
        return _Evenness(need, cluster).scores[rows][:, np.newaxis]

    def pursue(self, need: Spreading, cluster: Snapshot) -> Pull | None:
        made = _Evenness(need, cluster)
        return made if any(count.itself for count in made.counts) else None


class _Evenness:
    """100 for the emptiest domains, 0 for nodes that lack a label."""

    def __init__(self, need: Spreading, cluster: Snapshot) -> None:
        self.counts = _counts(need, cluster)
        self._labelled = _labelled(_keys(need), cluster)
        self._weights = [self._weight(count) for count in self.counts]
        self.scores = self._scored()

    def _weight(self, count: _Count) -> float:
        return math.log(2 + np.unique(count.column.codes[self._labelled]).size)

    def put(self, row: int) -> None:
        changed = [count.put(row) for count in self.counts]
        if any(changed):
            self.scores = self._scored()

    def _scored(self) -> Floats:
        cost = np.zeros(self._labelled.size)
        for count, weight in zip(self.counts, self._weights, strict=True):
            cost += (weight * count.pods + (count.constraint.max_skew - 1))[count.column.codes]
        scores = np.zeros(self._labelled.size)
        if not self._labelled.any():
            return scores
        known = cost[self._labelled]
        greatest = known.max()
        scores[self._labelled] = 100.0 * (greatest + known.min() - known) / greatest if greatest > 0 else 100.0
        return scores
