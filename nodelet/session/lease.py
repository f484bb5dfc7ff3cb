"""The node's lease: until when it may run pods that must not run twice (`podium.objects.fencing`). Pure.

It counts from when a beat was *sent* that the master has acknowledged since: what merely arrives from the master says
nothing about what the master hears. Times are seconds since the host booted, which go on while it is suspended.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_MOST_UNANSWERED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a master grants, in seconds: how long after the last acknowledged beat exclusive pods may run, by how
    much the peers' answer extends that, and what a pod gets to end in."""

    silence: float
    evidence: float
    grace: float


class Lease:
    """See the module. Without terms, or before anything was acknowledged, there is none: nothing is fenced."""

    def __init__(self, terms: Terms | None = None, acknowledged_at: float | None = None) -> None:
        self.terms, self.acknowledged_at = terms, acknowledged_at
        self._beats: deque[tuple[int, float]] = deque(maxlen=_MOST_UNANSWERED)

    def begin(self, hello_sent: float, terms: Terms | None) -> None:
        """A master answered the hello that was sent then."""
        self._beats.clear()
        self.terms = terms
        self._take(hello_sent)

    def sent(self, sequence: int, at: float) -> None:
        """A heartbeat goes out."""
        self._beats.append((sequence, at))

    def acknowledged(self, sequence: int) -> None:
        """The master has heard this heartbeat."""
        while self._beats and self._beats[0][0] <= sequence:
            number, at = self._beats.popleft()
            if number == sequence:
                self._take(at)

    def _take(self, at: float) -> None:
        self.acknowledged_at = at if self.acknowledged_at is None else max(self.acknowledged_at, at)

    @property
    def until(self) -> float | None:
        """When the lease ends; None: there is none."""
        if self.acknowledged_at is None or self.terms is None:
            return None
        return self.acknowledged_at + self.terms.silence

    def silent_for(self, now: float) -> float | None:
        """Seconds since the last thing was sent that the master acknowledged; None: never."""
        return None if self.acknowledged_at is None else now - self.acknowledged_at
