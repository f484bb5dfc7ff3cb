"""Who is connected, and what is said to each.

A `Session` is one node's live connection. What it has to say is kept as state, not as a queue of messages: the newest
heartbeat to answer, the uids to acknowledge, the book of assignments that changed. So a slow node costs bounded
memory, and many small changes become one message. Only streams to open are queued.

`Sessions` holds one session a node, the newest, and implements `Liveness`: it knows when each node was last heard,
since this master started, in time in which the master itself listened (`attention`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import Gauge

from master.dispatcher.assignments import Book, ObjectLookup
from master.dispatcher.attention import Attention
from master.dispatcher.pacing import Pacer
from master.dispatcher.peers import PeerBook
from podium.aio.clock import Clock
from podium.aio.link import Link
from podium.aio.tasks import TaskScope
from podium.errors import Conflict
from podium.objects.fencing import SAMPLE
from podium.v1.node_session_pb2 import (
    Assignments,
    Drained,
    Goodbye,
    HeartbeatAck,
    MasterMessage,
    NetworkUpdate,
    NodeMessage,
    OpenStream,
    Peers,
    StatusAck,
    UsagePace,
    Welcome,
)

NetworkNews = Callable[[], NetworkUpdate | None]
"""What a session has to tell of the network, and has not told yet."""
NodeLink = Link[MasterMessage, NodeMessage]

QUIET_SHARE = 0.35
"""Of a lease: heartbeats are answered when none was for that long."""
INTRODUCE_SECONDS = 5.0
BEATS_PER_SECOND = 600.0
MOST_OF_LEASE = 0.4

CONNECTED = Gauge("podium_master_sessions", "Nodes that hold a session now.")


def heartbeat_for(nodes: int, *, base: float, lease: float) -> float:
    """Seconds between heartbeats: `base` in a small fleet; a large one beats slower, but twice in every lease."""
    return max(base, min(nodes / BEATS_PER_SECOND, lease * MOST_OF_LEASE))


def _drained(pods: Mapping[str, bool]) -> Drained:
    led, unled = ([uid for uid, was_led in pods.items() if was_led is which] for which in (True, False))
    return Drained(uids=led, unled=unled)


class Session:
    """One node's connection, from its welcome to its end."""

    def __init__(
        self, *, node: str, id: str, machine_id: str, link: NodeLink, clock: Clock, lease_seconds: float = 4.0
    ) -> None:
        self.node, self.id, self.machine_id = node, id, machine_id
        self.link = link
        self.heard_at = 0.0
        self.ending = asyncio.Event()
        self._clock = clock
        self._wake = asyncio.Event()
        self._welcome: Welcome | None = None
        self._book: Book | None = None
        self._find: ObjectLookup = lambda key: None
        self._pacer = Pacer()
        self._timer: asyncio.Task[None] | None = None
        self._network: NetworkNews = lambda: None
        self._network_due = False
        self._snapshot_due = False
        self._assignments_due = False
        self._opens: deque[OpenStream] = deque()
        self._acked: set[str] = set()
        self._drained: dict[str, bool] = {}
        self._beat: int | None = None
        self._pace, self._pace_due = 0.0, False
        self._goodbye = ""
        self._quiet = lease_seconds * QUIET_SHARE
        self._last_answered = self._introduced = clock.monotonic()
        self._peers: Peers | None = None
        self.peers_version = self.peers_known = 0
        self.heartbeat_seconds = 0.0

    def begin(self, welcome: Welcome, book: Book, find: ObjectLookup, network: NetworkNews) -> None:
        """Welcome the node, and tell it all that it should run and must know of the network."""
        self._welcome, self._book, self._find, self._network = welcome, book, find, network
        self._network_due = True
        self.resync()

    def resync(self) -> None:
        """Send everything again: the node saw a gap."""
        self._snapshot_due = True
        self._wake.set()

    def assignments_changed(self) -> None:
        """The node's book has something new."""
        self._assignments_due = True
        self._wake.set()

    def network_changed(self) -> None:
        """There is something new of the cluster's network."""
        self._network_due = True
        self._wake.set()

    def answer_beat(self, sequence: int) -> None:
        """Answer a heartbeat, if none was answered for a while: a nodelet must know well within a lease what its master
        has heard, and nothing but this tells it."""
        now = self._clock.monotonic()
        if now - self._last_answered >= self._quiet:
            self._beat, self._last_answered = sequence, now
            self._wake.set()

    def introduce(self, peers: PeerBook) -> None:
        """Tell the node of its peers when they have changed, but not for each of many that come.

        A node that believes in fewer nodes than there are may take a few for most of them, and excuse itself where
        nobody holds it: as long as all are asked, it is told at once of every one that came.
        """
        if peers.version == self.peers_version:
            return
        now = self._clock.monotonic()
        too_few = self.peers_known < peers.nodes <= SAMPLE
        if too_few or now - self._introduced >= INTRODUCE_SECONDS:
            self._peers, self._introduced = peers.of(self.node), now
            self.peers_version, self.peers_known = peers.version, peers.nodes
            self._wake.set()

    def pace_usage(self, seconds: float) -> None:
        """Have usage reported at this pace from now on."""
        if seconds != self._pace:
            self._pace, self._pace_due = seconds, True
            self._wake.set()

    def acknowledge(self, uid: str) -> None:
        """The newest status of this pod is durable."""
        self._acked.add(uid)
        self._wake.set()

    def drained(self, pods: Mapping[str, bool]) -> None:
        """No node leads to these pods of the node any more, by uid; the value says whether services ever led to it."""
        if pods:
            self._drained.update(pods)
            self._wake.set()

    def open_stream(self, request: OpenStream) -> None:
        """Ask the node to open a stream."""
        self._opens.append(request)
        self._wake.set()

    def end(self, reason: str) -> None:
        """Say goodbye and end."""
        self._goodbye = reason
        self.ending.set()
        self._wake.set()

    async def send_all(self) -> None:
        """Send what there is to say, as it comes up, until the goodbye is sent.

        Raises: LinkClosed.
        """
        async with TaskScope(on_error=lambda name, error: self.end(f"{name}: {error}")) as timers:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for message in self._messages(timers):
                    await self.link.send(message)
                if self._goodbye:
                    return

    def _messages(self, timers: TaskScope) -> Iterator[MasterMessage]:
        if self._goodbye:
            yield MasterMessage(goodbye=Goodbye(reason=self._goodbye))
            return
        if self._welcome is not None:
            welcome, self._welcome = self._welcome, None
            yield MasterMessage(welcome=welcome)
        if self._network_due:
            self._network_due = False
            if (update := self._network()) is not None:
                yield MasterMessage(network=update)
        if (assignments := self._due_assignments(timers)) is not None:
            yield MasterMessage(assignments=assignments)
        if self._drained:
            drained, self._drained = self._drained, {}
            yield MasterMessage(drained=_drained(drained))
        while self._opens:
            yield MasterMessage(open_stream=self._opens.popleft())
        if self._acked:
            acked, self._acked = self._acked, set()
            yield MasterMessage(status_ack=StatusAck(uids=acked))
        if self._pace_due:
            self._pace_due = False
            yield MasterMessage(usage_pace=UsagePace(milliseconds=int(self._pace * 1000)))
        if self._peers is not None:
            peers, self._peers = self._peers, None
            yield MasterMessage(peers=peers)
        if self._beat is not None:
            beat, self._beat = self._beat, None
            period = int(self.heartbeat_seconds * 1000)
            now = int(self._clock.now().timestamp() * 1000)
            ack = HeartbeatAck(sequence=beat, heartbeat_milliseconds=period, unix_milliseconds=now)
            yield MasterMessage(heartbeat_ack=ack)

    def _due_assignments(self, timers: TaskScope) -> Assignments | None:
        book, now = self._book, self._clock.monotonic()
        if book is None or self._goodbye:
            return None
        if self._snapshot_due:
            self._snapshot_due = self._assignments_due = False
            self._pacer.flushed(now)
            return book.snapshot(self._find)
        if not self._assignments_due or self._timer is not None:
            return None
        if (wait := self._pacer.wait(now, book.changes)) > 0:
            self._timer = timers.start(self._wake_after(wait), name=f"pace assignments of {self.node}")
            return None
        self._assignments_due = False
        self._pacer.flushed(now)
        return book.delta(self._find)

    async def _wake_after(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._timer = None
        self._wake.set()


class Sessions:
    """The newest session of each node. Implements `master.controllers.liveness.Liveness`."""

    def __init__(self, *, clock: Clock, lease_seconds: float) -> None:
        self.attention = Attention(clock)
        self._lease = lease_seconds
        self._by_node: dict[str, Session] = {}
        self._heard_before: dict[str, float] = {}
        self._count = 0
        self._moved = asyncio.Event()

    def __len__(self) -> int:
        return len(self._by_node)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_node.values()))

    def get(self, node: str) -> Session | None:
        """The node's session, if it holds one."""
        return self._by_node.get(node)

    def of(self, nodes: Iterable[str]) -> Iterator[Session]:
        """The sessions that these nodes hold."""
        return (session for node in nodes if (session := self._by_node.get(node)) is not None)

    def heard(self, session: Session) -> None:
        """Anything arrived."""
        session.heard_at = self.attention.now()

    def is_alive(self, session: Session) -> bool:
        """Whether the session was heard within the lease."""
        return self.attention.now() - session.heard_at <= self._lease

    def admit(self, session: Session) -> None:
        """Make a session its node's; an older one of the same machine ends.

        Raises:
            Conflict: Another machine holds the node's name, and is alive.
        """
        older = self._by_node.get(session.node)
        if older is not None and older.machine_id != session.machine_id and self.is_alive(older):
            raise Conflict(
                f"node name {session.node} is held by another machine (machine id {older.machine_id}); "
                "start this nodelet with another --node-name, or stop the other one"
            )
        self.heard(session)
        self._by_node[session.node] = session
        if older is not None:
            older.end("a newer session of this node began")
        self._changed()

    def release(self, session: Session) -> bool:
        """A session has ended; whether it still was its node's."""
        if self._by_node.get(session.node) is not session:
            return False
        del self._by_node[session.node]
        self._heard_before[session.node] = session.heard_at
        self._changed()
        return True

    def forget(self, node: str) -> None:
        """The Node object is gone."""
        self._heard_before.pop(node, None)

    def _changed(self) -> None:
        CONNECTED.set(len(self._by_node))
        self._count += 1
        self._moved.set()
        self._moved = asyncio.Event()

    # ------------------------------------------------------------ Liveness

    def last_heard(self, node: str) -> float | None:
        """When anything arrived from the node, in monotonic seconds; None: never since this master started."""
        session = self._by_node.get(node)
        stamp = session.heard_at if session is not None else self._heard_before.get(node)
        return self.attention.monotonic_of(stamp) if stamp is not None else None

    def silent_for(self, node: str) -> float:
        """For how many seconds nothing arrived from the node while this master listened, at least."""
        session = self._by_node.get(node)
        stamp = session.heard_at if session is not None else self._heard_before.get(node, 0.0)
        return self.attention.now() - stamp

    def connected(self, node: str) -> bool:
        """Whether the node holds a session now."""
        return node in self._by_node

    async def changed(self, after: int) -> int:
        """Wait until more than `after` sessions have begun or ended; returns how many have."""
        while self._count <= after:
            await self._moved.wait()
        return self._count
