"""The nodelet's side of the session: dial, say hello, obey, report, and begin again when it breaks.

Outgoing messages are state until they are sent (the reporter's newest statuses, the event buffer, the newest usage),
so a slow or absent master costs bounded memory. A heartbeat goes up at every interval and is answered: long silence of
the master is a broken session, whatever TCP says.

The assignments of the last session are on disk and are acted upon before any master answers: pods do not need one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from prometheus_client import Counter, Gauge

from nodelet.pods.protocol import Assignable
from nodelet.session.clock_check import ClockCheck
from nodelet.session.desired import Desired
from nodelet.session.dial import Dialer
from nodelet.session.events import EventBuffer
from nodelet.session.reporter import Reporter
from nodelet.volumes.protocol import LocalVolumes
from podium.aio.backoff import Backoff
from podium.aio.clock import Clock
from podium.aio.link import Link, LinkClosed
from podium.aio.tasks import TaskScope
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import NodeStatus
from podium.v1.node_session_pb2 import (
    Assignments,
    Heartbeat,
    Hello,
    MasterMessage,
    NetworkInForce,
    NetworkUpdate,
    NodeMessage,
    OpenStream,
    Peers,
    ResyncRequest,
    UsageReport,
    Welcome,
)

log = get_logger(__name__)

MasterLink = Link[NodeMessage, MasterMessage]

RECONNECT = Backoff(initial=0.2, maximum=5.0, jitter=1.0)
WELCOME_SECONDS = 10.0
STATUS_SPACING_SECONDS = 0.02
SILENT_LEASES = 2.0
"""A node counts as lost after one lease; only then some is a new connection worth its price to a busy master."""

CONNECTED = Gauge("podium_nodelet_session_connected", "Whether a master is connected (of all nodelets here).")
SESSIONS = Counter("podium_nodelet_sessions_total", "Sessions begun.")


class AboutNode(Protocol):
    """What the session tells of the host. Never raises: what can't be read is left out."""

    async def hello(self) -> Hello:
        """The first message of a session."""
        ...

    async def status(self) -> NodeStatus:
        """The node's status now; heartbeat times left out, so that equal means unchanged."""
        ...

    async def usage(self) -> UsageReport | None:
        """What node and pods use now."""
        ...

    def welcomed(self, welcome: Welcome) -> None:
        """What the master says of the cluster: pod range of the node, lease."""
        ...

    def network(self, update: NetworkUpdate, in_force: Callable[[], None] | None) -> None:
        """What the master says of other nodes, services and policies. Returns at once; `in_force` is to be called once
        it holds here."""
        ...


class AssignmentStore(Protocol):
    """Where assignments outlive the process. Methods must not block."""

    def keep(self, assignments: Callable[[], Assignments]) -> None: ...


class LeaseKeeper(Protocol):
    """Learns what the master has heard (nodelet.session.fence). Methods must not block."""

    def now(self) -> float: ...
    def begun(self, hello_sent: float, welcome: Welcome) -> None: ...
    def sent(self, sequence: int) -> None: ...
    def acknowledged(self, sequence: int) -> None: ...
    def meet(self, peers: Peers) -> None: ...


class Trust(Protocol):
    """Which CAs the node trusts (nodelet.session.renewal). Methods must not block."""

    @property
    def digest(self) -> str:
        """Names them (`podium.tls.trust_digest`)."""
        ...

    def expect(self, digest: str) -> None:
        """The cluster trusts these."""
        ...


class NoTrust:
    """Of a node without certificates: a simulated one."""

    digest = ""

    def expect(self, digest: str) -> None:
        """There is nothing to compare."""


class StreamServer(Protocol):
    """Serves streams into pods."""

    def open(self, request: OpenStream) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTimes:
    """Seconds between looks at what may have changed; `usage` until the master says how often."""

    status: float = 10.0
    usage: float = 5.0


