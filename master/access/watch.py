"""Watches for the API: the changes of what is selected, in batches, from a revision.

A watcher sees only its selection: an object that changes so that it now belongs is ADDED, one that no longer does is
DELETED (with its last selected state, at the revision of the change), as in Kubernetes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from master.access.listing import Selection
from master.access.protocol import ChangeType
from master.cache.cache import WatchCache
from master.cache.item import Event, Item

BATCH_EVENTS = 500


@dataclass(frozen=True, slots=True)
class Seen:
    """A change as this watcher sees it. `natural`: as everybody without a selector sees it, so encodings are shared."""

    type: ChangeType
    item: Item
    event: Event
    natural: bool


@dataclass(slots=True)
class WatchBatch:
    """Some changes, and the revision up to which the watch is now complete; 0 when that cannot be said.

    `start` and `end` are places in the kind's history. `wire` is a place for the API to keep the batch encoded, which
    is shared by all who get this same batch.
    """

    seen: Sequence[Seen]
    revision: int
    start: int
    end: int
    wire: bytes | None = None


Newest = dict[str, WatchBatch]
"""The newest batch of each kind that went to a watcher without a selection: the others mostly want the same one."""


class Watch:
    """One watcher's place and selection.

    Raises:
        Expired: History no longer reaches back to `after`, or never had it.
    """

    def __init__(self, cache: WatchCache, newest: Newest, selection: Selection, *, after: int) -> None:
        cache.check_known(after)
        self._cache = cache
        self._newest = newest
        self._selection = selection
        self._history = cache.history(selection.kind)
        self._cursor = self._history.cursor(after)
        self._take = self._take_all if selection.total and not selection.namespace else self._take_selected

    async def next(self, *, at_most: float) -> WatchBatch:
        """The next changes; an empty batch when there were none for `at_most` seconds.

        Raises:
            TooSlow: This watcher fell behind what is kept.
        """
        try:
            async with asyncio.timeout(at_most):
                while True:
                    await self._cursor.ready()
                    batch = self._take()
                    if batch.seen:
                        return batch
        except TimeoutError:
            return self._take()

    def _take_all(self) -> WatchBatch:
        newest, place = self._newest.get(self._selection.kind), self._cursor.position
        if newest is not None and newest.start == place < newest.end == min(self._history.end, place + BATCH_EVENTS):
            self._cursor.position = newest.end
            return newest
        batch = self._newest[self._selection.kind] = self._take_selected()
        return batch

    def _take_selected(self) -> WatchBatch:
        start = self._cursor.position
        events = self._cursor.take(BATCH_EVENTS)
        end = self._cursor.position
        seen = [seen for event in events if (seen := see(event, self._selection)) is not None]
        return WatchBatch(seen, self._complete_to(events), start, end)

    def _complete_to(self, events: Sequence[Event]) -> int:
        if self._history.all_published and self._cursor.position >= self._history.end:
            return self._cache.revision  # and not only to the last event of this kind
        return events[-1].revision if events else 0


def see(event: Event, selection: Selection) -> Seen | None:
    """How an event appears to a watcher of a selection; None when it does not."""
    now = not event.removed and event.new in selection
    before = event.old is not None and event.old in selection
    if event.removed:
        return Seen(ChangeType.DELETED, event.new, event, natural=True) if before or event.old is None else None
    if now:
        natural = (event.old is not None) == before
        return Seen(ChangeType.MODIFIED if before else ChangeType.ADDED, event.new, event, natural)
    if before and event.old is not None:
        left = Item(event.old.key, event.old.value, event.revision)
        return Seen(ChangeType.DELETED, left, event, natural=False)
    return None
