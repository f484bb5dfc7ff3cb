"""Where a batch of pods of one shape goes: masks, then scores, then the choice, all at once.

Choosing for `count` pods one after the other means: take the best node, count the pod there, score that node again,
and so on. Since scores do not depend on other nodes, node *n*'s score with *j* such pods on it is a number s(n, j)
known beforehand. If s(n, ·) does not rise, the greedy choice is simply the `count` greatest of all s(n, j) with j below
the node's room: one partition of an array. Where a score does rise (balance sometimes improves) it is held level,
which can only delay a preferred choice, never break a limit.

Only `count` nodes can win, those with the greatest s(n, 0), and they rarely take many pods each, so the array is a few
thousand numbers: its depth starts small and doubles when a node used all of it.

Where pods of the shape count for each other (affinity to their like, spreading over domains), a pod on one node changes
what others may take. Then they are placed one after the other indeed, each choice being a few operations on arrays:
what stays is computed once for the batch, and what follows is told of each pod.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from master.scheduler.columns import Bools, Floats, Ints, RowArray
from master.scheduler.framework import Following, Profile
from master.scheduler.shape import Shape
from master.scheduler.snapshot import Snapshot


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """How many pods each of some rows gets; in order of the choice where that means something."""

    rows: RowArray
    counts: Ints

    def __len__(self) -> int:
        return int(self.counts.sum())

    def each(self) -> list[int]:
        """The row of every pod; pods of one shape are interchangeable, so any may have any."""
        return np.repeat(self.rows, self.counts).tolist()


def place(profile: Profile, shape: Shape, cluster: Snapshot, count: int) -> Placement:
    """Choose nodes for up to `count` pods of a shape, as many as fit, and reserve them in the snapshot."""
    following = profile.follow(shape, cluster)
    if following is not None:
        return _one_by_one(profile, shape, cluster, count, following)
    room = profile.room(shape, cluster)
    rows = np.flatnonzero(room)
    if rows.size > count:
        rows = rows[_greatest(profile.scores(shape, cluster, rows)[:, 0], count)]
    counts = _fill(profile, shape, cluster, rows, np.minimum(room[rows], count), count)
    chosen = counts > 0
    placement = Placement(rows[chosen], counts[chosen])
    cluster.reserve_many(placement.rows, placement.counts, shape.footprint)
    return placement


# Pods that are placed one after the other in one turn; each costs some tens of microseconds.
_ONE_BY_ONE_AT_ONCE = 32


def _one_by_one(profile: Profile, shape: Shape, cluster: Snapshot, count: int, following: Following) -> Placement:
    chosen: list[int] = []
    while len(chosen) < min(count, _ONE_BY_ONE_AT_ONCE) and (row := _best(following)) >= 0:
        cluster.reserve(row, shape.footprint)
        chosen.append(row)
        following.room[row] -= 1
        following.free[row] = following.room[row] > 0
        here = np.array([row], dtype=np.intp)
        following.scores[row] = profile.steady_scores(shape, cluster, here, following.pulled)[0]
        for gate in following.gates:
            gate.put(row)
        for _, pull in following.pulls:
            pull.put(row)
    return Placement(np.array(chosen, dtype=np.intp), np.ones(len(chosen), dtype=np.int64))


def _best(following: Following) -> int:
    """The best row for the next pod; of equal ones the first; -1 when there is none."""
    allowed = following.free
    for gate in following.gates:
        allowed = allowed & gate.allowed
    rows = np.flatnonzero(allowed)
    if not rows.size:
        return -1
    scores = following.scores[rows]
    for weight, pull in following.pulls:
        scores += weight * pull.scores[rows]
    return int(rows[scores.argmax()])


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