class Session:
    """See the module. `run` goes on for ever; `connected` tells how it stands."""

    def __init__(
        self,
        *,
        dialer: Dialer,
        node: AboutNode,
        pods: Assignable,
        reporter: Reporter,
        events: EventBuffer,
        streams: StreamServer,
        store: AssignmentStore,
        volumes: LocalVolumes,
        lease: LeaseKeeper,
        clock: Clock,
        times: SessionTimes | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._dialer, self._node, self._pods = dialer, node, pods
        self._reporter, self._events, self._streams = reporter, events, streams
        self._store, self._lease, self._clock, self._chance = store, lease, clock, chance
        self._volumes = volumes
        self._times = times or SessionTimes()
        self._desired = Desired()
        self._wake = asyncio.Event()
        self._hurried = asyncio.Event()
        self._look = asyncio.Event()
        self.clock_check = ClockCheck(clock)
        self.clock_check.changed = self.look_now
        self._usage: UsageReport | None = None
        self._usage_seconds = self._times.usage
        self._status = NodeStatus()
        self._status_due = False
        self._resync = ""
        self._sequence = 0
        self._begun = self._in_force = 0
        self._beat_due = False
        self._interval = 1.0
        self._last_heard = clock.monotonic()
        self.connected = False
        self.trust: Trust = NoTrust()
        self._anew = asyncio.Event()
        reporter.wake, events.wake = self._status_reported, self._wake.set
        volumes.reports.wake = self._wake.set

    @property
    def desired(self) -> Desired:
        """What the masters' messages add up to; to be looked at only."""
        return self._desired

    @property
    def last_heard(self) -> float:
        """When the master was last heard, in monotonic seconds; the start of this object before that."""
        return self._last_heard

    def restore(self, assignments: Assignments | None) -> None:
        """Act on the assignments of the last session until a master says otherwise."""
        if assignments is not None and self._desired.apply(assignments):
            log.info("running the last assignments until a master answers", pods=len(self._desired.pods))
            self._pods.resume(*self._desired.view())

    async def run(self) -> None:
        """Hold a session, again and again."""
        failures = 0
        while True:
            welcomed = await self._attempt()
            failures = 1 if welcomed else failures + 1
            await self._dialer.next_master()
            await self._rest(RECONNECT.delay(failures, self._chance()))

    async def _rest(self, seconds: float) -> None:
        """Sleep, unless somebody hurries."""
        self._hurried.clear()
        await self._either(self._clock.sleep(seconds), self._hurried.wait())

    @staticmethod
    async def _either(first: Coroutine[Any, Any, Any], second: Coroutine[Any, Any, Any]) -> None:
        """Wait for whichever comes first."""
        async with TaskScope(on_error=lambda name, error: None) as scope:
            ends = [scope.start(first, name="rest"), scope.start(second, name="hurry")]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)

    def hurry(self) -> None:
        """A master is known to be there: dial it now."""
        self._hurried.set()

    def begin_anew(self) -> None:
        """Leave the session and begin another: the certificate that it showed is replaced."""
        self._anew.set()

    async def _attempt(self) -> bool:
        """One session; whether it came to a welcome."""
        self._anew.clear()
        target, begun = self._dialer.target, False
        try:
            link = await self._dialer.connect()
            try:
                welcome = await self._greet(link)
                begun = True
                await self._converse(link, welcome)
            finally:
                await link.close()
        except LinkClosed as error:
            log.warning("no session with the master", master=target, why=str(error), was_connected=begun)
        finally:
            if self.connected:
                self.connected = False
                CONNECTED.dec()
        return begun

    async def _greet(self, link: MasterLink) -> Welcome:
        hello = await self._node.hello()
        hello.trust = self.trust.digest
        self._status = hello.status
        hello_sent = self._lease.now()
        try:
            async with asyncio.timeout(WELCOME_SECONDS):
                await link.send(NodeMessage(hello=hello))
                message = await link.receive()
        except TimeoutError:
            raise LinkClosed(f"no welcome within {WELCOME_SECONDS:g} s") from None
        if message is None:
            raise LinkClosed("the master ended the session at once")
        if message.WhichOneof("message") == "goodbye":
            raise LinkClosed(f"the master refused: {message.goodbye.reason}")
        self._lease.begun(hello_sent, message.welcome)
        self._welcomed(message.welcome)
        return message.welcome

    def _welcomed(self, welcome: Welcome) -> None:
        self._last_heard = self._clock.monotonic()
        self._usage, self._resync, self._beat_due, self._status_due = None, "", False, False
        self._begun, self._in_force = self._begun + 1, 0
        self._dialer.learn(welcome.endpoints)
        self._node.welcomed(welcome)
        self.trust.expect(welcome.trust)
        self._reporter.rewind()
        self._wake.set()
        self.connected = True
        CONNECTED.inc()
        SESSIONS.inc()
        log.info("session begun", master=self._dialer.target, session=welcome.session_id)

    async def _converse(self, link: MasterLink, welcome: Welcome) -> None:
        self._interval, lease = welcome.heartbeat_milliseconds / 1000, welcome.lease_milliseconds / 1000
        async with TaskScope(on_error=lambda name, error: None) as scope:
            parts = [
                scope.start(self._receive(link), name="session receive"),
                scope.start(self._send(link), name="session send"),
                scope.start(self._beat(lease), name="session heartbeat"),
                scope.start(self._look_at_status(), name="session node status"),
                scope.start(self._look_at_usage(), name="session usage"),
                scope.start(self._leave_for_another(), name="session replaced"),
            ]
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (error := task.exception()) is not None:
                    raise error

    # ------------------------------------------------------------ down

    async def _receive(self, link: MasterLink) -> None:
        while (message := await link.receive()) is not None:
            self._last_heard = self._clock.monotonic()
            match message.WhichOneof("message"):
                case "assignments":
                    self._take_assignments(message.assignments)
                case "network":
                    self._take_network(message.network)
                case "drained":
                    said = message.drained
                    self._pods.drained({**dict.fromkeys(said.unled, False), **dict.fromkeys(said.uids, True)})
                case "status_ack":
                    self._reporter.acked(list(message.status_ack.uids))
                case "heartbeat_ack":
                    ack = message.heartbeat_ack
                    self._lease.acknowledged(ack.sequence)
                    self.clock_check.answered(ack.sequence, ack.unix_milliseconds)
                    self._interval = ack.heartbeat_milliseconds / 1000 or self._interval
                case "peers":
                    self._lease.meet(message.peers)
                case "usage_pace":
                    self._usage_seconds = message.usage_pace.milliseconds / 1000 or self._usage_seconds
                case "open_stream":
                    self._streams.open(message.open_stream)
                case "goodbye":
                    raise LinkClosed(f"the master said goodbye: {message.goodbye.reason}")
                case _:
                    continue
        raise LinkClosed("the master ended the session")

    def _take_network(self, update: NetworkUpdate) -> None:
        begun, sequence = self._begun, update.sequence

        def in_force() -> None:
            if self._begun == begun:  # another session's master counts otherwise
                self._in_force = sequence
                self._wake.set()

        self._node.network(update, in_force if sequence else None)

    def _take_assignments(self, message: Assignments) -> None:
        if not self._desired.apply(message):
            self._resync = f"got assignments for version {message.applies_to}, have {self._desired.version}"
            self._wake.set()
            return
        pods, objects = self._desired.view()
        self._reporter.reconcile(pods)
        self._pods.assign(pods, objects)
        self._store.keep(self._snapshot)
        if message.condemned_volumes:
            self._volumes.condemn(message.condemned_volumes)

    def _snapshot(self) -> Assignments:
        """What a restart begins with: the assignments, with the newest status of each pod."""
        return self._reporter.overlay(self._desired.snapshot())

    def _status_reported(self) -> None:
        self._wake.set()
        self._store.keep(self._snapshot)

    # ------------------------------------------------------------ up

    async def _send(self, link: MasterLink) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (message := self._next_message()) is not None:
                await self._deliver(link, message)
                if message.WhichOneof("message") == "statuses":
                    # What changes in this moment goes together with the next.
                    await self._clock.sleep(STATUS_SPACING_SECONDS)

    async def _deliver(self, link: MasterLink, message: NodeMessage) -> None:
        try:
            await link.send(message)
        except LinkClosed:
            self._events.put_back(message.events)
            self._volumes.reports.put_back(message.volumes)
            raise

    def _next_message(self) -> NodeMessage | None:
        if self._resync:
            reason, self._resync = self._resync, ""
            return NodeMessage(resync=ResyncRequest(reason=reason))
        if self._in_force:
            sequence, self._in_force = self._in_force, 0
            return NodeMessage(network_in_force=NetworkInForce(sequence=sequence))
        if (statuses := self._reporter.take()) is not None:
            return NodeMessage(statuses=statuses)
        if (events := self._events.take()) is not None:
            return NodeMessage(events=events)
        if (volumes := self._volumes.reports.take()) is not None:
            return NodeMessage(volumes=volumes)
        if self._status_due:
            self._status_due = False
            return NodeMessage(node_status=self._status)
        if self._usage is not None:
            usage, self._usage = self._usage, None
            return NodeMessage(usage=usage)
        if self._beat_due:
            self._beat_due = False
            self._sequence += 1
            self._lease.sent(self._sequence)
            self.clock_check.sent(self._sequence)
            return NodeMessage(heartbeat=Heartbeat(sequence=self._sequence))
        return None

    async def _beat(self, lease: float) -> None:
        """Be heard at every interval, and give up a master that was not heard for `SILENT_LEASES`."""
        while True:
            began = self._clock.monotonic()
            await self._clock.sleep(self._interval)
            now = self._clock.monotonic()
            # After a stall of our own, what the master said meanwhile has not been read yet: it is not to blame.
            stalled = now - began > 2 * self._interval
            if not stalled and now - self._last_heard > SILENT_LEASES * lease:
                raise LinkClosed(f"the master was not heard for {now - self._last_heard:.1f} s")
            self._beat_due = True
            self._wake.set()

    async def _leave_for_another(self) -> None:
        await self._anew.wait()
        raise LinkClosed("a new certificate is to be shown")

    async def _look_at_usage(self) -> None:
        while True:
            await self._clock.sleep(self._usage_seconds)
            if (usage := await self._node.usage()) is not None:
                self._usage = usage
                self._wake.set()

    def look_now(self) -> None:
        """The node's status has changed: tell it at once."""
        self._look.set()

    async def _look_at_status(self) -> None:
        while True:
            await self._either(self._clock.sleep(self._times.status), self._look.wait())
            self._look.clear()
            status = await self._node.status()
            if status != self._status:
                self._status, self._status_due = status, True
                self._wake.set()
