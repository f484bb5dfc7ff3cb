"""Many nodes in one process, for tests and benchmarks: real sessions and pod managers over hollow hosts.

Each node has its own certificate and connection, so the master meets them exactly as it meets real ones; only the
containers, their addresses and the hosts' figures are made up.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nodelet.network.protocol import InForce, NetworkFault
from nodelet.node import Node, Parts, Wishes
from nodelet.pods.images import Disk
from nodelet.pods.manager import PodSettings
from nodelet.pods.spec import NodeFacts
from nodelet.runtime.hollow import HollowRuntime, HollowSettings
from nodelet.runtime.protocol import PodIdentity, PortMapping, Sandbox
from nodelet.session.dial import GrpcDialer
from nodelet.session.join import Token, join
from nodelet.session.session import AssignmentStore, SessionTimes
from nodelet.state.identity import Identity
from nodelet.state.keeper import NoStore
from nodelet.volumes.hollow import HollowLocalVolumes, HollowVolumes
from nodelet.volumes.protocol import PodVolumes
from podium.aio.clock import Clock
from podium.objects.meta import timestamp
from podium.objects.quantity import value
from podium.telemetry.log import get_logger
from podium.v1.cluster_service_pb2 import PodUsage
from podium.v1.core_pb2 import NodeStatus, Taint
from podium.v1.node_session_pb2 import NetworkRecord, NetworkUpdate, UsageReport

log = get_logger(__name__)

PARALLEL_JOINS = 16
RELIST_SECONDS = 600.0
WINDOW_MILLISECONDS = 1000
"""What hollow figures are said to be means over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HollowSize:
    """What a hollow node claims to have, as Kubernetes quantities."""

    cpu: str = "32"
    memory: str = "256Gi"
    pods: int = 110


class HollowHost:
    """Implements `nodelet.node.Host`."""

    def __init__(self, name: str, size: HollowSize, clock: Clock, runtime: HollowRuntime) -> None:
        self._name, self._clock, self._runtime = name, clock, runtime
        self._status = _status(name, size)

    @property
    def boot_id(self) -> str:
        """Never reboots."""
        return f"hollow-{self._name}"

    async def status(self) -> NodeStatus:
        """Always the same, and ready."""
        return self._status

    async def usage(self) -> UsageReport | None:
        """What the runtime's containers claim to use."""
        now = timestamp(self._clock.now())
        report, pods = UsageReport(time=now), dict[str, PodUsage]()
        for record, load in self._runtime.loads():
            pod = record.pod
            usage = pods.setdefault(pod.uid, PodUsage(namespace=pod.namespace, name=pod.name, uid=pod.uid, time=now))
            usage.containers.add(
                name=record.name,
                cpu_nanocores=round(load.cpu_cores * 1e9),
                memory_bytes=load.memory_bytes,
                tasks=1,
                window_milliseconds=WINDOW_MILLISECONDS,
            )
        used = [container for pod in pods.values() for container in pod.containers]
        report.pods.extend(pods.values())
        report.node.name, report.node.tasks = self._name, len(used)
        report.node.cpu_nanocores = sum(container.cpu_nanocores for container in used)
        report.node.memory_bytes = sum(container.memory_bytes for container in used)
        report.node.time.CopyFrom(now)
        return report

    async def disk(self) -> Disk:
        """Empty."""
        return Disk(total=1, used=0)


class HollowClusterView:
    """Implements `nodelet.node.ClusterView`: keeps services, and routes nothing.

    Peers and members of namespaces are as many as there are nodes and pods: a thousand nodes would keep a million.
    """

    def __init__(self) -> None:
        self.records: dict[str, NetworkRecord] = {}

    def take(self, update: NetworkUpdate, in_force: InForce | None = None) -> None:
        """Note what the master says, which holds at once."""
        if update.snapshot:
            self.records = {}
        for id_ in update.removed:
            self.records.pop(id_, None)
        self.records.update((record.id, record) for record in update.records if record.HasField("service"))
        if in_force is not None:
            in_force()

    async def run(self) -> None:
        """Nothing has to be brought into force."""
        await asyncio.get_running_loop().create_future()


