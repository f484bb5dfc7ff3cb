"""Pods that wait for a node, by shape: active in order of priority then age, or parked until something could help.

Pods of one shape stand in one line, since what holds for one of them holds for all. A line that no node takes is parked
with the causes it waits for, at the price of one pod; one that joins a parked line shares its fate at once.

What wakes a parked line: a change on some nodes whose cause is among those it waits for, *and* after which one of
these nodes takes such a pod (or could, by eviction). No wake-up is lost, because of this invariant: for every node,
what the line waits for includes the cause of some plugin that refuses that node. To become free the node must first
satisfy that plugin, which is a change of that cause; the node is then looked at again, and if others refuse it now,
their causes are added.

A pod with a promise (a *claim*) on a node stands in a line of its own, because the promise does not count against it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from master.scheduler.ledger import Entry, PodKey
from master.scheduler.shape import Shape
from master.scheduler.snapshot import Cause

Helps = Callable[["Line"], bool]
Refused = Callable[["Line"], Cause]


@dataclass(slots=True, eq=False)
class Line:
    """Waiting pods of one shape, in order of age. `waits_for` is NOTHING while the line is active."""

    shape: Shape
    claimant: Entry | None = None
    pods: dict[PodKey, Entry] = field(default_factory=dict)
    waits_for: Cause = Cause.NOTHING
    message: str = ""
    queued: bool = False

    @property
    def parked(self) -> bool:
        """Whether nothing takes these pods until something changes."""
        return bool(self.waits_for)

    def head(self) -> Entry:
        """The oldest pod."""
        return next(iter(self.pods.values()))


class _Turn(NamedTuple):
    priority: int
    order: int
    line: Line

    def __lt__(self, other: tuple[object, ...]) -> bool:
        return self[:2] < other[:2]


@dataclass(slots=True)
class Queue:
    """See the module."""

    _lines: dict[Shape, Line] = field(default_factory=dict)
    _claimants: dict[PodKey, Line] = field(default_factory=dict)
    _heap: list[_Turn] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(line.pods) for line in self.lines())

    def lines(self) -> Iterator[Line]:
        """Every line that has pods."""
        yield from self._lines.values()
        yield from self._claimants.values()

    def depths(self) -> tuple[int, int]:
        """How many pods are active, and how many parked."""
        parked = sum(len(line.pods) for line in self.lines() if line.parked)
        return len(self) - parked, parked

    def line_of(self, entry: Entry) -> Line | None:
        """The line that a pod stands in."""
        own = self._claimants.get(entry.key)
        if own is not None:
            return own
        line = self._lines.get(entry.shape) if entry.shape is not None else None
        return line if line is not None and entry.key in line.pods else None

    def push(self, entry: Entry) -> Line:
        """Put a pod at the end of its line (its own, when it has a claim), which may be a parked one."""
        assert entry.shape is not None, "only pods without a node wait"
        if entry.claim:
            line = self._claimants[entry.key] = Line(entry.shape, claimant=entry)
        else:
            line = self._lines.setdefault(entry.shape, Line(entry.shape))
        line.pods[entry.key] = entry
        self._offer(line)
        return line

    def remove(self, entry: Entry) -> bool:
        """Take a pod out; whether it stood in a line."""
        line = self.line_of(entry)
        if line is None:
            return False
        del line.pods[entry.key]
        if not line.pods:
            self._drop(line)
        return True

    def _drop(self, line: Line) -> None:
        if line.claimant is not None:
            del self._claimants[line.claimant.key]
        else:
            del self._lines[line.shape]

    def _offer(self, line: Line) -> None:
        if not line.queued and not line.parked and line.pods:
            heapq.heappush(self._heap, _Turn(-line.shape.priority, line.head().order, line))
            line.queued = True

    def next(self) -> Line | None:
        """The active line whose turn it is: highest priority, then oldest. Give it back by `done` or `park`."""
        while self._heap:
            line = heapq.heappop(self._heap).line
            line.queued = False
            if line.pods and not line.parked:
                return line
        return None

    def done(self, line: Line) -> None:
        """The line was served; if pods are left, it gets another turn."""
        self._offer(line)

    def park(self, line: Line, waits_for: Cause, message: str) -> None:
        """No node takes the pods of this line."""
        line.waits_for, line.message = waits_for, message

    def wake(self, cause: Cause, helps: Helps, refused: Refused) -> int:
        """Activate parked lines that a change helps; how many pods that is.

        Args:
            cause: What changed.
            helps: Whether a pod of a line might now go to one of the nodes that the change may have opened to it.
            refused: What a line waits for on these nodes when none helps.
        """
        woken = 0
        for line in [line for line in self.lines() if line.waits_for & cause]:
            if helps(line):
                line.waits_for = Cause.NOTHING
                woken += len(line.pods)
                self._offer(line)
            else:
                line.waits_for |= refused(line)
        return woken
