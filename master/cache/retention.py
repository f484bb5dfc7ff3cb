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
        framed: Of those, the newest, which stay encoded as watchers are sent them.
        compact: Objects are decoded anew whenever they are read.
    """

    events: int = 10_000
    framed: int = 1_000
    compact: bool = False

    @property
    def most_events(self) -> int:
        """How many changes are held before the surplus is dropped: one by one would be costly."""
        return self.events + self.events // 8


_USUAL = Retention()
_OF_KIND = {"Event": Retention(events=4_000, framed=100, compact=True)}


def retention_of(kind: str) -> Retention:
    """What is kept of a kind, by its name."""
    return _OF_KIND.get(kind, _USUAL)