class HollowNetwork:
    """Implements `nodelet.node.NodeNetwork`: gives addresses out and wires nothing."""

    def __init__(self) -> None:
        self.pod_cidr = ""
        self.cluster = HollowClusterView()
        self._leases: dict[str, str] = {}
        self._fresh: Iterator[str] = iter(())

    async def configure(self, pod_cidr: str, cluster_cidr: str, service_cidr: str, domain: str) -> None:
        """Use this slice from now on."""
        self.pod_cidr = pod_cidr
        # The first address is the bridge's on a real host.
        self._fresh = (str(host) for host in itertools.islice(ipaddress.ip_network(pod_cidr).hosts(), 1, None))

    async def attach(self, sandbox: Sandbox, ports: Sequence[PortMapping]) -> str:
        """The pod's address.

        Raises:
            NetworkFault: No slice yet, or none free in it.
        """
        known = self._leases.get(sandbox.pod.uid)
        if known is not None:
            return known
        address = self._free()
        self._leases[sandbox.pod.uid] = address
        return address

    def _free(self) -> str:
        if not self.pod_cidr:
            raise NetworkFault("the master has not yet said which pod range is this node's")
        taken = set(self._leases.values())
        for _ in range(2):  # what was freed before the cursor is found on the second round
            for address in self._fresh:
                if address not in taken:
                    return address
            self._fresh = (str(host) for host in itertools.islice(ipaddress.ip_network(self.pod_cidr).hosts(), 1, None))
        raise NetworkFault(f"no address is free in {self.pod_cidr}")

    async def detach(self, pod: PodIdentity) -> None:
        """Free the pod's address."""
        self._leases.pop(pod.uid, None)

    async def retain(self, pods: Collection[str]) -> None:
        """Free the addresses of all other pods."""
        self._leases = {uid: address for uid, address in self._leases.items() if uid in pods}


def _amounts(size: HollowSize) -> dict[str, str]:
    return {"cpu": size.cpu, "memory": size.memory, "pods": str(size.pods), "ephemeral-storage": "1Ti"}


def _status(name: str, size: HollowSize) -> NodeStatus:
    status = NodeStatus(capacity=_amounts(size))
    status.allocatable.update(status.capacity)
    status.conditions.add(type="Ready", status="True", reason="NodeletReady", message="the nodelet is hollow")
    for pressure in ("MemoryPressure", "DiskPressure", "PIDPressure"):
        status.conditions.add(type=pressure, status="False", reason="NoPressure")
    status.addresses.add(type="Hostname", address=name)
    status.addresses.add(type="InternalIP", address="127.0.0.1")
    info = status.node_info
    info.operating_system, info.architecture, info.os_image = "linux", "amd64", "hollow"
    info.container_runtime_version = "hollow://1"
    return status


def hollow_node(
    identity: Identity,
    endpoints: Sequence[str],
    *,
    clock: Clock,
    size: HollowSize | None = None,
    behaviours: HollowSettings | None = None,
    times: SessionTimes | None = None,
    volumes: PodVolumes | None = None,
    runtime: HollowRuntime | None = None,
    store: AssignmentStore | None = None,
    labels: Mapping[str, str] | None = None,
    taints: Sequence[Taint] = (),
) -> tuple[Node, HollowRuntime, GrpcDialer]:
    """One hollow node, not running yet, with its runtime (for faults) and its dialer (to close).

    Without a runtime and a store of before it is a new host, and keeps nothing.
    """
    name, size = identity.node_name, size or HollowSize()
    runtime = runtime or HollowRuntime(behaviours, clock=clock, name=name)
    parts = Parts(
        runtime=runtime,
        network=HollowNetwork(),
        volumes=volumes or HollowVolumes(),
        local_volumes=HollowLocalVolumes(),
        host=HollowHost(name, size, clock, runtime),
        facts=NodeFacts(name=name, ip="127.0.0.1", memory=value(size.memory), allocatable=_amounts(size)),
        store=store or NoStore(),
        pods=PodSettings(relist_seconds=RELIST_SECONDS),
    )
    dialer = GrpcDialer(identity, endpoints)
    wishes = Wishes(machine_id=f"hollow-{name}", labels=labels or {}, taints=taints)
    node = Node(parts=parts, dialer=dialer, wishes=wishes, clock=clock, times=times)
    return node, runtime, dialer


async def join_fleet(count: int, name: str, join_endpoints: Sequence[str], token: Token) -> list[Identity]:
    """Identities of NAME-0, NAME-1, …

    Raises:
        PodiumError: One was refused.
    """
    turns = asyncio.Semaphore(PARALLEL_JOINS)

    async def one(number: int) -> Identity:
        node = f"{name}-{number}"
        async with turns:
            return await join(join_endpoints, token, node_name=node, machine_id=f"hollow-{node}")

    return list(await asyncio.gather(*(one(number) for number in range(count))))


async def run_fleet(
    identities: Sequence[Identity],
    endpoints: Sequence[str],
    *,
    clock: Clock,
    size: HollowSize | None = None,
    behaviours: HollowSettings | None = None,
    times: SessionTimes | None = None,
) -> None:
    """Be all these nodes, for ever."""
    serial = itertools.count(1)
    async with asyncio.TaskGroup() as tasks:
        for identity in identities:
            node, _, _ = hollow_node(identity, endpoints, clock=clock, size=size, behaviours=behaviours, times=times)
            node.restore(None)
            tasks.create_task(node.run(), name=f"node {next(serial)}")
    raise RuntimeError("a fleet never ends")
