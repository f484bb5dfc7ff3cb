"""The dispatcher: node sessions, from the first hello to the end.

Down: one subscription to pods, Nodes and what pods use (Secrets, ConfigMaps) feeds the ledger of assignments, which
wakes just the sessions that have something to say. Up: what a session receives goes to the inbox (statuses, events), to
memory (usage), or is only noted (heartbeats). No message of a node is believed about who it is: its certificate said
that before.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from master.access.protocol import Change, ChangeType, Reader, Writer, component
from master.dispatcher import registration
from master.dispatcher.assignments import Ledger
from master.dispatcher.inbox import Inbox
from master.dispatcher.peers import PeerBook
from master.dispatcher.ranges import PodRanges
from master.dispatcher.sessions import NodeLink, Session, Sessions, heartbeat_for
from master.dispatcher.streams import StreamBroker
from master.dispatcher.telling import NetworkTeller
from master.dispatcher.usage import UsageBook
from master.dispatcher.writes import BatchWriter
from podium.aio.clock import Clock
from podium.aio.link import LinkClosed
from podium.aio.tasks import TaskScope, forever
from podium.errors import AlreadyExists, BadRequest, PodiumError
from podium.objects import storage
from podium.objects.fencing import FencingTimes
from podium.objects.kinds import BY_NAME, Key, key_of
from podium.objects.references import CARRIED
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import Namespace, Node, NodeStatus, Pod
from podium.v1.networking_pb2 import EndpointSlice, NetworkPolicy, Service
from podium.v1.node_session_pb2 import Goodbye, Hello, MasterMessage, NodeMessage, Welcome
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim

log = get_logger(__name__)

NETWORK_KINDS = (Namespace, Node, Service, EndpointSlice, NetworkPolicy)
HELLO_SECONDS = 10.0
GOODBYE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherSettings:
    """Times in seconds.

    Attributes:
        heartbeat: How often a nodelet says that it is there; less often in a large fleet (`heartbeat_for`).
        lease: Silence after which a node is held for lost.
        pod_cidr: The cluster's pod range, cut in one slice of `node_prefix` a node.
        service_cidr: The range of services' addresses.
        cluster_domain: DNS domain of the cluster's names.
        endpoints: API addresses (host:port) that nodelets may dial.
        trust: Names the CAs that are trusted (`podium.tls.trust_digest`); a node with others renews its certificate.
    """

    heartbeat: float = 1.0
    lease: float = 4.0
    pod_cidr: str = "10.64.0.0/10"
    node_prefix: int = 24
    service_cidr: str = "10.63.0.0/16"
    cluster_domain: str = "cluster.local"
    endpoints: Sequence[str] = ()
    trust: str = ""


class Dispatcher:
    """See the module. `sessions` implements Liveness, `streams` is the StreamBroker, `usage` the newest usage."""

    def __init__(
        self, *, reader: Reader, writer: Writer, clock: Clock, settings: DispatcherSettings | None = None
    ) -> None:
        self._settings = settings or DispatcherSettings()
        self._reader, self._writer, self._clock = reader, writer, clock
        self._by = component("dispatcher")
        self.epoch = secrets.token_hex(8)
        self.sessions = Sessions(clock=clock, lease_seconds=self._settings.lease)
        self.streams = StreamBroker(self.sessions.get)
        self.usage = UsageBook(clock)
        self._peers = PeerBook()
        self._ledger = Ledger()
        self._ranges = PodRanges(self._settings.pod_cidr, node_prefix=self._settings.node_prefix)
        self._reported: dict[str, NodeStatus] = {}
        self._writes = BatchWriter(writer, by=self._by, clock=clock)
        self._inbox = Inbox(reader=reader, writes=self._writes, clock=clock, acknowledge=self._acknowledge)
        self._ready = asyncio.Event()
        self._network = NetworkTeller(reader=reader, sessions=self.sessions, clock=clock)

    async def run(self) -> None:
        """Follow changes and write what nodes report, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(forever("dispatcher changes", self._follow))
            tasks.create_task(forever("dispatcher attention", self.sessions.attention.run))
            tasks.create_task(forever("dispatcher writes", self._writes.run))
            tasks.create_task(forever("dispatcher network", self._network.run))
            tasks.create_task(forever("dispatcher drains", self._network.drain))

    # ------------------------------------------------------------ down

    async def _follow(self) -> None:
        used = [carried.message for carried in CARRIED]
        async with self._reader.subscribe(Pod, *used, PersistentVolumeClaim, *NETWORK_KINDS) as changes:
            async for batch in changes:
                for change in batch:
                    self._network.follow(change)
                told = {node for change in batch for node in self._nodes_concerned(change)}
                for session in self.sessions.of(told):
                    session.assignments_changed()
                self._ready.set()

    def _nodes_concerned(self, change: Change[Any]) -> Collection[str]:
        deleted = change.type is ChangeType.DELETED
        match change.new:
            case Pod() as pod:
                return self._ledger.pod_changed(change.old, pod, deleted=deleted)
            case Node() as node:
                self._node_changed(node, deleted=deleted)
                return ()
            case PersistentVolume() as volume:
                return self._ledger.volume_changed(change.old, volume, deleted=deleted)
            case Service() | EndpointSlice() | NetworkPolicy() | Namespace():
                return ()
            case used:
                return self._ledger.object_changed(key_of(used))

    def _node_changed(self, node: Node, *, deleted: bool) -> None:
        name = node.metadata.name
        session = self.sessions.get(name)
        if not deleted:
            self._ranges.note(name, node.spec.pod_cidr)
            self._peers.note(name)
            if session is not None and self.sessions.is_alive(session):
                self._restore_ready(node)
            return
        self._ranges.release(name)
        self._peers.drop(name)
        self.sessions.forget(name)
        self.usage.forget(name)
        self._reported.pop(name, None)
        if session is not None:
            session.end("the Node object was deleted")

    def _restore_ready(self, node: Node) -> None:
        """A node that was held for lost and is heard again says so itself: repeat its last report."""
        reported = self._reported.get(node.metadata.name)
        if reported is None or not registration.is_reported_ready(reported):
            return
        if not registration.is_reported_ready(node.status):
            self._inbox.node_status(node.metadata.name, reported)

    def _find(self, key: Key) -> Any | None:
        """What a pod's node is sent for a key: of a claim, the volume that it is bound to."""
        found: Any = self._reader.get(BY_NAME[key.kind].message, key.namespace, key.name)
        return self._volume_of(found) if isinstance(found, PersistentVolumeClaim) else found

    def _volume_of(self, claim: PersistentVolumeClaim) -> PersistentVolume | None:
        volume = self._reader.get(PersistentVolume, "", claim.spec.volume_name) if storage.is_bound(claim) else None
        return volume if volume is not None and storage.belongs_to(volume, claim) else None

    # ------------------------------------------------------------ a session

    async def serve(self, node: str, link: NodeLink) -> None:
        """Hold one session of `node` (named by its certificate); returns when it is over.

        Raises:
            BadRequest: The first message is not a hello.
            Conflict: Another machine holds the node's name.
            PodiumError: The Node object could not be written.
        """
        hello = await self._hello(link)
        await self._ready.wait()
        session = Session(node=node, id=secrets.token_hex(8), machine_id=hello.machine_id, link=link, clock=self._clock)
        await self._admit(session)
        try:
            await self._begin(session, hello)
            await self._converse(session)
        finally:
            if self.sessions.release(session):
                self._ledger.book(node).unfollow()
            log.info("session over", node=node, session=session.id)

    async def _hello(self, link: NodeLink) -> Hello:
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                first = await link.receive()
        except TimeoutError:
            raise BadRequest(f"no hello within {HELLO_SECONDS:g} s") from None
        if first is None or first.WhichOneof("message") != "hello":
            raise BadRequest("the first message of a session must be a hello")
        return first.hello

    async def _admit(self, session: Session) -> None:
        try:
            self.sessions.admit(session)
        except PodiumError as error:
            log.warning("refused a session", node=session.node, machine=session.machine_id, why=error.message)
            await session.link.send(MasterMessage(goodbye=Goodbye(reason=error.message)))
            raise

    async def _begin(self, session: Session, hello: Hello) -> None:
        cidr = await self._register(session.node, hello)
        settings, times = self._settings, FencingTimes(self._settings.lease)
        self._peers.put(session.node, registration.peer_address(hello))
        welcome = Welcome(
            session_id=session.id,
            epoch=self.epoch,
            heartbeat_milliseconds=int(self._heartbeat() * 1000),
            lease_milliseconds=int(settings.lease * 1000),
            pod_cidr=cidr,
            cluster_cidr=self._ranges.cluster_cidr,
            service_cidr=settings.service_cidr,
            cluster_domain=settings.cluster_domain,
            endpoints=settings.endpoints,
            trust=settings.trust,
            fence_milliseconds=int(times.silence * 1000),
            fence_grace_milliseconds=int(times.grace * 1000),
            peers=self._peers.of(session.node),
        )
        session.peers_version, session.peers_known = self._peers.version, self._peers.nodes
        session.begin(welcome, self._ledger.book(session.node), self._find, self._network.begin(session))
        log.info("session begun", node=session.node, session=session.id, version=hello.version)

    async def _register(self, name: str, hello: Hello) -> str:
        """Make the Node object be there and say what the hello says; returns the node's pod range."""
        cidr = self._ranges.assign(name, hello.pod_cidr)
        status, now = registration.hello_status(hello), self._clock.now()
        self._reported[name] = status
        if self._reader.get(Node, "", name) is None:
            try:
                await self._writer.create(registration.new_node(name, hello, cidr, now), by=self._by)
            except AlreadyExists:
                log.debug("the Node object is there already", node=name)
        await self._writer.mutate(Node, "", name, lambda n: registration.refresh(n, hello, cidr), by=self._by)
        await self._writer.mutate(
            Node, "", name, lambda n: registration.merge_status(n, status, now), by=self._by, subresource="status"
        )
        return cidr

    async def _converse(self, session: Session) -> None:
        async with TaskScope(on_error=lambda name, error: None) as scope:
            sender = scope.start(session.send_all(), name=f"send to {session.node}")
            receiver = scope.start(self._receive(session), name=f"receive from {session.node}")
            ending = scope.start(session.ending.wait(), name=f"end of {session.node}")
            await asyncio.wait({sender, receiver, ending}, return_when=asyncio.FIRST_COMPLETED)
            if session.ending.is_set():
                await asyncio.wait({sender}, timeout=GOODBYE_SECONDS)
            for task in (sender, receiver):
                if task.done() and not isinstance(error := task.exception(), (LinkClosed, type(None))):
                    raise error

    async def _receive(self, session: Session) -> None:
        while (message := await session.link.receive()) is not None:
            if session.ending.is_set():
                return
            lapsed = not self.sessions.is_alive(session)
            self.sessions.heard(session)
            if lapsed and (node := self._reader.get(Node, "", session.node)) is not None:
                self._restore_ready(node)
            self._take(session, message)

    # ------------------------------------------------------------ up

    def _take(self, session: Session, message: NodeMessage) -> None:
        node = session.node
        match message.WhichOneof("message"):
            case "heartbeat":
                session.heartbeat_seconds = self._heartbeat()
                session.pace_usage(self.usage.pace(node, len(self.sessions)))
                session.answer_beat(message.heartbeat.sequence)
                session.introduce(self._peers)
            case "statuses":
                for update in message.statuses.updates:
                    self._inbox.pod_status(node, update)
            case "usage":
                self.usage.put(node, message.usage)
            case "node_status":
                self._take_node_status(node, session.machine_id, message.node_status)
            case "events":
                for event in message.events.events:
                    self._inbox.event(node, event, owns=lambda uid: self._ledger.node_of(uid) == node)
            case "volumes":
                for state in message.volumes.volumes:
                    self._inbox.volume(node, state)
            case "network_in_force":
                self._network.in_force(session, message.network_in_force.sequence)
            case "resync":
                log.info("node asks for a snapshot", node=node, why=message.resync.reason)
                session.resync()
            case _:
                log.warning("a message that does not belong here", node=node, kind=message.WhichOneof("message"))

    def _heartbeat(self) -> float:
        return heartbeat_for(len(self.sessions), base=self._settings.heartbeat, lease=self._settings.lease)

    def _take_node_status(self, node: str, machine_id: str, status: NodeStatus) -> None:
        status.node_info.machine_id = machine_id
        self._reported[node] = status
        self._inbox.node_status(node, status)

    def _acknowledge(self, node: str, uid: str) -> None:
        session = self.sessions.get(node)
        if session is not None:
            session.acknowledge(uid)
