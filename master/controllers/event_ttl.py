"""Event expiry: an Event goes when nothing was added to it for `ttl`, or when there are more than `most`.

A sweep at intervals, from the Event that was longest unchanged to the first that may stay, in bounded batches: expiry
is no matter of seconds, and a timer an Event would cost more than it tells. The bound is what keeps a cluster that
starts ten thousand pods within the hour from being mostly a memory of that.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile

from master.access.protocol import Delete, Reader, Writer, component
from master.reconcile.protocol import After, Outcome, Trigger
from podium.aio.clock import Clock
from podium.objects.kinds import Key, key_of
from podium.objects.meta import seconds_since
from podium.v1.core_pb2 import Event

TTL = 3600.0
MOST = 10_000
SWEEP = 15.0
BATCH = 500

_SWEEP = Key("Event", "", "")
_BY = component("controller:event-ttl")


def plan_expiry(events: Iterable[Event], ttl: float, now: datetime.datetime, *, surplus: int = 0) -> list[Key]:
    """The Events that go: the first `surplus` in any case, and those to which nothing was added for `ttl` seconds.

    Args:
        events: In the order of their last change; read no further than to the first that stays.
        ttl: In seconds.
        now: The present.
        surplus: How many there are too many.
    """
    going = takewhile(lambda entry: entry[0] < surplus or _age(entry[1], now) >= ttl, enumerate(events))
    return [key_of(event) for _, event in going]


def _age(event: Event, now: datetime.datetime) -> float:
    """Seconds; a stamp that lies in the future is not believed, or a host with a wrong clock would stop expiry."""
    stamps = (event.last_timestamp, event.first_timestamp, event.metadata.creation_timestamp)
    ages = (seconds_since(stamp, now) for stamp in stamps if stamp.seconds)
    return next((age for age in ages if age >= 0), 0.0)


class EventTtlController:
    """See the module."""

    name = "event-ttl"
    workers = 1
    triggers: Sequence[Trigger] = ()

    def __init__(self, *, reader: Reader, writer: Writer, clock: Clock, ttl: float = TTL, most: int = MOST) -> None:
        self._reader, self._writer, self._clock = reader, writer, clock
        self._ttl, self._most = ttl, most

    async def watch(self, wake: Callable[[Key], None]) -> None:
        """Begin; each sweep then asks for the next."""
        while True:
            wake(_SWEEP)
            await self._clock.sleep(self._ttl)

    async def reconcile(self, key: Key) -> Outcome:
        """Delete what has expired."""
        surplus = self._reader.count(Event) - self._most
        events = self._reader.longest_unchanged(Event)
        expired = plan_expiry(events, self._ttl, self._clock.now(), surplus=surplus)
        for start in range(0, len(expired), BATCH):
            await self._writer.write_many([Delete(k) for k in expired[start : start + BATCH]], by=_BY)
        return After(min(SWEEP, max(1.0, self._ttl / 60)), f"{len(expired)} events expired" if expired else "")
