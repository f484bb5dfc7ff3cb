"""The recent events of one kind: what watches are served from.

A watcher is a `Cursor`: a position in the history, holding nothing of its own. So a slow watcher costs no memory and
delays nobody; when the events it has yet to read are dropped, it is told (`TooSlow`) and lists again.

Events are published to cursors at once when it has been quiet, and otherwise gathered for a moment: a batch costs every
watcher a frame on the wire, so the more watchers there are, the more goes into one.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence

from master.cache.item import Event
from master.cache.retention import Retention
from podium.errors import Expired, TooSlow

# Seconds between two publications: so much a watcher, up to a limit.
GATHER_A_WATCHER = 0.0002
GATHER_AT_MOST = 0.02


class History:
    """The newest events of a kind that came after the revision `floor`: at least as many as are to be retained."""

    def __init__(self, floor: int, retention: Retention | None = None) -> None:
        self._floor = floor
        self._retention = retention or Retention()
        self._events: list[Event] = []
        self._dropped = 0  # events that were here once; positions count from the first ever
        self._published = 0
        self._published_at = 0.0
        self._publishing: asyncio.TimerHandle | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._crowd = 0  # how many waited for the last publication

    @property
    def floor(self) -> int:
        """The revision after which every event is here."""
        return self._floor

    @property
    def end(self) -> int:
        """The position after the newest event that is published."""
        return self._published

    @property
    def all_published(self) -> bool:
        """Whether cursors see every event."""
        return self._published == self._dropped + len(self._events)

    def append(self, event: Event) -> None:
        """Add an event that is newer than all here."""
        self._events.append(event)
        if len(self._events) > self._retention.framed:
            self._events[-self._retention.framed - 1].wire = None
        if len(self._events) > self._retention.most_events:
            surplus = len(self._events) - self._retention.events
            self._floor = self._events[surplus - 1].revision
            self._dropped += surplus
            del self._events[:surplus]

    def publish(self) -> None:
        """Let cursors see what has been appended, now or soon."""
        if self._publishing is not None:
            return
        loop = asyncio.get_running_loop()
        due = self._published_at + min(GATHER_A_WATCHER * self._crowd, GATHER_AT_MOST)
        if loop.time() < due:
            self._publishing = loop.call_at(due, self._publish)
        else:
            self._publish()

    def _publish(self) -> None:
        self._publishing = None
        self._published = self._dropped + len(self._events)
        self._published_at = asyncio.get_running_loop().time()
        waiting, self._waiting = self._waiting, []
        self._crowd = len(waiting)
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def after(self, revision: int) -> Sequence[Event]:
        """All events after a revision.

        Raises:
            Expired: Some of them are no longer here.
        """
        return self._events[self._index(revision) :]

    def cursor(self, after: int) -> Cursor:
        """A watcher that starts after a revision.

        Raises:
            Expired: Events after that revision are no longer here.
        """
        return Cursor(self, self._dropped + self._index(after))

    def _index(self, revision: int) -> int:
        if revision < self._floor:
            raise Expired(
                f"resourceVersion {revision} is too old, {self._floor} is the oldest to resume from: list again",
                {"oldest": str(self._floor)},
            )
        return bisect_right(self._events, revision, key=lambda event: event.revision)

    def slice(self, position: int, limit: int) -> Sequence[Event]:
        """At most `limit` published events from a position.

        Raises:
            TooSlow: Events at that position are no longer here.
        """
        start = position - self._dropped
        if start < 0:
            raise TooSlow(f"this watch fell {-start} events behind what is kept; list again and watch from there")
        published = max(self._published - self._dropped, 0)
        return self._events[start : min(start + limit, published)]

    async def grown(self, position: int) -> None:
        """Return when an event at `position` is published. May wait for ever: callers set the time limit."""
        while self._published <= position:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            try:
                await future
            finally:
                if future.cancelled():
                    self._waiting = [other for other in self._waiting if other is not future]


class Cursor:
    """A watcher's place in a history."""

    __slots__ = ("_history", "position")

    def __init__(self, history: History, position: int) -> None:
        self._history = history
        self.position = position

    def take(self, limit: int) -> Sequence[Event]:
        """The next events, if there are any, and step past them.

        Raises:
            TooSlow: They are no longer kept.
        """
        events = self._history.slice(self.position, limit)
        self.position += len(events)
        return events

    async def ready(self) -> None:
        """Return when `take` has something to give. May wait for ever: callers set the time limit."""
        await self._history.grown(self.position)
