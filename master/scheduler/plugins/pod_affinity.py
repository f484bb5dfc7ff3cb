"""Affinity and anti-affinity between pods: three plugins, for what must be near, what must be apart, what is preferred.

`PodAffinity`: every required term needs, in the node's domain, a pod that is in the crowds of all terms. When there is
no such pod anywhere and the pod is one itself, it may be the first, wherever the nodes have the labels.

`PodAntiAffinity`: no pod of a required term's crowd in the node's domain; and in both directions: no pod in the domain
whose own required anti-affinity names this pod. Nodes without the label are in no domain and may be used.

`PodPreference`: weights of preferred terms times pods in the domain; also in both directions, where required affinity
of existing pods counts as a weak preference. The sum is scaled from 0 to 100 over all nodes, as it has no natural end.

A pod that evicts others looks at one node only, as in Kubernetes: who is in the way elsewhere in the domain stays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from master.scheduler import domains
from master.scheduler.columns import UNLIMITED, Bools, Codes, Floats, Ints, RowArray, Rows
from master.scheduler.crowd import Crowds, Kin, Term, Weighted, crowds_of, ties_of
from master.scheduler.framework import Gate, Pull, Reasons
from master.scheduler.shape import Footprint
from master.scheduler.snapshot import Cause, Snapshot
from podium.v1.core_pb2 import Pod

NOT_NEAR = "node(s) didn't match pod affinity rules"
NOT_APART = "node(s) didn't match pod anti-affinity rules"
KEPT_AWAY = "node(s) didn't satisfy existing pods anti-affinity rules"

# ---------------------------------------------------------------- required affinity


class Near(NamedTuple):
    """Required terms; `crowds` is all of theirs."""

    terms: tuple[Term, ...]
    crowds: Crowds
    kin: Kin


class PodAffinity:
    """Social meter; the need is a Near."""

    name = "InterPodAffinity"
    wakes_on = Cause.NEIGHBOURS
    evictable = False

    def sign(self, pod: Pod, footprint: Footprint) -> Near | None:
        terms = ties_of(pod).near
        if not terms or footprint.kin is None:
            return None
        return Near(terms, crowds_of(terms), footprint.kin)

    def room(self, need: Near, cluster: Snapshot, rows: Rows, evicting: bool) -> Ints:
        near, anywhere = _near(need, cluster)
        allowed = near if anywhere or not _may_be_first(need, cluster) else _labelled(need, cluster)
        room: Ints = np.where(allowed[rows], UNLIMITED, 0)
        return room

    def follow(self, need: Near, cluster: Snapshot) -> Gate | None:
        """Only the first pod of a group changes anything: later ones join domains that have some already."""
        if not _may_be_first(need, cluster) or _near(need, cluster)[1]:
            return None
        return _FirstOfGroup(need, cluster)

    def stirred(self, need: Near, cluster: Snapshot, by: Footprint) -> bool:
        return by.kin is not None and cluster.census.includes(need.crowds, by.kin)

    def explain(self, need: Near, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        return [(NOT_NEAR,)] * rows.size

    def detail(self, need: Near, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        counts = cluster.census.of(need.crowds)
        reasons: list[list[str]] = [[] for _ in rows]
        for term in need.terms:
            column = cluster.column(term.topology_key)
            total = domains.sums(column, counts)
            for index, code in enumerate(column.codes[rows].tolist()):
                if not code:
                    reasons[index].append(f"{NOT_NEAR}: it has no label {term.topology_key}")
                elif not total[code]:
                    where = f"{term.topology_key}={column.values[code]}"
                    reasons[index].append(f"{NOT_NEAR}: none of the {_who(need)} in {where}")
        return [tuple(why) for why in reasons]

    def recount(self, need: Near, cluster: Snapshot) -> list[str]:
        counts = cluster.census.of(need.crowds)
        first = not _near(need, cluster)[1] and _may_be_first(need, cluster)
        return [
            f"pod affinity over {term.topology_key}, {_who(need)}: {_there(cluster, term, counts)}"
            + ("; this pod may be the first" if first else "")
            for term in need.terms
        ]


class _FirstOfGroup:
    """The first pod goes anywhere that has the labels, and the others where it went."""

    def __init__(self, need: Near, cluster: Snapshot) -> None:
        self._codes = [cluster.column(term.topology_key).codes for term in need.terms]
        self._placed = False
        self.allowed = _labelled(need, cluster)

    def put(self, row: int) -> None:
        if not self._placed:
            self._placed = True
            for codes in self._codes:
                self.allowed &= codes == codes[row]


def _near(need: Near, cluster: Snapshot) -> tuple[Bools, bool]:
    """Where every term holds; and whether any of the pods that are wanted is in any domain."""
    counts = cluster.census.of(need.crowds)
    near, anywhere = cluster.live.copy(), False
    for term in need.terms:
        column = cluster.column(term.topology_key)
        total = domains.sums(column, counts)
        near &= (total > 0)[column.codes]
        anywhere = anywhere or bool(total.any())
    return near, anywhere


def _labelled(need: Near, cluster: Snapshot) -> Bools:
    allowed = cluster.live.copy()
    for term in need.terms:
        allowed &= cluster.column(term.topology_key).codes != 0
    return allowed


def _may_be_first(need: Near, cluster: Snapshot) -> bool:
    return cluster.census.includes(need.crowds, need.kin)


def _who(need: Near) -> str:
    return " that are also ".join(map(str, need.crowds))


def _there(cluster: Snapshot, term: Term, counts: Ints) -> str:
    column = cluster.column(term.topology_key)
    total = domains.sums(column, counts)
    there = np.flatnonzero(total).tolist()
    return f"there are {domains.listed(column, total, there)}" if there else "there are none"


# ---------------------------------------------------------------- required anti-affinity


class Apart(NamedTuple):
    """Required terms, and what others' terms see of the pod. More important pods count where they are promised room."""

    terms: tuple[Term, ...]
    kin: Kin
    priority: int


