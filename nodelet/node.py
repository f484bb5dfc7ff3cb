"""One node put together: pods, session and streams around a runtime and a network. Real and hollow nodes are both this.

What differs between them comes in as `Parts`; what they need to begin is an identity and where the masters are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import podium
from nodelet.network.protocol import InForce, NetworkFault, PodNetwork
from nodelet.pods.images import Disk
from nodelet.pods.manager import PodManager, PodSettings
from nodelet.pods.spec import NodeFacts
from nodelet.runtime.protocol import Images, Runtime
from nodelet.session.dial import Dialer
from nodelet.session.events import EventBuffer
from nodelet.session.fence import Fence, FenceTools
from nodelet.session.kept_lease import KeptLease
from nodelet.session.reporter import Reporter
from nodelet.session.session import AssignmentStore, Session, SessionTimes
from nodelet.session.streams import Streams
from nodelet.shutdown import HostShutdown, ShutdownTimes
from nodelet.volumes.protocol import LocalVolumes, PodVolumes, Reports
from podium.aio.backoff import Backoff
from podium.aio.clock import Clock
from podium.aio.tasks import TaskScope, forever
from podium.objects.storage import ClaimKey, claims_of
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import NodeStatus, Taint
from podium.v1.node_session_pb2 import Assignments, Hello, NetworkUpdate, UsageReport, Welcome

log = get_logger(__name__)

CONFIGURE_RETRY = Backoff(initial=0.5, maximum=30.0)


class Host(Protocol):
    """What is known of the machine. Never raises: what can't be read is left out."""

    @property
    def boot_id(self) -> str: ...
    async def status(self) -> NodeStatus:
        """Capacity, addresses, conditions, images; without heartbeat times."""
        ...

    async def usage(self) -> UsageReport | None:
        """What node and pods use now."""
        ...

    async def disk(self) -> Disk:
        """Where images are kept."""
        ...


class ClusterView(Protocol):
    """What is known of the cluster's network beyond this node."""

    def take(self, update: NetworkUpdate, in_force: InForce | None = None) -> None:
        """Note what the master says; `in_force` is called once it holds. Returns at once."""
        ...

    async def run(self) -> None:
        """Bring it into force, for ever."""
        ...


class NodeNetwork(PodNetwork, Protocol):
    """A pod network that learns the node's slice of the pod range from the master."""

    @property
    def pod_cidr(self) -> str:
        """The slice in use; empty before the first."""
        ...

    async def configure(self, pod_cidr: str, cluster_cidr: str, service_cidr: str, domain: str) -> None:
        """Use these ranges from now on. Safe to repeat."""
        ...

    @property
    def cluster(self) -> ClusterView:
        """Takes what the master says of other nodes, services and policies."""
        ...


