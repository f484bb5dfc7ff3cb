"""Events on their way up: repeats become one event that counts, and a storm is cut off per pod.

An event is the same when pod, type, reason and message are; its name follows from these, so that a repeat (also after
the nodelet's restart) adds to the stored event. Unsent events are bounded; those over the bound are counted.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from prometheus_client import Counter

from podium.aio.clock import Clock
from podium.objects.meta import timestamp
from podium.v1.core_pb2 import Event, Pod
from podium.v1.node_session_pb2 import EventBatch

MAX_PENDING = 500
MAX_REMEMBERED = 2_000
MAX_BATCH = 100
MAX_MESSAGE = 1_024

DROPPED = Counter("podium_nodelet_events_dropped_total", "Events about pods that were not sent: too many at once.")


class EventBuffer:
    """Implements `nodelet.pods.protocol.EventSink`. `wake` is called when there is something to send."""

    def __init__(self, *, node: str, clock: Clock) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._node = node
        self._clock = clock
        self._seen: OrderedDict[str, Event] = OrderedDict()
        self._pending: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def event(self, pod: Pod, type: str, reason: str, message: str) -> None:
        """Something happened to a pod (`type` is Normal or Warning)."""
        message = message[:MAX_MESSAGE]
        name = _name(pod, type, reason, message)
        if name not in self._pending and len(self._pending) >= MAX_PENDING:
            DROPPED.inc()
            return
        known = self._seen.get(name)
        if known is None:
            known = self._seen[name] = self._new(pod, name, type, reason, message)
        self._seen.move_to_end(name)
        known.count += 1
        known.last_timestamp.CopyFrom(timestamp(self._clock.now()))
        self._pending[name] = None
        self._forget_oldest()
        self.wake()

    def take(self) -> EventBatch | None:
        """What is to be sent, as one message; None when nothing is."""
        if not self._pending:
            return None
        names = list(self._pending)[:MAX_BATCH]
        for name in names:
            del self._pending[name]
        return EventBatch(events=[self._seen[name] for name in names])

    def put_back(self, batch: EventBatch) -> None:
        """A batch could not be sent."""
        self._pending |= {event.metadata.name: None for event in batch.events if event.metadata.name in self._seen}

    def _new(self, pod: Pod, name: str, type: str, reason: str, message: str) -> Event:
        event = Event(reason=reason, message=message, type=type, reporting_component="nodelet")
        event.metadata.name, event.metadata.namespace = name, pod.metadata.namespace
        about = event.involved_object
        about.api_version, about.kind, about.uid = "v1", "Pod", pod.metadata.uid
        about.namespace, about.name = pod.metadata.namespace, pod.metadata.name
        event.source.component, event.source.host = "nodelet", self._node
        event.first_timestamp.CopyFrom(timestamp(self._clock.now()))
        return event

    def _forget_oldest(self) -> None:
        for name in list(self._seen):
            if len(self._seen) <= MAX_REMEMBERED:
                return
            if name not in self._pending:
                del self._seen[name]


def _name(pod: Pod, type: str, reason: str, message: str) -> str:
    text = "\0".join((pod.metadata.uid, type, reason, message))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{pod.metadata.name[:200]}.{digest}"
