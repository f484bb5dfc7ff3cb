"""Answers of Prometheus that are good for a while: who asks every second, or asks what another just did, costs nothing.

An answer is kept for `seconds`, a refusal as well: a Prometheus that is down is asked no more often than one that is
not. Questions are told apart by their text; whoever asks while the same one is under way waits for its answer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from master.signals.prometheus import Queries
from master.signals.samples import Sample
from podium.aio.clock import Clock
from podium.errors import PodiumError

MOST_KEPT = 2000


@dataclass(slots=True)
class _Kept:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    at: float = float("-inf")
    answer: tuple[Sample, ...] | PodiumError = ()


class RecentQueries:
    """See the module. Implements Queries over another."""

    def __init__(self, queries: Queries, *, clock: Clock, seconds: float) -> None:
        self._queries, self._clock, self._seconds = queries, clock, seconds
        self._kept: dict[str, _Kept] = {}

    async def query(self, text: str) -> tuple[Sample, ...]:
        """See Queries."""
        kept = self._kept.get(text)
        if kept is None:
            self._make_room()
            kept = self._kept[text] = _Kept()
        async with kept.turn:
            if self._clock.monotonic() - kept.at >= self._seconds:
                await self._ask(text, kept)
        if isinstance(kept.answer, PodiumError):
            raise kept.answer
        return kept.answer

    async def _ask(self, text: str, kept: _Kept) -> None:
        try:
            kept.answer = await self._queries.query(text)
        except PodiumError as error:
            kept.answer = error
        kept.at = self._clock.monotonic()

    def _make_room(self) -> None:
        if len(self._kept) < MOST_KEPT:
            return
        now = self._clock.monotonic()
        self._kept = {
            text: kept for text, kept in self._kept.items() if kept.turn.locked() or now - kept.at < self._seconds
        }
