"""Who is where: pods counted by what selectors can see of them, for every selector that somebody asks about.

Three things are kept in step with every pod that comes or goes, each exactly reversible:

    by kin     which rows have how many pods of each kin
    by crowd   an array over rows for each crowd that was asked about lately: made from the former, then kept up
    held       an array over rows for each term that pods hold where they are

So a question about any crowd is one gather over nodes, and a pod that comes costs one addition for each crowd that it
is in. Which crowds these are is found once for each kin. Clusters in which no pod speaks of other pods count nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

import numpy as np

from master.scheduler.columns import Ints, grown
from master.scheduler.crowd import Crowd, Crowds, Held, Kin, Labels
from podium.objects.selectors import Operator

_MOST_CROWDS = 256
_MOST_REMEMBERED = 8192

T = TypeVar("T", bound=Hashable)


class Finder(Generic[T]):
    """Which of many crowds a kin is in, without asking them all: by the first label value that a crowd insists on."""

    def __init__(self, includes: Callable[[Crowds, Kin], bool]) -> None:
        self._includes = includes
        self._by_pair: dict[tuple[str, str], dict[T, Crowds]] = {}
        self._others: dict[T, Crowds] = {}
        self._found: dict[Kin, tuple[T, ...]] = {}

    def add(self, item: T, crowds: Crowds) -> None:
        """Find `item` from now on by those who are in all of `crowds`."""
        self._found.clear()
        pairs = _pairs(crowds[0])
        for pair in pairs:
            self._by_pair.setdefault(pair, {})[item] = crowds
        if not pairs:
            self._others[item] = crowds

    def remove(self, item: T, crowds: Crowds) -> None:
        """Take an item out that was added with `crowds`."""
        self._found.clear()
        self._others.pop(item, None)
        for pair in _pairs(crowds[0]):
            there = self._by_pair[pair]
            del there[item]
            if not there:
                del self._by_pair[pair]

    def of(self, kin: Kin) -> tuple[T, ...]:
        """The items whose crowds this kin is in."""
        found = self._found.get(kin)
        if found is None:
            if len(self._found) >= _MOST_REMEMBERED:
                self._found.clear()
            found = self._found[kin] = tuple(self._search(kin))
        return found

    def _search(self, kin: Kin) -> Iterable[T]:
        for candidates in (self._others, *(self._by_pair.get(pair, {}) for pair in kin.labels)):
            for item, crowds in candidates.items():
                if self._includes(crowds, kin):
                    yield item

    def forget(self) -> None:
        """What namespaces are called changed."""
        self._found.clear()


def _pairs(crowd: Crowd) -> list[tuple[str, str]]:
    for requirement in crowd.selector.requirements:
        if requirement.operator in (Operator.EQUALS, Operator.IN):
            return [(requirement.key, value) for value in requirement.values]
    return []


class Tally:
    """A count for each row. `total` is their sum."""

    __slots__ = ("rows", "total")

    def __init__(self, capacity: int) -> None:
        self.rows: Ints = np.zeros(capacity, dtype=np.int64)
        self.total = 0

    def add(self, row: int, change: int) -> None:
        """Count up or down."""
        self.rows[row] += change
        self.total += change

    def forget(self, row: int) -> None:
        """Zero a row."""
        self.total -= int(self.rows[row])
        self.rows[row] = 0


class Census:
    """See the module."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.keys: frozenset[str] | None = None
        """The labels that some selector looks at; None while no pod ever spoke of other pods."""
        self._namespaces: dict[str, dict[str, str]] = {}
        self._where: dict[Kin, dict[int, int]] = {}
        self._tallies: OrderedDict[Crowds, Tally] = OrderedDict()
        self._members: Finder[Crowds] = Finder(self.includes)
        self._held: dict[Held, Tally] = {}
        self._holding: Finder[Held] = Finder(self.includes)

    # ------------------------------------------------------------ what is looked at

    def mention(self, keys: frozenset[str]) -> bool:
        """Some selector looks at these label keys; whether kins that were read before may be different now."""
        known = self.keys
        if known is not None and keys <= known:
            return False
        self.keys = keys | (known or frozenset())
        return True

    def kin(self, namespace: str, labels: Labels, leaving: bool) -> Kin | None:
        """What selectors can see of a pod; None while there are none."""
        keys = self.keys
        if keys is None:
            return None
        return Kin(namespace, tuple(pair for pair in labels if pair[0] in keys), leaving)

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> bool:
        """Take over a namespace's labels (None: it is gone); whether anything changed."""
        old, new = self._namespaces.get(name, {}), dict(labels or {})
        if new:
            self._namespaces[name] = new
        else:
            self._namespaces.pop(name, None)
        if old == new:
            return False
        for crowds in [c for c in self._tallies if any(crowd.namespace_selector is not None for crowd in c)]:
            self._drop(crowds)
        self._members.forget()
        self._holding.forget()
        return True

    def includes(self, crowds: Crowds, kin: Kin) -> bool:
        """Whether pods of this kin are in every one of these crowds."""
        labels = dict(kin.labels)
        return all(self._in(crowd, kin, labels) for crowd in crowds)

    def _in(self, crowd: Crowd, kin: Kin, labels: Mapping[str, str]) -> bool:
        if crowd.staying and kin.leaving:
            return False
        if kin.namespace not in crowd.namespaces:
            among = crowd.namespace_selector
            if among is None or not among.matches(self._namespaces.get(kin.namespace, {})):
                return False
        return crowd.selector.matches(labels)

    # ------------------------------------------------------------ pods come and go

    def count(self, row: int, kin: Kin, change: int) -> None:
        """`change` pods of this kin came to a row; negative: left."""
        there = self._where.setdefault(kin, {})
        left = there.get(row, 0) + change
        if left:
            there[row] = left
        else:
            del there[row]
            if not there:
                del self._where[kin]
        for crowds in self._members.of(kin):
            self._tallies[crowds].add(row, change)

    def hold(self, row: int, held: Iterable[Held], change: int) -> None:
        """`change` pods that hold these terms came to a row; negative: left."""
        for term in held:
            tally = self._held.get(term)
            if tally is None:
                tally = self._held[term] = Tally(self._capacity)
                self._holding.add(term, (term.term.crowd,))
            tally.add(row, change)
            if not tally.total:
                self._release(term)

    def _release(self, term: Held) -> None:
        del self._held[term]
        self._holding.remove(term, (term.term.crowd,))

    def forget(self, row: int) -> None:
        """The node of a row is gone, and all that was counted on it."""
        for kin, there in list(self._where.items()):
            if there.pop(row, 0) and not there:
                del self._where[kin]
        for tally in self._tallies.values():
            tally.forget(row)
        for term, tally in list(self._held.items()):
            tally.forget(row)
            if not tally.total:
                self._release(term)

    def grow(self, capacity: int) -> None:
        """Make room for more rows."""
        self._capacity = capacity
        for tally in (*self._tallies.values(), *self._held.values()):
            tally.rows = grown(tally.rows, capacity)

    # ------------------------------------------------------------ what is asked

    def of(self, crowds: Crowds) -> Ints:
        """How many pods that are in all of these crowds each row has; not to be changed."""
        tally = self._tallies.get(crowds)
        if tally is None:
            tally = self._counted(crowds)
        else:
            self._tallies.move_to_end(crowds)
        return tally.rows

    def _counted(self, crowds: Crowds) -> Tally:
        tally = Tally(self._capacity)
        for kin, there in self._where.items():
            if self.includes(crowds, kin):
                for row, number in there.items():
                    tally.add(row, number)
        if len(self._tallies) >= _MOST_CROWDS:
            self._drop(next(iter(self._tallies)))
        self._tallies[crowds] = tally
        self._members.add(crowds, crowds)
        return tally

    def _drop(self, crowds: Crowds) -> None:
        del self._tallies[crowds]
        self._members.remove(crowds, crowds)

    def held_against(self, kin: Kin) -> list[tuple[Held, Ints]]:
        """The terms held somewhere whose crowd this kin is in, and how many pods hold them on each row."""
        return [(held, self._held[held].rows) for held in self._holding.of(kin)]

    def content(self) -> dict[str, dict[int, int]]:
        """All that is counted, by what: for comparing."""
        found = {f"kin {kin}": dict(there) for kin, there in self._where.items()}
        for held, tally in self._held.items():
            found[f"held {held}"] = {int(row): int(tally.rows[row]) for row in np.flatnonzero(tally.rows)}
        return found
