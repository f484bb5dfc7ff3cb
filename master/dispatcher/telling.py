"""Tells nodes what is new of the cluster's network: at once when it has been quiet, gathered for a moment otherwise.

A change of a service concerns every node, so the more nodes there are, the longer changes are gathered: a fleet of
three hears within milliseconds, and one of a thousand is not sent a thousand messages for every pod that starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from master.access.protocol import Change, ChangeType, Reader
from master.dispatcher.network import NetworkBook, Told
from master.dispatcher.sessions import Sessions
from podium.aio.clock import Clock
from podium.v1.core_pb2 import Namespace, Node, Pod
from podium.v1.networking_pb2 import EndpointSlice, NetworkPolicy, Service
from podium.v1.node_session_pb2 import NetworkUpdate

GATHER_A_SESSION = 0.0005
GATHER_AT_MOST = 0.5


class NetworkTeller:
    """See the module."""

    def __init__(self, *, reader: Reader, sessions: Sessions, clock: Clock) -> None:
        self._sessions, self._clock = sessions, clock
        self._book = NetworkBook(lambda namespace: reader.list(Pod, namespace))
        self._concerned: set[str] = set()
        self._everybody = False
        self._wake = asyncio.Event()

    def follow(self, change: Change[Any]) -> None:
        """Take in a change of what the network is about; others are let pass."""
        deleted = change.type is ChangeType.DELETED
        match change.new:
            case Pod() as pod:
                self._concerned.update(self._book.pod_changed(change.old, pod, deleted=deleted))
            case Node() as node:
                self._everybody |= self._book.node_changed(node, deleted=deleted)
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
        if self._everybody or self._concerned:
            self._wake.set()

    def news_for(self, node: str) -> Callable[[], NetworkUpdate | None]:
        """What a new session of a node asks for its next message."""
        told = Told()
        return lambda: self._book.news(node, told)

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