class NodeRuntime(Runtime, Images, Protocol):
    """A runtime with an image store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a node is made of."""

    runtime: NodeRuntime
    network: NodeNetwork
    volumes: PodVolumes
    local_volumes: LocalVolumes
    host: Host
    facts: NodeFacts
    store: AssignmentStore
    fence: FenceTools | None = None
    peer_port: int = 0
    pods: PodSettings = field(default_factory=PodSettings)
    shutdown: ShutdownTimes = field(default_factory=ShutdownTimes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the Node object gets when it is first made, and who asks."""

    machine_id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Taint] = ()


class Node:
    """See the module. Implements the session's AboutNode."""

    def __init__(
        self, *, parts: Parts, dialer: Dialer, wishes: Wishes, clock: Clock, times: SessionTimes | None = None
    ) -> None:
        self._parts, self._wishes, self._clock = parts, wishes, clock
        self._configuring: asyncio.Task[None] | None = None
        self._scope = TaskScope(_log_failure)
        self.reporter = Reporter()
        events = self.events = EventBuffer(node=parts.facts.name, clock=clock)
        self.pods = PodManager(
            runtime=parts.runtime,
            images=parts.runtime,
            network=parts.network,
            volumes=parts.volumes,
            statuses=self.reporter,
            events=events,
            clock=clock,
            node=parts.facts,
            settings=parts.pods,
            disk=parts.host.disk,
        )
        fence = parts.fence or FenceTools(since_boot=clock.monotonic)
        self.fence = Fence(pods=self.pods.workers, clock=clock, tools=fence)
        self.pods.admit = self.fence.admit
        self.session = Session(
            dialer=dialer,
            node=self,
            pods=self.pods,
            reporter=self.reporter,
            events=events,
            streams=Streams(runtime=parts.runtime, dial=dialer.stream, scope=self._scope),
            store=parts.store,
            volumes=parts.local_volumes,
            lease=self.fence,
            clock=clock,
            times=times,
        )
        self.fence.hurry = self.session.hurry
        self.shutdown = HostShutdown(pods=self.pods, clock=clock, times=parts.shutdown)
        self.shutdown.announce, self.shutdown.connected = self.session.look_now, lambda: self.session.connected

    @property
    def volume_reports(self) -> Reports:
        """What is said of volumes that Podium made here."""
        return self._parts.local_volumes.reports

    def restore(self, assignments: Assignments | None, lease: KeptLease | None = None) -> None:
        """Begin with the assignments and the lease of before; call it before `run`."""
        self.fence.resume(lease)
        self.session.restore(assignments)

    async def run(self) -> None:
        """Be the node until cancelled; containers stay as they are then."""
        async with self._scope, asyncio.TaskGroup() as tasks:
            tasks.create_task(forever("pods", self.pods.run))
            tasks.create_task(forever("session", self.session.run))
            tasks.create_task(forever("fence", self.fence.run))
            tasks.create_task(forever("local volumes", self._keep_local_volumes))
            tasks.create_task(forever("cluster network", self._parts.network.cluster.run))

    async def _keep_local_volumes(self) -> None:
        await self._parts.local_volumes.run(self._uses)

    def _uses(self, claim: ClaimKey) -> bool:
        return any(claim in claims_of(worker.pod) for worker in self.pods.workers() if not worker.is_over)

    # ------------------------------------------------------------ AboutNode

    async def hello(self) -> Hello:
        """Who this is and how it stands."""
        wishes = self._wishes
        return Hello(
            status=await self.status(),
            labels=wishes.labels,
            taints=wishes.taints,
            machine_id=wishes.machine_id,
            boot_id=self._parts.host.boot_id,
            version=podium.__version__,
            pod_uids=self.pods.pod_uids(),
            pod_cidr=self._parts.network.pod_cidr,
            local_volumes=self._parts.local_volumes.folder,
            peer_port=self._parts.peer_port,
        )

    async def status(self) -> NodeStatus:
        """How the node stands; as the hello says it, so that equal means unchanged."""
        status = NodeStatus()
        status.CopyFrom(await self._parts.host.status())
        status.conditions.append(self.session.clock_check.condition())
        return self.shutdown.mark(status)

    async def usage(self) -> UsageReport | None:
        """What node and pods use."""
        return await self._parts.host.usage()

    def network(self, update: NetworkUpdate, in_force: InForce | None) -> None:
        """The master said something of the cluster's network."""
        self._parts.network.cluster.take(update, in_force)

    def welcomed(self, welcome: Welcome) -> None:
        """The master said which slice of the pod range is this node's; said again, it repairs what is broken."""
        if not welcome.pod_cidr:
            return
        if self._configuring is not None:
            self._configuring.cancel()
        self._configuring = self._scope.start(self._configure(welcome), name="configure the pod network")

    async def _configure(self, welcome: Welcome) -> None:
        failures = 0
        while True:
            try:
                return await self._parts.network.configure(
                    welcome.pod_cidr, welcome.cluster_cidr, welcome.service_cidr, welcome.cluster_domain
                )
            except NetworkFault as fault:
                failures += 1
                log.warning("could not configure the pod network; trying again", why=str(fault), failures=failures)
            await self._clock.sleep(CONFIGURE_RETRY.delay(failures))


def _log_failure(name: str, error: BaseException) -> None:
    log.error("task failed", task=name, error=error)
