"""What nodes report, made objects: pod statuses, node statuses, events, what became of volumes.

A node can speak only of itself and of pods bound to it: each write checks that again against the stored object, in
the transaction. What does not apply any more is dropped, counted, and acknowledged, since sending it again would not
help; what could not be stored now is not acknowledged, and the nodelet sends it again in its next session.
"""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import Message
from prometheus_client import Counter

from master.access.protocol import Create, Delete, Mutate, Reader, Write
from master.dispatcher import local_volumes, registration, statuses
from master.dispatcher.writes import BatchWriter, Pending
from podium.aio.clock import Clock
from podium.errors import AlreadyExists, Conflict, NotFound, PodiumError
from podium.objects.kinds import Key
from podium.objects.meta import is_terminating
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import Event, Node, NodeStatus, Pod
from podium.v1.meta_pb2 import DeleteOptions, ObjectMeta, Preconditions
from podium.v1.node_session_pb2 import PodStatusUpdate, VolumeState

log = get_logger(__name__)

DROPPED = Counter("podium_master_inbox_dropped_total", "Reports of nodes that did not apply.", ["what"])

Acknowledge = Callable[[str, str], None]
"""Called with a node and the uid of a pod whose reported status is durable."""


class Inbox:
    """Turns reports into writes. Never blocks: writes are batched behind it."""

    def __init__(self, *, reader: Reader, writes: BatchWriter, clock: Clock, acknowledge: Acknowledge) -> None:
        self._reader = reader
        self._writes = writes
        self._clock = clock
        self._acknowledge = acknowledge

    def pod_status(self, node: str, update: PodStatusUpdate) -> None:
        """A node's report of one of its pods."""
        pod = self._reader.get(Pod, update.namespace, update.name)
        if pod is None or pod.metadata.uid != update.uid:
            DROPPED.labels("status").inc()
            self._acknowledge(node, update.uid)
            return
        write = self._removal(update) if update.gone and is_terminating(pod) else self._status(node, update)

        def done(result: Message | PodiumError) -> None:
            self._pod_done(node, update, result)

        self._writes.put(("pod", update.uid), Pending(write, done))

    @staticmethod
    def _removal(update: PodStatusUpdate) -> Write:
        options = DeleteOptions(grace_period_seconds=0, preconditions=Preconditions(uid=update.uid))
        return Delete(Key("Pod", update.namespace, update.name), options)

    @staticmethod
    def _status(node: str, update: PodStatusUpdate) -> Write:
        def change(pod: Pod) -> None:
            statuses.check_owner(pod, node=node, uid=update.uid)
            statuses.merge(pod, update.status)

        return Mutate(Key("Pod", update.namespace, update.name), change, "status")

    def _pod_done(self, node: str, update: PodStatusUpdate, result: Message | PodiumError) -> None:
        if isinstance(result, Pod) and update.gone and not is_terminating(result):
            # Deletion was not known here when the report came: the node says it again when it is told of it.
            log.debug("pod is gone from its node before deletion was asked for", pod=result.metadata.name, node=node)
        elif isinstance(result, (statuses.Refused, NotFound)) or (isinstance(result, Conflict) and update.gone):
            DROPPED.labels("status").inc()
        elif isinstance(result, PodiumError):
            name = f"{update.namespace}/{update.name}"
            log.warning("could not store a pod's status", pod=name, node=node, error_message=result.message)
            return
        self._acknowledge(node, update.uid)

    def node_status(self, node: str, status: NodeStatus) -> None:
        """A node's report of itself."""

        def change(stored: Node) -> None:
            registration.merge_status(stored, status, self._clock.now())

        def done(result: Message | PodiumError) -> None:
            if isinstance(result, PodiumError):
                log.warning("could not store a node's status", node=node, error_message=result.message)

        self._writes.put(("node", node), Pending(Mutate(Key("Node", "", node), change, "status"), done))

    def volume(self, node: str, state: VolumeState) -> None:
        """A node's report of a volume that was made there."""

        def done(result: Message | PodiumError) -> None:
            if isinstance(result, (local_volumes.NotIts, NotFound)):
                DROPPED.labels("volume").inc()
            elif isinstance(result, PodiumError):
                log.warning("could not store what became of a volume", volume=state.name, error_message=result.message)

        key = Key("PersistentVolume", "", state.name)
        if state.made or state.gone:
            write = Mutate(key, lambda volume: local_volumes.merge(volume, state, node))
            self._writes.put(("volume", state.name), Pending(write, done))
        if state.failure or state.used_bytes or state.free_bytes:
            write = Mutate(key, lambda volume: local_volumes.merge_status(volume, state, node), "status")
            self._writes.put(("volume status", state.name), Pending(write, done))

    def event(self, node: str, event: Event, *, owns: Callable[[str], bool]) -> None:
        """An event about the node or a pod of its own; `owns(uid)` tells which are."""
        about = event.involved_object
        own_pod = about.kind == "Pod" and owns(about.uid) and event.metadata.namespace == about.namespace
        if not own_pod and not (about.kind == "Node" and about.name == node):
            DROPPED.labels("event").inc()
            return
        event.source.host = node
        event.reporting_instance = node
        self._put_event(event)

    def _put_event(self, event: Event) -> None:
        namespace, name = event.metadata.namespace or "default", event.metadata.name
        event.metadata.CopyFrom(ObjectMeta(namespace=namespace, name=name))
        known = self._reader.get(Event, namespace, name)
        write: Write = Create(event) if known is None else Mutate(Key("Event", namespace, name), _repeat(event))

        def done(result: Message | PodiumError) -> None:
            if isinstance(result, AlreadyExists):
                self._put_event(event)
            elif isinstance(result, PodiumError):
                DROPPED.labels("event").inc()

        self._writes.put(("event", namespace, name), Pending(write, done))


def _repeat(event: Event) -> Callable[[Event], None]:
    def change(stored: Event) -> None:
        stored.count = max(stored.count, event.count)
        stored.message = event.message
        stored.last_timestamp.CopyFrom(event.last_timestamp)

    return change
