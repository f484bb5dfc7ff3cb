"""A real node: this host, its Docker Engine, its kernel's network.

    folder lock, machine id → runtime (waited for) → identity (joining if there is none) → network with its old leases
      → pods with the last assignments → session, eviction, renewal

With an identity and assignments on disk nothing here asks a master, so that a host that boots while the masters are
away runs its pods all the same, but for those that use Secrets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from nodelet import watchdog
from nodelet.control import SOCKET, ControlSocket
from nodelet.dns.names import ClusterNames
from nodelet.dns.server import DnsServer
from nodelet.dns.upstream import Upstream
from nodelet.dns.zone import Zone
from nodelet.drain_host import COMMAND
from nodelet.enrol import identity_of, join_anew
from nodelet.metrics.address import node_ip
from nodelet.metrics.exporter import shown
from nodelet.metrics.host import LinuxHost, ManagedPods
from nodelet.metrics.state_disk import StateDisk
from nodelet.metrics.status import About
from nodelet.network.announcer import Announcer
from nodelet.network.health_ports import HealthPorts
from nodelet.network.pod_network import LinuxPodNetwork
from nodelet.node import Node, Parts, Wishes
from nodelet.pods.evict import Evictor, Measure
from nodelet.pods.size_limits import SizeLimits
from nodelet.pods.spec import NodeFacts
from nodelet.pods.volume_gauge import VolumeGauge
from nodelet.runtime.docker import DockerRuntime
from nodelet.runtime.docker.engine import DEFAULT_SOCKET
from nodelet.runtime.protocol import RuntimeFault, RuntimeInfo
from nodelet.session.dial import GrpcDialer
from nodelet.session.fence import FenceTools
from nodelet.session.kept_lease import KeptLease, from_data, to_data
from nodelet.session.peers import ask_peers
from nodelet.session.renewal import Renewer
from nodelet.session.session import SessionTimes
from nodelet.settings import NodeletSettings
from nodelet.shutdown import ShutdownTimes
from nodelet.state.assignments import AssignmentFiles
from nodelet.state.directory import StateDirectory
from nodelet.state.identity import Identity
from nodelet.state.keeper import AssignmentKeeper
from nodelet.state.lease_file import LeaseFile, boot_id, since_boot
from nodelet.state.secrets import SecretFile
from nodelet.volumes.claim import ClaimSource
from nodelet.volumes.keeper import LocalKeeper
from nodelet.volumes.local import LocalFolders
from nodelet.volumes.mounts import LinuxMounter
from nodelet.volumes.sources import all_sources
from nodelet.volumes.volumes import HostVolumes
from podium.aio.backoff import Backoff
from podium.aio.clock import Clock
from podium.files import exclusive
from podium.telemetry.log import get_logger
from podium.tls import parse_endpoint

log = get_logger(__name__)

_RUNTIME_RETRY = Backoff(initial=0.1, maximum=2.0)
_RUNTIME_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RealNode:
    """A node that is put together, and what must run for it to live."""

    node: Node
    host: LinuxHost
    parts: dict[str, Callable[[], Awaitable[None]]]
    renewer: Renewer

    def waiting_for(self) -> str:
        """What keeps the node from being ready; empty when it is."""
        return "" if self.node.session.connected else "a master"


@asynccontextmanager
async def real_node(settings: NodeletSettings, clock: Clock) -> AsyncIterator[RealNode]:
    """The node of this host; `parts` are to be run by the caller. Leaving leaves pods, addresses and rules as they are.

    Raises:
        Conflict: Another nodelet uses the data directory.
        NetworkFault: The kernel refused what the last run had.
    """
    state = await asyncio.to_thread(StateDirectory, settings.data_dir)
    with exclusive(state.path):
        socket_path = settings.docker_host.removeprefix("unix://") or DEFAULT_SOCKET
        runtime = DockerRuntime(socket_path=socket_path, clock=clock, messages=state.path / "termination")
        try:
            info = await _runtime_up(runtime, clock)
            identity = await identity_of(settings, state, clock)
            address = settings.node_ip or await node_ip([parse_endpoint(m) for m in settings.api_endpoints()])
            network = LinuxPodNetwork(
                directory=state.path, node=settings.name, address=address, clock=clock, mode=settings.pod_network
            )
            await network.resume()
            machine_id = await asyncio.to_thread(state.machine_id)
            mounter = LinuxMounter()
            files = AssignmentFiles(state.path, SecretFile(state.path, mounter))
            keeper = AssignmentKeeper(files, clock)
            host = await LinuxHost.open(
                about=About(
                    name=settings.name, ip=address, machine_id=machine_id, max_pods=settings.max_pods,
                    reserved=settings.system_reserved,
                ),
                disk=Path(info.root_dir), runtime=runtime, clock=clock, state=StateDisk(state.path, clock),
            )  # fmt: skip
            allocatable = dict((await host.status()).allocatable)
            folders = LocalFolders(mounter)
            local_volumes = LocalKeeper(state.path / "local-volumes", folders)
            claims = ClaimSource(folders, local_volumes.made)
            sources = all_sources(mounter, allocatable, claims)
            volumes = await asyncio.to_thread(HostVolumes, state.path / "volumes", sources=sources, mounter=mounter)
            dialer = GrpcDialer(identity, settings.api_endpoints() or identity.endpoints)
            leases = LeaseFile(state.path)
            await asyncio.to_thread(watchdog.start, state.path.resolve(), socket_path)
            node = Node(
                parts=Parts(
                    runtime=runtime, network=network, volumes=volumes, local_volumes=local_volumes, host=host,
                    store=keeper,
                    facts=NodeFacts(
                        name=settings.name, ip=address, memory=host.reader.machine.memory, runtime="docker",
                        allocatable=allocatable, seccomp=state.path / "seccomp",
                    ),
                    fence=_fence_tools(leases),
                    shutdown=ShutdownTimes(
                        grace=settings.shutdown_grace_period, critical=settings.shutdown_grace_period_critical_pods
                    ),
                    peer_port=parse_endpoint(settings.http_listen)[1] if settings.http_listen else 0,
                ),
                dialer=dialer,
                wishes=Wishes(machine_id=machine_id, labels=settings.labels, taints=settings.taint_messages()),
                clock=clock,
                times=SessionTimes(status=settings.status_period, usage=settings.usage_period),
            )  # fmt: skip
            host.follow(ManagedPods(node.pods))
            kept = from_data(await asyncio.to_thread(leases.read))
            node.restore(await asyncio.to_thread(files.load), kept)
            await node.fence.look()  # its peers may excuse it, before a pod is stopped for nothing
            try:
                renewer = _renewer(settings, identity, dialer, state, clock)
                node.session.trust, renewer.renewed = renewer, node.session.begin_anew
                parts = _parts(node, host, keeper, volumes.used, renewer, clock)
                parts["control"] = ControlSocket(state.path / SOCKET, {COMMAND: node.shutdown.run}).run
                parts["names"] = _names(network, clock).run
                parts["announcer"] = Announcer(
                    services=network.cluster, node=settings.name, link=network, may=lambda: not node.fence.closed,
                    clock=clock,
                ).run  # fmt: skip
                parts["health ports"] = HealthPorts(services=network.cluster, node=settings.name, clock=clock).run
                with shown(host):
                    yield RealNode(node=node, host=host, parts=parts, renewer=renewer)
            finally:
                _ = await keeper.flush()
                await dialer.close()
        finally:
            await runtime.close()


def _fence_tools(leases: LeaseFile) -> FenceTools:
    async def keep(kept: KeptLease) -> None:
        try:
            await asyncio.to_thread(leases.write, to_data(kept))
        except (OSError, ValueError) as error:
            log.error("could not keep the lease", why=str(error))

    return FenceTools(since_boot=since_boot, boot=boot_id(), ask=ask_peers, keep=keep)


def _parts(
    node: Node, host: LinuxHost, keeper: AssignmentKeeper, measure: Measure, renewer: Renewer, clock: Clock
) -> dict[str, Callable[[], Awaitable[None]]]:
    evictor = Evictor(manager=node.pods, signals=host.signals, uses=host.uses, measure=measure, clock=clock)
    limits = SizeLimits(manager=node.pods, measure=measure, clock=clock)
    gauge = VolumeGauge(bound=node.pods.bound_volumes, reports=node.volume_reports, events=node.events, clock=clock)
    return {
        "node": node.run,
        "assignments": keeper.run,
        "renewal": renewer.run,
        "eviction": evictor.run,
        "size limits": limits.run,
        "volume gauge": gauge.run,
    }


def _names(network: LinuxPodNetwork, clock: Clock) -> ClusterNames:
    server = DnsServer(zone=Zone(network.domain), upstream=Upstream(clock=clock))
    return ClusterNames(server=server, services=network.cluster, place=network, clock=clock)


def _renewer(
    settings: NodeletSettings, identity: Identity, dialer: GrpcDialer, state: StateDirectory, clock: Clock
) -> Renewer:
    async def keep(renewed: Identity) -> None:
        await asyncio.to_thread(state.save_identity, renewed)

    async def join() -> Identity:
        return await join_anew(settings, state, clock)

    return Renewer(identity, dialer=dialer, keep=keep, join=join, clock=clock)


async def _runtime_up(runtime: DockerRuntime, clock: Clock) -> RuntimeInfo:
    """Wait for the engine, for as long as it takes."""
    failures = 0
    while True:
        try:
            async with asyncio.timeout(_RUNTIME_SECONDS):
                return await runtime.info()
        except (RuntimeFault, TimeoutError) as error:
            failures += 1
            if failures == 1:
                log.info("waiting for the Docker Engine", why=str(error))
            await clock.sleep(_RUNTIME_RETRY.delay(failures))
