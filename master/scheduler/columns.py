"""Arrays that grow with the number of nodes, and strings turned into the numbers that such arrays can hold.

A *row* is a node's index in every array. Rows of removed nodes are zeroed and used again, so arrays grow only with the
greatest number of nodes ever present at once.
"""

from __future__ import annotations

import re
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Codes = NDArray[np.int32]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
RowArray = NDArray[np.intp]
Rows = slice | RowArray

ALL = slice(None)
UNLIMITED = 2**31 - 1
NOT_A_NUMBER = int(np.iinfo(np.int64).min)

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


S = TypeVar("S", bound=np.generic)


def grown(array: NDArray[S], capacity: int) -> NDArray[S]:
    """A copy with room for `capacity` rows; new rows are zero."""
    larger = np.zeros(capacity, dtype=array.dtype)
    larger[: array.size] = array
    return larger


class Resource:
    """One resource on every node: what there is, what pods take, and what pods of each priority take of that."""

    __slots__ = ("allocatable", "by_priority", "used")

    def __init__(self, capacity: int) -> None:
        self.allocatable: Ints = np.zeros(capacity, dtype=np.int64)
        self.used: Ints = np.zeros(capacity, dtype=np.int64)
        self.by_priority: dict[int, Ints] = {}

    def take(self, row: int, amount: int, priority: int) -> None:
        """Add to what pods of `priority` use on one node; a negative amount gives back."""
        self.used[row] += amount
        self.of(priority)[row] += amount

    def take_many(self, rows: RowArray, amounts: Ints, priority: int) -> None:
        """As `take`, on distinct rows."""
        self.used[rows] += amounts
        self.of(priority)[rows] += amounts

    def of(self, priority: int) -> Ints:
        """What pods of exactly this priority use."""
        found = self.by_priority.get(priority)
        if found is None:
            found = self.by_priority[priority] = np.zeros(self.used.size, dtype=np.int64)
        return found

    def below(self, priority: int, rows: Rows = ALL) -> Ints:
        """What pods of a lower priority use on these rows."""
        total = np.zeros_like(self.used[rows])
        for level, used in self.by_priority.items():
            if level < priority:
                total += used[rows]
        return total

    def at_least(self, priority: int, rows: Rows = ALL) -> Ints:
        """What pods of this or a higher priority use on these rows."""
        total = np.zeros_like(self.used[rows])
        for level, used in self.by_priority.items():
            if level >= priority:
                total += used[rows]
        return total

    def forget(self, row: int) -> None:
        """Zero a row."""
        self.allocatable[row] = self.used[row] = 0
        for used in self.by_priority.values():
            used[row] = 0

    def grow(self, capacity: int) -> None:
        """Make room for more rows."""
        self.allocatable = grown(self.allocatable, capacity)
        self.used = grown(self.used, capacity)
        self.by_priority = {level: grown(used, capacity) for level, used in self.by_priority.items()}


class Image:
    """One image on every node: its size there, 0 where the node does not have it; and how many nodes have it."""

    __slots__ = ("nodes", "sizes")

    def __init__(self, capacity: int) -> None:
        self.sizes: Ints = np.zeros(capacity, dtype=np.int64)
        self.nodes = 0

    def set(self, row: int, size: int) -> None:
        """The size on one node; 0: it is not there."""
        self.nodes += int(size > 0) - int(self.sizes[row] > 0)
        self.sizes[row] = size


class LabelColumn:
    """One label key on every node: a code for its value, 0 where the node does not have the label.

    `values` has the value of each code.
    """

    __slots__ = ("_codes_of", "_numbers", "codes", "values")

    def __init__(self, capacity: int) -> None:
        self.codes: Codes = np.zeros(capacity, dtype=np.int32)
        self.values: list[str] = [""]
        self._codes_of: dict[str, int] = {}
        self._numbers: list[int] = [NOT_A_NUMBER]

    def set(self, row: int, value: str | None) -> None:
        """Set or, with None, remove the label on one node."""
        self.codes[row] = 0 if value is None else self._code(value)

    def _code(self, value: str) -> int:
        found = self._codes_of.get(value)
        if found is None:
            found = self._codes_of[value] = len(self.values)
            self.values.append(value)
            self._numbers.append(_number(value))
        return found

    def has(self, values: tuple[str, ...], rows: Rows = ALL) -> Bools:
        """Where the value is one of these."""
        wanted = [code for code in map(self._codes_of.get, values) if code is not None]
        found: Bools = np.isin(self.codes[rows], wanted)
        return found

    def present(self, rows: Rows = ALL) -> Bools:
        """Where the label is there at all."""
        found: Bools = self.codes[rows] != 0
        return found

    def numbers(self, rows: Rows = ALL) -> Ints:
        """The values as integers; NOT_A_NUMBER where absent or not an integer."""
        read: Ints = np.asarray(self._numbers, dtype=np.int64)[self.codes[rows]]
        return read

    def grow(self, capacity: int) -> None:
        """Make room for more rows."""
        self.codes = grown(self.codes, capacity)


def _number(value: str) -> int:
    return int(value) if _INTEGER.fullmatch(value) else NOT_A_NUMBER
