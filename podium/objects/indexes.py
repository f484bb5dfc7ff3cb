"""Sets of completion indexes, written `0,2-4,6,7`: as many ranges as there are gaps, however many indexes. Pure.

Two neighbours are written as two indexes, as Kubernetes' Job controller does: clients compare the text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from podium.errors import BadRequest

_PART = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


@dataclass(frozen=True, slots=True)
class IndexSet:
    """A set of numbers from 0. `ranges` are first and last of each run, ascending, with a gap between any two."""

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, text: str, below: int | None = None) -> IndexSet:
        """Read `0,2-4`. Indexes that are not `below` a limit are left out.

        Raises:
            BadRequest: Malformed, or not ascending.
        """
        found: list[tuple[int, int]] = []
        for part in text.split(",") if text else ():
            match = _PART.fullmatch(part)
            if match is None:
                raise BadRequest(f'"{part}" is neither an index nor a range of indexes such as 2-4')
            first = int(match.group(1))
            last = int(match.group(2) or first)
            if last < first or (found and first <= found[-1][1]):
                raise BadRequest(f'indexes must ascend, and "{part}" does not')
            found.append((first, last))
        kept = found if below is None else [(a, min(b, below - 1)) for a, b in found if a < below]
        return cls(_joined(kept))

    @classmethod
    def of(cls, indexes: Iterable[int]) -> IndexSet:
        """The set of these indexes."""
        return cls(_joined((i, i) for i in sorted(set(indexes))))

    def __str__(self) -> str:
        return ",".join(_written(first, last) for first, last in self.ranges)

    def __len__(self) -> int:
        return sum(b - a + 1 for a, b in self.ranges)

    def __contains__(self, index: int) -> bool:
        low, high = 0, len(self.ranges)
        while low < high:
            middle = (low + high) // 2
            first, last = self.ranges[middle]
            if first <= index <= last:
                return True
            if index < first:
                high = middle
            else:
                low = middle + 1
        return False

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges:
            yield from range(first, last + 1)

    def with_indexes(self, indexes: Collection[int]) -> IndexSet:
        """This set and these indexes."""
        return IndexSet(_joined(sorted([*self.ranges, *((i, i) for i in indexes)]))) if indexes else self

    def missing(self, below: int) -> Iterator[int]:
        """What is not in the set, ascending, below a limit."""
        start = 0
        for first, last in self.ranges:
            yield from range(start, min(first, below))
            start = last + 1
        yield from range(start, below)


def _written(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"


def _joined(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Ascending ranges, those that touch or overlap made one."""
    joined: list[tuple[int, int]] = []
    for first, last in ranges:
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)
