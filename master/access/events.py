"""The event recorder: says what happened to an object, without ever blocking or failing who says it.

    normal/warning ──► pending, one entry a distinct event ──► run(): a batch at a time ──► Event objects

The same event again (object, type, reason, message) within `WINDOW` raises `count` and `lastTimestamp` of the Event
that is there. An object may have `BURST` events at once and one more every `REFILL` seconds; what is beyond that, or
beyond `MOST_PENDING` distinct events waiting to be written, is dropped and counted: an event explains, it is never
the truth. Events are not waited for to be on disk (the writer knows the kind).
"""

from __future__ import annotations

import asyncio
import datetime
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from prometheus_client import Counter

from master.access.protocol import Create, Mutate, Write, Writer
from master.access.protocol import component as principal_of
from podium.aio.clock import Clock
from podium.errors import NotFound, PodiumError
from podium.objects.kinds import Key, kind_of
from podium.objects.meta import timestamp
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import Event, ObjectReference

log = get_logger(__name__)

RECORDED = Counter("podium_master_events_total", "Events recorded, repetitions included.", ["component", "type"])
DROPPED = Counter("podium_master_events_dropped_total", "Events not recorded.", ["component", "why"])

WINDOW = 600.0
BURST = 25
REFILL = 30.0
MOST_PENDING = 4096
MOST_KNOWN = 4096
BATCH = 256
GATHER = 0.1
"""Seconds for which events are gathered before they are written."""

CLUSTER_NAMESPACE = "default"
"""Where the events of objects without a namespace live."""


@dataclass(frozen=True, slots=True)
class _What:
    """What makes two events the same."""

    about: Key
    uid: str
    type: str
    reason: str
    message: str


@dataclass(slots=True)
class _Pending:
    reference: ObjectReference
    first: datetime.datetime
    last: datetime.datetime
    count: int = 1


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(frozen=True, slots=True)
class _Known:
    key: Key
    at: float


class Recorder:
    """See the module. Implements `master.access.protocol.EventRecorder`; `run` is started once by whoever makes it."""

    def __init__(self, *, writer: Writer, clock: Clock, component: str) -> None:
        self._writer, self._clock, self._component = writer, clock, component
        self._by = principal_of(component)
        self._pending: OrderedDict[_What, _Pending] = OrderedDict()
        self._known: OrderedDict[_What, _Known] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._wake = asyncio.Event()
        self._made = 0

    def normal(self, about: Message, reason: str, message: str) -> None:
        """Something happened as it should."""
        self._record(about, "Normal", reason, message)

    def warning(self, about: Message, reason: str, message: str) -> None:
        """Something happened that somebody may want to look at."""
        self._record(about, "Warning", reason, message)

    async def run(self) -> None:
        """Write what is recorded, for ever."""
        while True:
            await self._wake.wait()
            await self._clock.sleep(GATHER)
            self._wake.clear()
            while self._pending:
                await self.flush()

    async def flush(self) -> None:
        """Write one batch of what is pending."""
        batch = [self._pending.popitem(last=False) for _ in range(min(BATCH, len(self._pending)))]
        if not batch:
            return
        try:
            results = await self._writer.write_many([self._write(w, p) for w, p in batch], by=self._by)
        except PodiumError as error:
            DROPPED.labels(self._component, "refused").inc(len(batch))
            log.warning("events could not be written", count=len(batch), why=error.message)
            return
        self._settle(batch, results)

    def _record(self, about: Any, type_: str, reason: str, message: str) -> None:
        meta = about.metadata
        kind = kind_of(about)
        what = _What(Key(kind.name, meta.namespace, meta.name), meta.uid, type_, reason, message)
        RECORDED.labels(self._component, type_).inc()
        now = self._clock.now()
        if (pending := self._pending.get(what)) is not None:
            pending.count += 1
            pending.last = now
            return
        if len(self._pending) >= MOST_PENDING:
            DROPPED.labels(self._component, "full").inc()
            return
        if not self._admit(meta.uid):
            DROPPED.labels(self._component, "rate").inc()
            return
        reference = ObjectReference(
            api_version=kind.api_version,
            kind=kind.name,
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            resource_version=meta.resource_version,
        )
        self._pending[what] = _Pending(reference, now, now)
        self._wake.set()

    def _admit(self, uid: str) -> bool:
        now = self._clock.monotonic()
        bucket = self._buckets.pop(uid, None) or _Bucket(BURST, now)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) / REFILL)
        bucket.at = now
        self._buckets[uid] = bucket
        if len(self._buckets) > MOST_KNOWN:
            self._buckets.popitem(last=False)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _write(self, what: _What, pending: _Pending) -> Write:
        known = self._known.get(what)
        if known is not None and self._clock.monotonic() - known.at < WINDOW:
            return Mutate(known.key, lambda event: _repeat(event, pending))
        return Create(self._event(what, pending))

    def _event(self, what: _What, pending: _Pending) -> Event:
        event = Event(reason=what.reason, message=what.message, type=what.type, count=pending.count)
        event.metadata.namespace = what.about.namespace or CLUSTER_NAMESPACE
        self._made += 1
        micros = int(pending.first.timestamp() * 1_000_000)
        event.metadata.name = f"{what.about.name}.{micros:x}{self._made % 0x10000:04x}"
        event.involved_object.CopyFrom(pending.reference)
        event.source.component = event.reporting_component = self._component
        event.first_timestamp.CopyFrom(timestamp(pending.first))
        event.last_timestamp.CopyFrom(timestamp(pending.last))
        return event

    def _settle(self, batch: Sequence[tuple[_What, _Pending]], results: Sequence[Message | PodiumError]) -> None:
        now = self._clock.monotonic()
        for (what, pending), result in zip(batch, results, strict=True):
            if isinstance(result, Event):
                self._remember(what, Key("Event", result.metadata.namespace, result.metadata.name), now)
            elif isinstance(result, NotFound) and self._known.pop(what, None) is not None:
                # The Event it repeats has expired meanwhile: begin another.
                self._pending[what] = pending
            else:
                # Most often the namespace is going away, and its events with it.
                DROPPED.labels(self._component, "refused").inc()
                log.debug("an event was refused", about=str(what.about), reason=what.reason, why=str(result))

    def _remember(self, what: _What, key: Key, now: float) -> None:
        self._known.pop(what, None)
        self._known[what] = _Known(key, now)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)


def _repeat(event: Event, pending: _Pending) -> None:
    event.count += pending.count
    event.last_timestamp.CopyFrom(timestamp(pending.last))
