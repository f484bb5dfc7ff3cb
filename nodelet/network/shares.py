"""Endpoints that do not all get the same: which numbers of a draw lead to each. Pure.

While a canary is under way, its Deployment's endpoints get together what as many endpoints would get anyway; of that
the new revision's get exactly as many percent as the canary says, whatever their number. A draw gives a number below
`Draw.below`, a multiple of 100 for every endpoint, so that the line between revisions is met exactly; within a revision
endpoints differ by one number at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

FINE = 1000
MOST = 2**31
"""A kernel draws below 2³²: a number more or less is then one in four billions."""


class Side(NamedTuple):
    """The revision of a Deployment that an endpoint is of, where connections are split between two of them.

    Attributes:
        deployment: Its name; empty where nothing is split.
        canary: Whether the revision is the new one.
        weight: Percent that are the new revision's.
    """

    deployment: str = ""
    canary: bool = False
    weight: int = 0

    @property
    def percent(self) -> int:
        """What this revision gets of what the Deployment does."""
        return self.weight if self.canary else 100 - self.weight


WHOLE = Side()


class Draw(NamedTuple):
    """Numbers from 0 to `below` − 1, and to which endpoint (by its place) each range of them leads, first to last."""

    below: int
    ranges: tuple[tuple[int, int, int], ...]


def draw(sides: Sequence[Side]) -> Draw | None:
    """How endpoints of these sides share; None when all get the same."""
    if not any(side.deployment for side in sides):
        return None
    members: dict[Side, list[int]] = {}
    for place, side in enumerate(sides):
        members.setdefault(side, []).append(place)
    both = {side for side in members if side.deployment and side._replace(canary=not side.canary) in members}
    if not both:
        return None
    fine = max(1, min(FINE, MOST // (100 * len(sides))))
    ranges, first = list[tuple[int, int, int]](), 0
    for side, places in sorted(members.items()):
        size = fine * 100 * len(places)
        if side in both:
            size = fine * side.percent * (len(places) + len(members[side._replace(canary=not side.canary)]))
        ranges.extend(_cut(places, first, size))
        first += size
    return Draw(first, tuple(ranges))


def _cut(places: Sequence[int], first: int, size: int) -> Iterator[tuple[int, int, int]]:
    """A range in as many parts as there are endpoints."""
    for number, place in enumerate(places):
        begin, end = (first + size * n // len(places) for n in (number, number + 1))
        if end > begin:
            yield place, begin, end - 1
