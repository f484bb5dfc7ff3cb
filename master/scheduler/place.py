"""Where a batch of pods of one shape goes: masks, then scores, then the choice, all at once.

Choosing for `count` pods one after the other means: take the best node, count the pod there, score that node again,
and so on. Since scores do not depend on other nodes, node *n*'s score with *j* such pods on it is a number s(n, j)
known beforehand. If s(n, ·) does not rise, the greedy choice is simply the `count` greatest of all s(n, j) with j below
the node's room: one partition of an array. Where a score does rise (balance sometimes improves) it is held level,
which can only delay a preferred choice, never break a limit.

Only `count` nodes can win, those with the greatest s(n, 0), and they rarely take many pods each, so the array is a few
thousand numbers: its depth starts small and doubles when a node used all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from master.scheduler.columns import Bools, Floats, Ints, RowArray
from master.scheduler.framework import Profile
from master.scheduler.shape import Shape
from master.scheduler.snapshot import Snapshot


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """How many pods each of some distinct rows gets."""

    rows: RowArray
    counts: Ints

    def __len__(self) -> int:
        return int(self.counts.sum())

    def each(self) -> list[int]:
        """The row of every pod; pods of one shape are interchangeable, so the order means nothing."""
        return np.repeat(self.rows, self.counts).tolist()


def place(profile: Profile, shape: Shape, cluster: Snapshot, count: int) -> Placement:
    """Choose nodes for up to `count` pods of a shape, as many as fit, and reserve them in the snapshot."""
    room = profile.room(shape, cluster)
    rows = np.flatnonzero(room)
    if rows.size > count:
        rows = rows[_greatest(profile.scores(shape, cluster, rows)[:, 0], count)]
    counts = _fill(profile, shape, cluster, rows, np.minimum(room[rows], count), count)
    chosen = counts > 0
    placement = Placement(rows[chosen], counts[chosen])
    cluster.reserve_many(placement.rows, placement.counts, shape.footprint)
    return placement


def _fill(profile: Profile, shape: Shape, cluster: Snapshot, rows: RowArray, room: Ints, count: int) -> Ints:
    """How many of `count` pods each row gets."""
    if room.sum() <= count:
        return room
    deepest = int(room.max())
    depth = min(deepest, 2 * -(-count // rows.size))
    while True:
        scores = np.minimum.accumulate(profile.scores(shape, cluster, rows, depth), axis=1)
        counts = _shares(scores, np.arange(depth) < room[:, np.newaxis], count)
        if depth == deepest or not ((counts == depth) & (room > depth)).any():
            return counts
        depth = min(deepest, 2 * depth)


def _shares(scores: Floats, allowed: Bools, count: int) -> Ints:
    """How many of the `count` greatest allowed scores are in each row."""
    flat = np.where(allowed, scores, -np.inf).ravel()
    chosen = np.zeros(flat.size, dtype=np.bool_)
    chosen[_greatest(flat, count)] = True
    shares: Ints = (chosen.reshape(scores.shape) & allowed).sum(axis=1)
    return shares


def _greatest(values: Floats, count: int) -> RowArray:
    """The indices of the `count` greatest values, ascending; of equal ones the first."""
    if values.size <= count:
        return np.arange(values.size)
    threshold = np.partition(values, values.size - count)[values.size - count]
    above = np.flatnonzero(values > threshold)
    level = np.flatnonzero(values == threshold)[: count - above.size]
    return np.sort(np.concatenate((above, level)))
