"""The newest events, in memory, for watchers: a watcher is a position in the tail, so a slow one costs nothing.

Events are appended in order and without gaps. A watcher that has fallen behind the tail reads older events from the
store's own log (`SqliteStore`), or is told that they are gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from master.store.protocol import Revision, StoreEvent


class Tail:
    """At least the `keep` newest events after the revision `after` at which the tail begins."""

    def __init__(self, after: Revision, keep: int) -> None:
        self._begin = after
        self._keep = keep
        self._events: list[StoreEvent] = []
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def begin(self) -> Revision:
        """The revision after which every event is here."""
        return self._begin

    @property
    def revision(self) -> Revision:
        """The newest revision here."""
        return self._events[-1].revision if self._events else self._begin

    def append(self, events: Sequence[StoreEvent]) -> None:
        """Add events that follow directly, and wake whoever waits."""
        self._events.extend(events)
        if len(self._events) > 2 * self._keep:  # rarely, so that appending stays cheap
            surplus = len(self._events) - self._keep
            self._begin = self._events[surplus - 1].revision
            del self._events[:surplus]
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def since(self, after: Revision) -> Sequence[StoreEvent]:
        """Events after `after`, which must not be older than `begin`."""
        return self._events[after - self._begin :]

    async def grown(self, after: Revision) -> None:
        """Return when there is an event after `after`. Waits without limit: a quiet store is a healthy one."""
        while self.revision <= after:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
