"""Tells nodes what is new of the cluster's network: at once when it has been quiet, gathered for a moment otherwise.

A change of a service concerns every node, so the more nodes there are, the longer changes are gathered: a fleet of
three hears within milliseconds, and one of a thousand is not sent a thousand messages for every pod that starts.

And tells nodes which of their pods that end are drained (`drains`): every node is waited for that may still lead to
them. One that was not heard for `PATIENCE_SECONDS`, or was asked that long ago and has not answered, is waited for no
more, until it answers; nor is one whose Node object is gone. After a start of the master every node has that long to
come back, for nobody knows what it leads to.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from master.access.protocol import Change, ChangeType, Reader
from master.dispatcher.drains import NEVER
from master.dispatcher.network import NetworkBook, Told
from master.dispatcher.sessions import NetworkNews, Session, Sessions
from podium.aio.alarms import Alarms
from podium.aio.clock import Clock
from podium.aio.tasks import TaskScope
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import Namespace, Node, Pod
from podium.v1.networking_pb2 import EndpointSlice, NetworkPolicy, Service
from podium.v1.node_session_pb2 import NetworkUpdate

log = get_logger(__name__)

GATHER_A_SESSION = 0.0005
GATHER_AT_MOST = 0.5
PATIENCE_SECONDS = 10.0
"""Less than a nodelet waits with a pod that ends when it hears nothing (`nodelet.pods.memory`)."""
LOOK_SECONDS = 0.25
"""How often to look whether a node is waited for no more."""
DRAINS_APART = 0.01
"""Answers of nodes are gathered for so long."""


@dataclass(slots=True)
class _Ear:
    """What a node's newest session was told, and when it was asked what it has not answered yet."""

    session: Session
    told: Told = field(default_factory=Told)
    asked_at: float = 0.0


class NetworkTeller:
    """See the module."""

    def __init__(self, *, reader: Reader, sessions: Sessions, clock: Clock) -> None:
        self._sessions, self._clock = sessions, clock
        self._book = NetworkBook(lambda namespace: reader.list(Pod, namespace))
        self._concerned: set[str] = set()
        self._everybody = False
        self._wake = asyncio.Event()
        self._ears: dict[str, _Ear] = {}
        self._nodes: set[str] = set()
        self._given_up: set[str] = set()
        self._drains = asyncio.Event()

    def follow(self, change: Change[Any]) -> None:
        """Take in a change of what the network is about; others are let pass."""
        deleted, wanted = change.type is ChangeType.DELETED, self._book.drains.wanted
        match change.new:
            case Pod() as pod:
                self._concerned.update(self._book.pod_changed(change.old, pod, deleted=deleted))
            case Node() as node:
                self._node_changed(node, deleted=deleted)
            case Service() as service:
                self._everybody |= self._book.service_changed(service, deleted=deleted)
            case EndpointSlice() as endpoint_slice:
                self._everybody |= self._book.slice_changed(endpoint_slice, deleted=deleted)
            case NetworkPolicy() as policy:
                self._everybody |= self._book.policy_changed(policy, deleted=deleted)
            case Namespace() as namespace:
                self._everybody |= self._book.namespace_changed(namespace, deleted=deleted)
            case _:
                return
        self._everybody |= self._book.drains.wanted > wanted
        self._tell_newcomers()
        if self._everybody or self._concerned:
            self._wake.set()
        if self._book.drains.waits:
            self._drains.set()

    def _tell_newcomers(self) -> None:
        """A node that is new to a namespace is told of its members at once: with the pod, and before it. What the pod
        answers is dropped otherwise, for it comes from nobody that the node knows."""
        if self._book.newcomers:
            for session in self._sessions.of(self._book.newcomers):
                session.network_changed()
            self._book.newcomers.clear()

    def _node_changed(self, node: Node, *, deleted: bool) -> None:
        self._everybody |= self._book.node_changed(node, deleted=deleted)
        if deleted:
            self._nodes.discard(node.metadata.name)
            self._ears.pop(node.metadata.name, None)
        else:
            self._nodes.add(node.metadata.name)

    def begin(self, session: Session) -> NetworkNews:
        """A session begins; returns what it asks for its next message."""
        node, ear = session.node, _Ear(session)
        self._ears[node] = ear
        session.drained(self._book.drains.drained_on(node))
        return lambda: self._news(node, ear)

    def _news(self, node: str, ear: _Ear) -> NetworkUpdate | None:
        asked = ear.told.asked
        update = self._book.news(node, ear.told)
        if ear.told.asked > asked and ear.told.in_force >= asked:
            ear.asked_at = self._sessions.attention.now()
        return update

    async def run(self) -> None:
        """Wake the sessions that have something to be told, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            concerned, self._concerned = self._concerned, set()
            everybody, self._everybody = self._everybody, False
            for session in list(self._sessions) if everybody else self._sessions.of(concerned):
                session.network_changed()
            await self._clock.sleep(min(GATHER_A_SESSION * len(self._sessions), GATHER_AT_MOST))

    # ------------------------------------------------------------ pods that end

    def in_force(self, session: Session, sequence: int) -> None:
        """A node has in force what it was told up to this sequence number."""
        ear = self._ears.get(session.node)
        if ear is None or ear.session is not session or sequence > ear.told.asked:
            return  # of a session that is over, or of nothing that it was told
        ear.told.in_force = max(ear.told.in_force, sequence)
        ear.asked_at = self._sessions.attention.now()
        self._drains.set()

    async def drain(self) -> None:
        """Say which pods are drained, as soon as they are, for ever."""
        async with TaskScope(_log_failure) as scope:
            alarms = Alarms(self._clock, scope, _log_failure)
            while True:
                await self._drains.wait()
                self._drains.clear()
                self._say_drained()
                if self._book.drains.waits:
                    alarms.set("look", self._clock.monotonic() + LOOK_SECONDS, self._drains.set)
                await self._clock.sleep(DRAINS_APART)

    def _say_drained(self) -> None:
        drains, by_node = self._book.drains, dict[str, dict[str, bool]]()
        found = drains.drain(NEVER)
        if drains.waits:
            found += drains.drain(self._floor())
        for pod in found:
            by_node.setdefault(pod.node, {})[pod.uid] = pod.was_led
        for session in self._sessions.of(by_node):
            session.drained(by_node[session.node])

    def _floor(self) -> float:
        """The oldest version that a node which is waited for may still act by."""
        given_up = {node for node in self._nodes if not self._is_waited_for(node)}
        for node in given_up - self._given_up:
            log.warning("pods that end do not wait for a node that does not say what it has in force", node=node)
        self._given_up = given_up
        waited = (self._ears.get(node) for node in self._nodes - given_up)
        return min((ear.told.in_force if ear is not None else 0 for ear in waited), default=float("inf"))

    def _is_waited_for(self, node: str) -> bool:
        if self._sessions.silent_for(node) > PATIENCE_SECONDS:
            return False
        ear = self._ears.get(node)
        if ear is None or ear.told.in_force >= ear.told.asked:
            return True
        return self._sessions.attention.now() - ear.asked_at <= PATIENCE_SECONDS


def _log_failure(name: str, error: BaseException) -> None:
    log.error("task failed", task=name, error=error)
