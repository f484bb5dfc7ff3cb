"""Event expiry: an Event goes when nothing was added to it for `ttl`.

A sweep over all Events at intervals, in bounded batches: expiry is no matter of seconds, and a timer an Event would
cost more than it tells.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence

from master.access.protocol import Delete, Reader, Writer, component
from master.reconcile.protocol import After, Outcome, Trigger
from podium.aio.clock import Clock
from podium.objects.kinds import Key, key_of
from podium.objects.meta import seconds_since
from podium.v1.core_pb2 import Event

TTL = 3600.0
BATCH = 500

_SWEEP = Key("Event", "", "")
_BY = component("controller:event-ttl")


def plan_expiry(events: Iterable[Event], ttl: float, now: datetime.datetime) -> list[Key]:
    """The Events to which nothing was added for `ttl` seconds."""
    return [key_of(e) for e in events if _age(e, now) >= ttl]


def _age(event: Event, now: datetime.datetime) -> float:
    stamps = (event.last_timestamp, event.first_timestamp, event.metadata.creation_timestamp)
    return seconds_since(next((s for s in stamps if s.seconds), stamps[-1]), now)


class EventTtlController:
    """See the module."""

    name = "event-ttl"
    workers = 1
    triggers: Sequence[Trigger] = ()

    def __init__(self, *, reader: Reader, writer: Writer, clock: Clock, ttl: float = TTL) -> None:
        self._reader, self._writer, self._clock, self._ttl = reader, writer, clock, ttl

    async def watch(self, wake: Callable[[Key], None]) -> None:
        """Begin; each sweep then asks for the next."""
        while True:
            wake(_SWEEP)
            await self._clock.sleep(self._ttl)

    async def reconcile(self, key: Key) -> Outcome:
        """Delete what has expired."""
        expired = plan_expiry(self._reader.list(Event), self._ttl, self._clock.now())
        for start in range(0, len(expired), BATCH):
            await self._writer.write_many([Delete(k) for k in expired[start : start + BATCH]], by=_BY)
        return After(max(1.0, self._ttl / 60), f"{len(expired)} events expired" if expired else "")
