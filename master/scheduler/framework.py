"""What a scheduling plugin is, and the profile that asks them all.

A plugin *signs* a pod: it returns its need, an immutable value that holds all that it wants to know of the pod, or None
when it has nothing to say. From then on it sees only that need and the snapshot, for whole arrays of nodes at a time:

    sign    (pod)                      → need          once a shape
    mask    (need, cluster, rows)      → yes or no     filters by labels and taints alone; kept while these last
    room    (need, cluster, rows)      → how many      filters that look at what pods use; 0 is no
    score   (need, cluster, rows, n)   → 0…100         how good, if 0, 1, … n-1 further pods of this shape were there
    follow  (need, cluster)            → a follower    when a pod on one node changes the answers for others
    explain (need, cluster, rows)      → why not       in Kubernetes' words, node by node
    wakes_on                           → what to wait for

Scores are absolute, never relative to other nodes, and are taken not to rise as a node fills. That is what lets a whole
batch of one shape be placed in one step with the same result as one pod after the other (`master.scheduler.place`).
A plugin that looks at topology domains breaks that when pods of the shape count for each other: it then gives a
*follower*, which is told of each pod that is placed and keeps its answer for all nodes up to date.

To add a plugin: one file in `plugins/` with one class of one of the shapes below, one line in `plugins/__init__.py`, a
table of cases in `tests/unit/master/test_scheduler_plugins.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np

from master.scheduler.columns import ALL, UNLIMITED, Bools, Floats, Ints, RowArray, Rows
from master.scheduler.shape import Footprint, Shape
from master.scheduler.snapshot import Cause, Snapshot
from podium.v1.core_pb2 import Pod

Reasons = tuple[str, ...]
NeedIn = TypeVar("NeedIn", contravariant=True)


@runtime_checkable
class Plugin(Protocol):
    """Every plugin: reads pods."""

    name: str

    def sign(self, pod: Pod, footprint: Footprint) -> Hashable | None:
        """All that the plugin needs to know of the pod, or None when it does not matter to it."""
        ...


class _Refuses(Protocol[NeedIn]):
    """What has a reason to say no."""

    name: str
    wakes_on: Cause
    evictable: bool
    """Whether evicting pods can turn the no into a yes."""

    def explain(self, need: NeedIn, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        """Why, for each of some rows that the plugin refuses."""
        ...


@runtime_checkable
class Filter(_Refuses[NeedIn], Protocol[NeedIn]):
    """Decides by labels, taints and names alone: the answer stays until `Snapshot.topology` moves."""

    def mask(self, need: NeedIn, cluster: Snapshot, rows: Rows) -> Bools:
        """Where such pods may go."""
        ...


@runtime_checkable
class Meter(_Refuses[NeedIn], Protocol[NeedIn]):
    """Decides by what other pods use."""

    def room(self, need: NeedIn, cluster: Snapshot, rows: Rows, evicting: bool) -> Ints:
        """How many more such pods fit on each node; 0 or less is none.

        With `evicting`, an upper bound of how many would fit if every pod of a lower priority were gone.
        """
        ...


@runtime_checkable
class Scorer(Protocol[NeedIn]):
    """Says how good a node is."""

    weight: float

    def score(self, need: NeedIn, cluster: Snapshot, rows: RowArray, depth: int) -> Floats:
        """0 (worst) to 100 for each row and for 0, 1, … depth-1 more such pods there; shape (rows, depth or 1)."""
        ...


class Gate(Protocol):
    """Follows a batch: where the next pod of the shape may go, as far as one plugin is concerned."""

    allowed: Bools

    def put(self, row: int) -> None:
        """A pod was placed there; the cluster has it reserved already."""
        ...


class Pull(Protocol):
    """Follows a batch: how good each row is for the next pod of the shape, 0 to 100."""

    scores: Floats

    def put(self, row: int) -> None:
        """A pod was placed there; the cluster has it reserved already."""
        ...


@runtime_checkable
class Social(Protocol[NeedIn]):
    """A Meter that counts pods in topology domains, so that its answer can change on nodes where nothing happened.

    Its `wakes_on` is Cause.NEIGHBOURS. `room` is as of now: it may be more once pods of the shape are elsewhere.
    """

    def follow(self, need: NeedIn, cluster: Snapshot) -> Gate | None:
        """What follows a batch; None when placing pods of this shape changes nothing but the room on their own node."""
        ...

    def stirred(self, need: NeedIn, cluster: Snapshot, by: Footprint) -> bool:
        """Whether such a pod coming or leaving anywhere may turn a no into a yes."""
        ...

    def recount(self, need: NeedIn, cluster: Snapshot) -> list[str]:
        """For people: each constraint with the counts that decide, a sentence each."""
        ...


@runtime_checkable
class Drawn(Protocol[NeedIn]):
    """A Scorer that counts pods in topology domains."""

    def pursue(self, need: NeedIn, cluster: Snapshot) -> Pull | None:
        """What follows a batch; None when placing pods of this shape does not change the scores."""
        ...


@runtime_checkable
class Detailed(Protocol[NeedIn]):
    """Has more to say of one node than fits in a count over all."""

    def detail(self, need: NeedIn, cluster: Snapshot, rows: RowArray) -> list[Reasons]:
        """Why, as `explain`, with the constraint, the domain and the counts."""
        ...


Refuser = Filter[Any] | Meter[Any]


@dataclass(slots=True, eq=False)
class Following:
    """A batch of a shape whose pods count for each other: what changes with each pod, and what does not.

    Attributes:
        room: How many pods each row takes, by the plugins that do not follow.
        free: Where that is more than none.
        scores: Their weighted scores, for every row.
        gates: Where else a pod may not go.
        pulls: Further scores, with their weights.
        pulled: Which plugins those are.
    """

    room: Ints
    free: Bools
    scores: Floats
    gates: list[Gate]
    pulls: list[tuple[float, Pull]]
    pulled: frozenset[int]


class Profile:
    """The plugins in the order in which they are asked, and answers for whole shapes."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self.plugins = tuple(plugins)
        self._filters = [(i, p) for i, p in enumerate(self.plugins) if isinstance(p, Filter)]
        self._meters = [(i, p) for i, p in enumerate(self.plugins) if isinstance(p, Meter)]
        self._scorers = [(i, p) for i, p in enumerate(self.plugins) if isinstance(p, Scorer)]
        self._social = [(i, p) for i, p in enumerate(self.plugins) if isinstance(p, Social)]
        self._drawn = [(i, p) for i, p in self._scorers if isinstance(p, Drawn)]
        self._refusers: list[tuple[int, Refuser]] = sorted((*self._filters, *self._meters), key=lambda at: at[0])
        self._masks: WeakKeyDictionary[Shape, tuple[int, Bools]] = WeakKeyDictionary()

    def sign(self, pod: Pod, footprint: Footprint) -> tuple[Hashable | None, ...]:
        """Every plugin's need."""
        return tuple(plugin.sign(pod, footprint) for plugin in self.plugins)

    def room(self, shape: Shape, cluster: Snapshot, rows: Rows = ALL, *, evicting: bool = False) -> Ints:
        """How many more pods of this shape each node takes, never negative."""
        return self._room(shape, cluster, rows, evicting, frozenset())

    def _room(self, shape: Shape, cluster: Snapshot, rows: Rows, evicting: bool, without: frozenset[int]) -> Ints:
        room = np.where(self._mask(shape, cluster)[rows], UNLIMITED, 0)
        for index, meter in self._meters:
            if (need := shape.needs[index]) is not None and index not in without:
                np.minimum(room, meter.room(need, cluster, rows, evicting), out=room)
        return np.maximum(room, 0, out=room)

    def _mask(self, shape: Shape, cluster: Snapshot) -> Bools:
        kept = self._masks.get(shape)
        if kept is not None and kept[0] == cluster.topology:
            return kept[1]
        mask = cluster.live.copy()
        for index, plugin in self._filters:
            if (need := shape.needs[index]) is not None:
                mask &= plugin.mask(need, cluster, ALL)
        self._masks[shape] = (cluster.topology, mask)
        return mask

    def scores(self, shape: Shape, cluster: Snapshot, rows: RowArray, depth: int = 1) -> Floats:
        """Weighted sum of all scores; shape (rows, depth)."""
        total = np.zeros((rows.size, depth))
        for index, scorer in self._scorers:
            if (need := shape.needs[index]) is not None:
                total += scorer.weight * scorer.score(need, cluster, rows, depth)
        return total

    def scores_by_plugin(self, shape: Shape, cluster: Snapshot, rows: RowArray) -> list[tuple[str, float, Floats]]:
        """For people: of each plugin that has a score, its name, its weight, and 0 to 100 for each row."""
        return [
            (self.plugins[index].name, scorer.weight, scorer.score(need, cluster, rows, 1)[:, 0])
            for index, scorer in self._scorers
            if (need := shape.needs[index]) is not None
        ]

    def follow(self, shape: Shape, cluster: Snapshot) -> Following | None:
        """What follows a batch of this shape; None when its pods do not count for each other."""
        gates = {i: g for i, p in self._social if (n := shape.needs[i]) is not None and (g := p.follow(n, cluster))}
        pulls = {i: f for i, p in self._drawn if (n := shape.needs[i]) is not None and (f := p.pursue(n, cluster))}
        if not gates and not pulls:
            return None
        weights = dict(self._scorers)
        room = self._room(shape, cluster, ALL, False, frozenset(gates))
        return Following(
            room=room,
            free=room > 0,
            scores=self.steady_scores(shape, cluster, np.arange(cluster.capacity), frozenset(pulls)),
            gates=list(gates.values()),
            pulls=[(weights[index].weight, pull) for index, pull in pulls.items()],
            pulled=frozenset(pulls),
        )

    def steady_scores(self, shape: Shape, cluster: Snapshot, rows: RowArray, without: frozenset[int]) -> Floats:
        """Weighted sum of the scores of all plugins but some, for the next pod on each row."""
        total = np.zeros(rows.size)
        for index, scorer in self._scorers:
            if (need := shape.needs[index]) is not None and index not in without:
                total += scorer.weight * scorer.score(need, cluster, rows, 1)[:, 0]
        return total

    def stirred(self, shape: Shape, cluster: Snapshot, by: Footprint) -> bool:
        """Whether such a pod coming or leaving anywhere may let a pod of this shape go somewhere."""
        return any(
            (need := shape.needs[index]) is not None and plugin.stirred(need, cluster, by)
            for index, plugin in self._social
        )

    def recount(self, shape: Shape, cluster: Snapshot) -> list[str]:
        """For people: every constraint on other pods, with the counts that decide."""
        return [
            sentence
            for index, plugin in self._social
            if (need := shape.needs[index]) is not None
            for sentence in plugin.recount(need, cluster)
        ]

    def refusals(self, shape: Shape, cluster: Snapshot, rows: RowArray) -> list[tuple[Refuser, Any, Bools]]:
        """Of every plugin that refuses some of these rows: itself, its need, and where; in the order of asking."""
        found: list[tuple[Refuser, Any, Bools]] = []
        for index, plugin in self._refusers:
            need = shape.needs[index]
            if need is not None and (refused := _refused(plugin, need, cluster, rows)).any():
                found.append((plugin, need, refused))
        return found

    def waits_for(self, shape: Shape, cluster: Snapshot, rows: RowArray) -> Cause:
        """What could let a pod of this shape onto these nodes, all of which refuse it now."""
        causes = Cause.NODE_ADDED
        for plugin, _, _ in self.refusals(shape, cluster, rows):
            causes |= plugin.wakes_on
        return causes


def _refused(plugin: Refuser, need: Any, cluster: Snapshot, rows: RowArray) -> Bools:
    if isinstance(plugin, Filter):
        return ~plugin.mask(need, cluster, rows)
    full: Bools = plugin.room(need, cluster, rows, False) <= 0
    return full