class PodAntiAffinity:
    """Social meter; the need is an Apart."""

    name = "InterPodAntiAffinity"
    wakes_on = Cause.NEIGHBOURS
    evictable = True

    def sign(self, pod: Pod, footprint: Footprint) -> Apart | None:
        return Apart(ties_of(pod).apart, footprint.kin, footprint.priority) if footprint.kin is not None else None

    def room(self, need: Apart, cluster: Snapshot, rows: Rows, evicting: bool) -> Ints:
        room = np.full(cluster.capacity, UNLIMITED, dtype=np.int64)
        for term in _self_averse(need, cluster):
            room[cluster.column(term.topology_key).codes != 0] = 1
        for term, counts in (*_own(need, cluster), *_others(need, cluster)):
            room[_blocked(cluster, term, counts, evicting)] = 0
        found: Ints = room[rows]
        return found

    def follow(self, need: Apart, cluster: Snapshot) -> Gate | None:
        codes = [cluster.column(term.topology_key).codes for term in _self_averse(need, cluster)]
        if all(map(domains.single, codes)):
            return None
        return _OneADomain(codes, self.room(need, cluster, slice(None), False) > 0)

    def stirred(self, need: Apart, cluster: Snapshot, by: Footprint) -> bool:
        if by.kin is None:
            return False
        includes = cluster.census.includes
        return any(includes((term.crowd,), by.kin) for term in need.terms) or any(
            held.pull == 0 and includes((held.term.crowd,), need.kin) for held in by.held
        )

    def explain(self, need: Apart, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        own = np.zeros(cluster.capacity, dtype=np.bool_)
        for term, counts in _own(need, cluster):
            own |= _blocked(cluster, term, counts, False)
        return [(NOT_APART if mine else KEPT_AWAY,) for mine in own[rows]]

    def detail(self, need: Apart, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        reasons: list[list[str]] = [[] for _ in rows]
        for why, pairs in ((NOT_APART, _own(need, cluster)), (KEPT_AWAY, _others_only(need, cluster))):
            for term, counts in pairs:
                column = cluster.column(term.topology_key)
                total = domains.sums(column, counts)
                for index, code in enumerate(column.codes[rows].tolist()):
                    if total[code]:
                        where = f"{term.topology_key}={column.values[code]}"
                        reasons[index].append(f"{why}: {_met(why, term, int(total[code]))} in {where}")
        return [tuple(why) for why in reasons]

    def recount(self, need: Apart, cluster: Snapshot) -> list[str]:
        own = [
            f"pod anti-affinity over {term.topology_key}, {term.crowd}: {_there(cluster, term, counts)}"
            for term, counts in _own(need, cluster)
        ]
        others = [
            f"kept away over {term.topology_key} by the anti-affinity of existing pods to {term.crowd}: "
            f"{_there(cluster, term, counts)}"
            for term, counts in _others_only(need, cluster)
        ]
        return own + others


class _OneADomain:
    """Pods that avoid their like: a domain that has got one is closed."""

    def __init__(self, codes: list[Codes], allowed: Bools) -> None:
        self._codes, self.allowed = codes, allowed

    def put(self, row: int) -> None:
        for codes in self._codes:
            if codes[row]:
                self.allowed[codes == codes[row]] = False


def _self_averse(need: Apart, cluster: Snapshot) -> list[Term]:
    """The terms that keep pods of this shape from each other."""
    return [term for term in need.terms if cluster.census.includes((term.crowd,), need.kin)]


def _own(need: Apart, cluster: Snapshot) -> list[tuple[Term, Ints]]:
    """The pod's terms with the pods that they name."""
    census = cluster.census
    promised = [
        (term, _one(cluster, row))
        for row, other in cluster.promised(need.priority)
        for term in need.terms
        if other.kin is not None and census.includes((term.crowd,), other.kin)
    ]
    return [(term, census.of((term.crowd,))) for term in need.terms] + promised


def _others(need: Apart, cluster: Snapshot) -> list[tuple[Term, Ints]]:
    """The terms of others that name the pod, with the pods that have them."""
    census = cluster.census
    promised = [
        (held.term, _one(cluster, row))
        for row, other in cluster.promised(need.priority)
        for held in other.held
        if held.pull == 0 and census.includes((held.term.crowd,), need.kin)
    ]
    return [(held.term, counts) for held, counts in census.held_against(need.kin) if held.pull == 0] + promised


def _others_only(need: Apart, cluster: Snapshot) -> list[tuple[Term, Ints]]:
    """Those of others that are not the pod's own as well: replicas would be told everything twice."""
    return [(term, counts) for term, counts in _others(need, cluster) if term not in need.terms]


def _one(cluster: Snapshot, row: int) -> Ints:
    counts = np.zeros(cluster.capacity, dtype=np.int64)
    counts[row] = 1
    return counts


def _blocked(cluster: Snapshot, term: Term, counts: Ints, evicting: bool) -> Bools:
    """Where the domain has such a pod; when `evicting`, one that is not on the node itself."""
    column = cluster.column(term.topology_key)
    there = domains.sums(column, counts)[column.codes]
    if evicting:
        there = there - counts
    blocked: Bools = there > 0
    return blocked


def _met(why: str, term: Term, number: int) -> str:
    if why == NOT_APART:
        return f"{number} of the {term.crowd}"
    return f"{number} with anti-affinity to {term.crowd}"


# ---------------------------------------------------------------- preferences


class Liking(NamedTuple):
    """Preferred terms, and what others' terms see of the pod."""

    preferred: tuple[Weighted, ...]
    near: tuple[Term, ...]
    kin: Kin


class PodPreference:
    """Drawn scorer; the need is a Liking."""

    name = "InterPodPreference"
    weight = 2.0

    def sign(self, pod: Pod, footprint: Footprint) -> Liking | None:
        if footprint.kin is None:
            return None
        ties = ties_of(pod)
        return Liking(ties.preferred, ties.near, footprint.kin)

    def score(self, need: Liking, cluster: Snapshot, rows: RowArray, depth: int) -> Floats:
        if not need.preferred and not any(held.pull for held, _ in cluster.census.held_against(need.kin)):
            return np.full((rows.size, 1), 100.0)
        return _scaled(_attraction(need, cluster), cluster.rows())[rows][:, np.newaxis]

    def pursue(self, need: Liking, cluster: Snapshot) -> Pull | None:
        includes = cluster.census.includes
        mutual = [
            (cluster.column(term.topology_key).codes, weight)
            for term, weight in (*((t, 2 * w) for t, w in need.preferred), *((t, 1) for t in need.near))
            if includes((term.crowd,), need.kin)
        ]
        return _Attraction(mutual, _attraction(need, cluster), cluster.live) if mutual else None


class _Attraction:
    """Pods that attract or repel their like: each moves the score of its domains, by its own term and the other's."""

    def __init__(self, mutual: list[tuple[Codes, int]], raw: Floats, live: Bools) -> None:
        self._mutual, self._raw, self._live = mutual, raw, np.flatnonzero(live)
        self._domains: dict[tuple[int, int], RowArray] = {}
        self.scores = _scaled(raw, self._live)

    def put(self, row: int) -> None:
        for index, (codes, weight) in enumerate(self._mutual):
            if code := int(codes[row]):
                self._raw[self._rows(index, code)] += weight
        self.scores = _scaled(self._raw, self._live)

    def _rows(self, index: int, code: int) -> RowArray:
        found = self._domains.get((index, code))
        if found is None:
            found = self._domains[index, code] = np.flatnonzero(self._mutual[index][0] == code)
        return found


def _attraction(need: Liking, cluster: Snapshot) -> Floats:
    raw = np.zeros(cluster.capacity)
    for term, weight in need.preferred:
        raw += _near_to(cluster, term, cluster.census.of((term.crowd,)), weight)
    for held, counts in cluster.census.held_against(need.kin):
        if held.pull:
            raw += _near_to(cluster, held.term, counts, held.pull)
    return raw


def _near_to(cluster: Snapshot, term: Term, counts: Ints, weight: int) -> Ints:
    column = cluster.column(term.topology_key)
    near: Ints = weight * domains.sums(column, counts)[column.codes]
    return near


def _scaled(raw: Floats, live: RowArray) -> Floats:
    """0 for the lowest of all nodes to 100 for the greatest; 100 when all are equal."""
    known = raw[live]
    lowest, greatest = (known.min(), known.max()) if live.size else (0.0, 0.0)
    if lowest == greatest:
        return np.full(raw.size, 100.0)
    scaled = raw - lowest
    scaled *= 100.0 / (greatest - lowest)
    return scaled
