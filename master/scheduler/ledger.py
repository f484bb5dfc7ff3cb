"""Which pods there are, where each counts, and the snapshot kept in step with both.

A pod counts on its node from the moment it is *assumed* there (chosen, its binding not yet durable) or seen bound,
until it is gone or over; a terminating pod still uses what it uses. Pods of nodes that are not known (yet, or any more)
are remembered, and counted when the node appears.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from master.scheduler.crowd import Labels
from master.scheduler.shape import Footprint, Shape
from master.scheduler.snapshot import Cause, NodeFacts, Snapshot
from master.scheduler.volume_table import Promise
from podium.v1.core_pb2 import Pod


class PodKey(NamedTuple):
    """A pod's name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class State(Enum):
    """Where a pod stands in the scheduler's eyes."""

    WAITING = "waiting"
    ASSUMED = "assumed"
    BOUND = "bound"
    GONE = "gone"


@dataclass(slots=True, kw_only=True, eq=False)
class Entry:
    """One pod.

    Attributes:
        shape: Only while it is not bound.
        order: Its place in the queue among pods of its priority.
        since: When it was first seen, in seconds of the monotonic clock.
        node: Where it counts, when assumed or bound.
        claim: The node where room was made for it by evicting others.
        terminating: Whether its deletion was asked for.
        started: When it was created, in seconds since 1970; of pods that must go, the younger go first.
        told: The last reason for not being scheduled that was written to it.
        nominated: The last claim that was written to it, as status.nominatedNodeName.
        failures: Bindings that failed in a row.
        labels: As last seen: they are looked at again when more of them matter.
        pod: The object, only while it is not bound.
        generation: Of the object, as last seen: what it takes from its node may change with it.
        promises: What its claims get on the node where it is assumed.
    """

    key: PodKey
    uid: str
    footprint: Footprint
    shape: Shape | None = None
    order: int = 0
    since: float = 0.0
    state: State = State.WAITING
    node: str = ""
    claim: str = ""
    terminating: bool = False
    started: int = 0
    told: str = ""
    nominated: str = ""
    failures: int = 0
    generation: int = 0
    labels: Labels = ()
    pod: Pod | None = None
    promises: tuple[Promise, ...] = ()

    def is_news(self, message: str) -> bool:
        """Whether this reason, or the claim as it is, was not written to the pod yet."""
        return self.told != message or self.nominated != self.claim

    def tell(self, message: str) -> None:
        """This reason and the claim as it is will be written to the pod."""
        self.told, self.nominated = message, self.claim


@dataclass(slots=True)
class Ledger:
    """See the module."""

    cluster: Snapshot
    entries: dict[PodKey, Entry] = field(default_factory=dict)
    _on_node: dict[str, dict[PodKey, Entry]] = field(default_factory=dict)
    _claims: dict[str, dict[PodKey, Entry]] = field(default_factory=dict)

    def on(self, node: str) -> Iterable[Entry]:
        """Pods that count on a node."""
        return self._on_node.get(node, {}).values()

    # ------------------------------------------------------------ pods

    def assume(self, entries: Iterable[Entry], rows: Iterable[int]) -> None:
        """Note where pods were placed; the snapshot has them reserved already."""
        for entry, row in zip(entries, rows, strict=True):
            self._put(entry, self.cluster.name(row), State.ASSUMED)

    def bind(self, entry: Entry, node: str) -> int | None:
        """Note that a pod is bound to `node`, whatever was thought before; the row where there is room for that."""
        if entry.node == node:
            entry.state = State.BOUND
            return None
        left = self.free(entry)
        self._put(entry, node, State.BOUND)
        row = self.cluster.row(node)
        if row is not None:
            self.cluster.reserve(row, entry.footprint)
        return left

    def _put(self, entry: Entry, node: str, state: State) -> None:
        entry.node, entry.state = sys.intern(node), state
        self._on_node.setdefault(node, {})[entry.key] = entry

    def free(self, entry: Entry) -> int | None:
        """Take a pod from its node, if it counts on one; the row where there is room now."""
        node, entry.node = entry.node, ""
        if not node:
            return None
        there = self._on_node[node]
        del there[entry.key]
        if not there:
            del self._on_node[node]
        row = self.cluster.row(node)
        if row is not None:
            self.cluster.release(row, entry.footprint)
        return row

    def count_as(self, entry: Entry, footprint: Footprint) -> None:
        """What a pod takes, or is seen as, changed: also where it is."""
        row = self.cluster.row(entry.node) if entry.node else None
        if row is not None:
            self.cluster.release(row, entry.footprint)
            self.cluster.reserve(row, footprint)
        entry.footprint = footprint

    # ------------------------------------------------------------ claims

    def claim(self, entry: Entry, node: str) -> None:
        """Promise a waiting pod room on a node, in place of any earlier promise."""
        self.unclaim(entry)
        row = self.cluster.row(node)
        if row is not None:
            self.cluster.claim(row, entry.footprint)
            self._claims.setdefault(node, {})[entry.key] = entry
            entry.claim = node

    def unclaim(self, entry: Entry) -> int | None:
        """Take back a promise, if there is one; the row where there is room now."""
        node, entry.claim = entry.claim, ""
        if not node:
            return None
        del self._claims[node][entry.key]
        row = self.cluster.row(node)
        if row is not None:
            self.cluster.claim(row, entry.footprint, -1)
        return row

    # ------------------------------------------------------------ nodes

    def set_node(self, facts: NodeFacts) -> Cause:
        """Take over a node; a new one is charged with the pods that are bound to it."""
        cause = self.cluster.set_node(facts)
        if cause is Cause.NODE_ADDED:
            row = self.cluster.row(facts.name)
            assert row is not None
            for entry in self.on(facts.name):
                self.cluster.reserve(row, entry.footprint)
        return cause

    def remove_node(self, name: str) -> list[Entry]:
        """Forget a node; pods bound to it are remembered until they are gone. The pods whose promise is void now."""
        self.cluster.remove_node(name)
        void = list(self._claims.pop(name, {}).values())
        for entry in void:
            entry.claim = ""
        return void
