"""Making room: which pods of lower priority must go, and on which node, so that a pod of higher priority can run.

A node comes into question when no label or taint speaks against it and the pod would fit with every pod of lower
priority gone. There, victims are spared again one by one, the most important first, as long as the pod still fits
without it. Pods that are terminating already cost nothing. The best node loses the least: the lowest highest priority,
the lowest sum, the fewest pods, the youngest (Kubernetes' order). Before all of these come disruption budgets: victims
whose going would overdraw one are spared first, and the node with the fewest of them is the best.

Trying works on the snapshot itself, by taking pods out and putting them back: integers, so the end is the beginning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from master.scheduler.columns import Floats, RowArray
from master.scheduler.framework import Profile
from master.scheduler.ledger import Entry, Ledger
from master.scheduler.shape import Shape
from master.scheduler.snapshot import Snapshot

POLICY_NEVER = "preemption: not eligible due to preemptionPolicy=Never."
NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"

# Nodes tried in full: trying one costs a fraction of a millisecond, and the event loop must not wait for long.
_TRIED = 20
_LOWEST = -(2**31)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Eviction:
    """Evict `victims`, none of which is terminating yet, from `node` to make room.

    `overdrawing`: the uids of those that overdraw a disruption budget.
    """

    node: str
    victims: tuple[Entry, ...]
    overdrawing: frozenset[str] = frozenset()


Violators = Callable[[Sequence[Entry]], Collection[str]]
"""The uids of those that would overdraw a disruption budget if all of them went, in this order."""


def no_budgets(_: Sequence[Entry]) -> Collection[str]:
    """Nobody minds who goes."""
    return ()


def plan_eviction(profile: Profile, shape: Shape, ledger: Ledger, violators: Violators = no_budgets) -> Eviction | None:
    """The least harmful eviction that lets one pod of this shape run, or None when none would."""
    cluster = ledger.cluster
    if not shape.preempts or not cluster.can_evict(shape.priority):
        return None
    rows = np.flatnonzero(profile.room(shape, cluster, evicting=True))
    order = np.argsort(_shortage(shape, cluster, rows), kind="stable")
    options = (_eviction_on(profile, shape, ledger, int(row), violators) for row in rows[order[:_TRIED]])
    return min((option for option in options if option is not None), key=_harm, default=None)


def _shortage(shape: Shape, cluster: Snapshot, rows: RowArray) -> Floats:
    """How much each node lacks, as a part of what is asked for: a small lack needs few victims."""
    lack = np.zeros(rows.size)
    for name, amount in shape.footprint.requests:
        lack += np.maximum(0.0, 1.0 - cluster.free(name, rows, shape.priority, False) / amount)
    return lack


def _eviction_on(profile: Profile, shape: Shape, ledger: Ledger, row: int, violators: Violators) -> Eviction | None:
    node, cluster, here = ledger.cluster.name(row), ledger.cluster, np.array([row], dtype=np.intp)
    lower = [entry for entry in ledger.on(node) if entry.footprint.priority < shape.priority]
    if not lower:
        return None
    leaving = [entry for entry in lower if entry.terminating]
    staying = sorted((e for e in lower if not e.terminating), key=lambda e: (-e.footprint.priority, e.started, e.key))
    protected = violators(staying)
    staying.sort(key=lambda e: e.uid not in protected)  # spared first; else the order stays
    with without(cluster, row, leaving):
        for entry in staying:
            cluster.release(row, entry.footprint)
        victims = list(staying)
        fits = bool(profile.room(shape, cluster, here)[0])
        for entry in staying:
            cluster.reserve(row, entry.footprint)
            if fits and profile.room(shape, cluster, here)[0]:
                victims.remove(entry)
            elif fits:
                cluster.release(row, entry.footprint)
        for entry in victims if fits else ():
            cluster.reserve(row, entry.footprint)
    if not fits:
        return None
    overdrawing = frozenset(victim.uid for victim in victims if victim.uid in protected)
    return Eviction(node=node, victims=tuple(victims), overdrawing=overdrawing)


@contextmanager
def without(cluster: Snapshot, row: int, entries: Iterable[Entry]) -> Iterator[None]:
    """The snapshot as if these pods were not there."""
    removed = list(entries)
    for entry in removed:
        cluster.release(row, entry.footprint)
    try:
        yield
    finally:
        for entry in removed:
            cluster.reserve(row, entry.footprint)


def _harm(option: Eviction) -> tuple[int, int, int, int, int, str]:
    priorities = [victim.footprint.priority for victim in option.victims]
    highest = max(priorities, default=_LOWEST)
    total = sum(priority - _LOWEST for priority in priorities)
    eldest = min((v.started for v in option.victims if v.footprint.priority == highest), default=0)
    return len(option.overdrawing), highest, total, len(priorities), -eldest, option.node


def why_not(profile: Profile, shape: Shape, cluster: Snapshot) -> str:
    """The sentence that says why no eviction helps pods of this shape."""
    if not shape.preempts:
        return POLICY_NEVER
    rows = cluster.rows()
    if not rows.size:
        return "preemption: not helpful: there are no nodes."
    fixed = np.zeros(rows.size, dtype=np.bool_)
    for plugin, _, refused in profile.refusals(shape, cluster, rows):
        if not plugin.evictable:
            fixed |= refused
    counts = Counter({NOT_HELPFUL: int(fixed.sum()), NO_VICTIMS: int((~fixed).sum())})
    return f"preemption: 0/{rows.size} nodes are available: {listed(counts)}."


def listed(counts: Counter[str]) -> str:
    """Reasons with their counts, in Kubernetes' order."""
    return ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items() if count))
