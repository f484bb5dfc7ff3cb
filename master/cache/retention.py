"""How much of each kind is kept in memory, beyond the bytes of every object.

Decoded messages are what the master's memory goes to. Those of most kinds are read all the time; Events are many,
written once, and read by people: they are kept as bytes, and only the newest few of their history.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What is kept of one kind.

    Attributes:
        events: Changes that watches can be resumed from; up to an eighth more are held.
        decoded: Of those, the newest, whose superseded objects stay decoded for subscribers.
        compact: Current objects are decoded only while their last change is among the `decoded` ones.
    """

    events: int = 10_000
    decoded: int = 1_000
    compact: bool = False

    @property
    def most_events(self) -> int:
        """How many changes are held before the surplus is dropped: one by one would be costly."""
        return self.events + self.events // 8


_USUAL = Retention()
_OF_KIND = {"Event": Retention(events=4_000, decoded=100, compact=True)}


def retention_of(kind: str) -> Retention:
    """What is kept of a kind, by its name."""
    return _OF_KIND.get(kind, _USUAL)
