"""What would be, if there were more nodes, or one fewer: tried on the snapshot itself, and taken back.

A trial adds nodes that are only imagined, places the pods that wait with the very plugins that place them otherwise,
and undoes all of it. It is one step of the event loop, so nobody sees it; and since `reserve` and `release`, and adding
and removing a node, are exact inverses, nothing of it is left. No line is woken by it.

Its cost is bounded: of the pods that wait, the most urgent `SHAPES_AT_ONCE` shapes are looked at, and of the nodes that
were asked about no more than `NODES_AT_ONCE` are taken. What is left over is for the next look.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from master.scheduler.engine import Engine
from master.scheduler.place import place
from master.scheduler.shape import Footprint, Shape
from master.scheduler.snapshot import NOT_READY, UNREACHABLE, UNSCHEDULABLE, NodeFacts, TaintKey, facts_of
from podium.v1.core_pb2 import Node, Pod

SHAPES_AT_ONCE = 64
NODES_AT_ONCE = 8
_HOSTNAME = "kubernetes.io/hostname"
_NO_EXECUTE = "NoExecute"
_Likeness = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Packing:
    """What became of the pods that wait.

    Attributes:
        taken: How many of them each of the nodes would get, in the order of the question.
        refused: For each group, why its next node would take none of those that are left: pods by reason.
        left: How many pods would wait still.
    """

    taken: Sequence[int]
    refused: Mapping[str, Counter[str]]
    left: int


def waiting(engine: Engine) -> int:
    """How many pods no node takes; those that room is being made for do not count."""
    return sum(len(line.pods) for line in engine.queue.lines() if line.parked and line.claimant is None)


def pack(engine: Engine, nodes: Sequence[tuple[str, Node]], most: Mapping[str, int], daemons: Sequence[Pod]) -> Packing:
    """Place the pods that no node takes on nodes that are not there, in the order of these.

    Args:
        engine: The scheduler.
        nodes: Each with its group. Those of the group "" are coming anyway, and do not count once the scheduler has
            them ready. Any other is taken only if it gets a pod.
        most: For every other group, how many of its nodes may be taken.
        daemons: Pods that each node will have of itself, where it lets them.
    """
    left = _shapes_waiting(engine)
    own = [engine.shape_of(pod) for pod in daemons]
    with _trial(engine) as trial:
        packer = _Packer(trial, left, own, dict(most))
        packer.spare_those_that_fit()
        taken = [packer.offer(group, node) for group, node in nodes]
    return Packing(taken, packer.refused, sum(left.values()))


def confined(engine: Engine, node: str, pods: Sequence[Pod]) -> list[str]:
    """Names (`NAMESPACE/NAME`) of those of a node's pods that no other node would take, all of them moving at once.

    All of them are while the node is not known (yet).
    """
    row = engine.cluster.row(node)
    if row is None:
        return sorted(f"{pod.metadata.namespace}/{pod.metadata.name}" for pod in pods)
    moving: dict[Shape, list[str]] = {}
    for pod in pods:
        moving.setdefault(engine.shape_of(_unplaced(pod)), []).append(f"{pod.metadata.namespace}/{pod.metadata.name}")
    stuck: list[str] = []
    with _trial(engine) as trial, _closed(engine, row):
        for shape, names in sorted(moving.items(), key=lambda item: -item[0].priority):
            elsewhere = trial.place(shape, len(names), but=row)
            stuck += names[elsewhere:]
    return sorted(stuck)


def _shapes_waiting(engine: Engine) -> dict[Shape, int]:
    lines = [line for line in engine.queue.lines() if line.parked and line.claimant is None]
    lines.sort(key=lambda line: (-line.shape.priority, line.head().order))
    return {line.shape: len(line.pods) for line in lines[:SHAPES_AT_ONCE]}


def _unplaced(pod: Pod) -> Pod:
    copy = Pod()
    copy.CopyFrom(pod)
    copy.spec.ClearField("node_name")
    return copy


@contextmanager
def _closed(engine: Engine, row: int) -> Iterator[None]:
    """A node takes nothing for now."""
    facts = engine.cluster.facts(row)
    closed = (*facts.taints, *(TaintKey(UNSCHEDULABLE, "", e) for e in ("NoSchedule", _NO_EXECUTE)))
    _ = engine.cluster.set_node(replace(facts, taints=tuple(dict.fromkeys(closed))))
    try:
        yield
    finally:
        _ = engine.cluster.set_node(facts)


@contextmanager
def _trial(engine: Engine) -> Iterator[_Trial]:
    trial = _Trial(engine)
    try:
        yield trial
    finally:
        trial.undo()


@dataclass(slots=True)
class _Trial:
    """Nodes that were added, and pods that were placed, to be undone."""

    engine: Engine
    _nodes: list[str] = field(default_factory=list)
    _placed: list[tuple[int, int, Footprint]] = field(default_factory=list)

    def add(self, facts: NodeFacts) -> int:
        """Add a node; its row."""
        cluster = self.engine.cluster
        _ = cluster.set_node(facts)
        self._nodes.append(facts.name)
        row = cluster.row(facts.name)
        assert row is not None
        return row

    def drop(self, name: str, row: int) -> None:
        """Take back a node and what was placed on it."""
        mine = [entry for entry in self._placed if entry[0] == row]
        self._placed = [entry for entry in self._placed if entry[0] != row]
        self._release(mine)
        self._nodes.remove(name)
        self.engine.cluster.remove_node(name)

    def room(self, shape: Shape, rows: Sequence[int]) -> bool:
        """Whether any of these rows takes such a pod."""
        room = self.engine.profile.room(shape, self.engine.cluster, np.array(rows, dtype=np.intp))
        return bool(room.any())

    def place(self, shape: Shape, count: int, but: int = -1) -> int:
        """Place up to so many pods; how many went to other rows than `but`."""
        elsewhere = 0
        while elsewhere < count:
            made = place(self.engine.profile, shape, self.engine.cluster, count - elsewhere)
            if not len(made):
                break
            for row, number in zip(made.rows.tolist(), made.counts.tolist(), strict=True):
                self._placed.append((row, number, shape.footprint))
            good = int(made.counts[made.rows != but].sum())
            elsewhere += good
            if not good:
                break
        return elsewhere

    def put(self, shape: Shape, row: int) -> None:
        """Place one pod on a row."""
        self.engine.cluster.reserve(row, shape.footprint)
        self._placed.append((row, 1, shape.footprint))

    def placed_on(self, row: int, since: int) -> int:
        """How many pods were placed on a row after the first `since` placements."""
        return sum(number for at, number, _ in self._placed[since:] if at == row)

    @property
    def placements(self) -> int:
        """How many placements were made."""
        return len(self._placed)

    def undo(self) -> None:
        """As if nothing had been."""
        self._release(self._placed)
        for name in reversed(self._nodes):
            self.engine.cluster.remove_node(name)

    def _release(self, placed: Sequence[tuple[int, int, Footprint]]) -> None:
        for row, number, footprint in reversed(placed):
            for _ in range(number):
                self.engine.cluster.release(row, footprint)


class _Packer:
    """Offers one node after the other to what is left of the pods that wait."""

    def __init__(self, trial: _Trial, left: dict[Shape, int], daemons: Sequence[Shape], most: dict[str, int]) -> None:
        self._trial, self._left, self._daemons, self._most = trial, left, daemons, most
        self._rows: list[int] = []
        self._offered = 0
        self._useless: set[tuple[str, _Likeness]] = set()
        self.refused: dict[str, Counter[str]] = {}

    def spare_those_that_fit(self) -> None:
        """Leave out pods that a node takes by now: it has just come, and they are about to be tried again."""
        for shape, count in self._left.items():
            self._left[shape] -= self._trial.place(shape, count)

    def offer(self, group: str, node: Node) -> int:
        """How many pods a node gets."""
        if not group and self._is_there(node.metadata.name):
            return 0
        facts = self._named(facts_of(node))
        alike = (group, _likeness(facts))
        if group and (self._most.get(group, 0) <= 0 or self._offered >= NODES_AT_ONCE or alike in self._useless):
            return 0
        if not any(self._left.values()):
            return 0
        row = self._trial.add(facts)
        self._rows.append(row)
        self._settle_daemons(row)
        mine = self._trial.placements
        self._fill()
        taken = self._trial.placed_on(row, mine)
        if group and not taken:
            self._note_refusal(group, row)
            self._useless.add(alike)
            self._rows.pop()
            if self._trial.placements == mine:
                self._trial.drop(facts.name, row)
            return 0
        if group:
            self._most[group] -= 1
            self._offered += 1
        return taken

    def _is_there(self, name: str) -> bool:
        """Whether the scheduler has the node itself, ready: then pods that fit go there anyway."""
        cluster = self._trial.engine.cluster
        row = cluster.row(name)
        return row is not None and not any(t.key in (NOT_READY, UNREACHABLE) for t in cluster.facts(row).taints)

    def _named(self, facts: NodeFacts) -> NodeFacts:
        """By a name that no node has: the host may be on its way, and its node there already, not ready."""
        name = facts.name
        while self._trial.engine.cluster.row(name) is not None:
            name += "~"
        return replace(facts, name=name)

    def _settle_daemons(self, row: int) -> None:
        for shape in self._daemons:
            if self._trial.room(shape, [row]):
                self._trial.put(shape, row)

    def _fill(self) -> None:
        """Place what goes. A new node may also let pods onto earlier ones, as when they are spread over nodes."""
        for shape, count in self._left.items():
            if count and self._trial.room(shape, self._rows):
                self._left[shape] -= self._trial.place(shape, count)

    def _note_refusal(self, group: str, row: int) -> None:
        if group in self.refused:
            return
        reasons = self.refused[group] = Counter[str]()
        engine, rows = self._trial.engine, np.array([row], dtype=np.intp)
        for shape, count in self._left.items():
            found = engine.profile.refusals(shape, engine.cluster, rows) if count else []
            if found:
                plugin, need, _ = found[0]
                for reason in chain.from_iterable(plugin.explain(need, engine.cluster, rows)):
                    reasons[reason] += count


def _likeness(facts: NodeFacts) -> _Likeness:
    """What nodes that are the same to pods share."""
    labels = tuple(sorted((k, v) for k, v in facts.labels.items() if k != _HOSTNAME))
    return labels, tuple(sorted(facts.taints)), tuple(sorted(facts.allocatable.items()))
