"""`LinuxPodNetwork`: addresses, links and rules of one node, brought together behind `PodNetwork`.

What holds is on disk before it is used (`record`), or can be read back from the kernel (links), so a nodelet that
restarts goes on where it was, with or without a master.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Collection, Sequence
from pathlib import Path

from nodelet.network import arp, firewalls, hosts_file, ipam, links, nft, record
from nodelet.network.cluster import ClusterNetwork
from nodelet.network.isolation import Forward, pod_leads, pod_part
from nodelet.network.netlink import NetlinkError
from nodelet.network.packet_table import PacketTable
from nodelet.network.peers import Mode
from nodelet.network.protocol import Names, NetworkFault
from nodelet.network.table import NOTHING, Part
from nodelet.runtime.protocol import FULL_NAME, PodIdentity, PortMapping, Sandbox
from podium.aio.clock import Clock
from podium.telemetry.log import get_logger

log = get_logger(__name__)

GATEWAY_LINK = "podium0"
DEFAULT_DOMAIN = "cluster.local"
_FILE = "network.json"
_SLICE_TIMEOUT = 60.0
_POD, _ANNOUNCED = "pod/", "announced"


class LinuxPodNetwork:
    """See the module. One task at a time changes the node's network; waiting for the slice is bounded.

    Attributes:
        cluster: What is known of other nodes, services and policies.
    """

    def __init__(
        self, *, directory: Path, node: str, address: str, clock: Clock, mode: Mode = "auto",
        gateway_link: str = GATEWAY_LINK,
    ) -> None:  # fmt: skip
        self._file = directory / _FILE
        self._gateway_link, self._address = gateway_link, address
        self._record = record.load(self._file)
        self._table = PacketTable()
        self.cluster = ClusterNetwork(
            directory=directory, table=self._table, node=node, own_address=address, clock=clock,
            rules_changed=self._say_pod, look=self._pass_firewalls, mode=mode,
        )  # fmt: skip
        self._lock = asyncio.Lock()
        self._ready = asyncio.Event()
        self._regated = asyncio.Event()

    @property
    def pod_cidr(self) -> str:
        """The slice in use; empty before the first."""
        return self._record.leases.cidr if self._record is not None else ""

    @property
    def gateway(self) -> str:
        """The node's own address in its slice; empty before the first."""
        return ipam.gateway_of(self.pod_cidr) if self._ready.is_set() else ""

    @property
    def domain(self) -> str:
        """The domain of the cluster's names."""
        return self._record.domain if self._record is not None else DEFAULT_DOMAIN

    async def resume(self) -> None:
        """Go on with the slice and the services of the last run, before any master is reached.

        Rules that are there still, for it is the nodelet alone that starts again, are newer than what it kept: they
        stay until the master has said what holds now, or does not answer.

        Raises:
            NetworkFault: The kernel refused.
        """
        await self.cluster.load()
        held = self._record
        if held is None:
            return
        if await nft.is_there():
            self._table.leave()
        async with self._lock:
            await self._use(held.leases.cidr, held.cluster_cidr, held.service_cidr, held.domain)
            if not self._table.left:
                await self._table.tell()
        await self._is_ready()

    async def names(self) -> Names:
        """The node itself answers names, at its own address of its slice.

        Raises:
            NetworkFault: No slice yet.
        """
        await self._slice()
        return Names((self.gateway,), self._known().domain)

    async def gateway_after(self, old: str) -> str:
        """The node's own address of its slice, once there is one that is not `old`. May wait for ever."""
        while self.gateway in ("", old):
            self._regated.clear()
            await self._regated.wait()
        return self.gateway

    async def configure(self, pod_cidr: str, cluster_cidr: str, service_cidr: str, domain: str) -> None:
        """Use these ranges from now on. Safe to repeat; leases of another slice are dropped.

        Raises:
            NetworkFault: The kernel refused, or a range is not one.
        """
        try:
            for cidr in filter(None, (pod_cidr, cluster_cidr, service_cidr)):
                ipaddress.ip_network(cidr)
        except ValueError as error:
            raise NetworkFault(f"the master sent a bad range: {error}") from None
        async with self._lock:
            await self._use(pod_cidr, cluster_cidr, service_cidr, domain)
            await self._table.tell()
        await self._is_ready()

    async def _use(self, pod_cidr: str, cluster_cidr: str, service_cidr: str, domain: str) -> None:
        await self._adopt(pod_cidr, cluster_cidr, service_cidr, domain)
        try:
            await asyncio.to_thread(links.ensure_gateway, self._gateway_link, ipam.gateway_of(pod_cidr))
        except (OSError, NetlinkError) as error:
            raise NetworkFault(f"the link {self._gateway_link} cannot be made: {error}") from None
        self._table.frame_with(nft.Frame(pod_cidr=pod_cidr, cluster_cidr=cluster_cidr, service_cidr=service_cidr))
        self._say_pods()

    async def _is_ready(self) -> None:
        await self._pass_firewalls()
        self._ready.set()
        self._regated.set()
        self.cluster.again()  # what was said meanwhile may be in force now

    async def _pass_firewalls(self) -> None:
        if self._record is not None:
            await firewalls.let_pods_through(f"{links.LINKS}+", self._record.cluster_cidr)

    async def attach(self, sandbox: Sandbox, ports: Sequence[PortMapping]) -> str:
        """Give the sandbox its address and host ports; returns the address. Safe to repeat.

        Raises:
            NetworkFault: No slice yet, no address left, a host port taken, the kernel refused.
        """
        await self._slice()
        uid = sandbox.pod.uid
        async with self._lock:
            held = self._known()
            address = await self._lease(held, sandbox, ports)
            cidr = held.leases.cidr
        try:
            # First the rules, then the link: there is no moment in which a pod is judged by nothing.
            self._say_pod(uid)
            await self._table.tell()
            await asyncio.to_thread(
                links.wire, uid=uid, netns=sandbox.netns_path, address=address, gateway=ipam.gateway_of(cidr)
            )
            full_name = sandbox.labels.get(FULL_NAME, "")
            await asyncio.to_thread(hosts_file.name_itself, sandbox.netns_path, address, full_name)
        except (OSError, NetlinkError) as error:
            raise NetworkFault(f"the sandbox cannot be wired: {error}") from None
        return address

    async def detach(self, pod: PodIdentity) -> None:
        """Take everything of the pod's away. Safe to repeat, also when the sandbox is gone already.

        Raises:
            NetworkFault: The kernel refused.
        """
        try:
            await asyncio.to_thread(links.unwire, pod.uid)
        except (OSError, NetlinkError) as error:
            raise NetworkFault(f"the pod's link cannot be removed: {error}") from None
        async with self._lock:
            if self._record is not None and _forget(self._record, pod.uid):
                await self._save(self._record)
        self._say_pod(pod.uid)
        await self._table.tell()

    async def retain(self, pods: Collection[str]) -> None:
        """Free what belongs to pods whose uid is not in `pods` (after a restart)."""
        kept = {links.host_end(uid) for uid in pods}
        await asyncio.to_thread(lambda: links.remove_ends(links.host_ends() - kept))
        async with self._lock:
            if self._record is None:
                return
            gone = (self._record.namespaces.keys() | self._record.leases.held.keys()) - set(pods)
            for uid in gone:
                _forget(self._record, uid)
            if gone:
                await self._save(self._record)
        self._say_pods()
        await self._table.tell()

    # ------------------------------------------------------------ addresses of pools

    async def answer_for(self, addresses: Collection[str]) -> Collection[str]:
        """Answer on the link for exactly these addresses besides the node's own; returns those that are new.

        Raises:
            NetworkFault: No slice yet, or the kernel refused.
        """
        if addresses and not self._ready.is_set():
            raise NetworkFault("no slice of the pod range yet: no master has been reached")
        # First the rules: the address leads to its service's ports, and never to what else the host answers.
        members = frozenset(("announced", address) for address in addresses)
        self._table.say(_ANNOUNCED, Part(members=members) if members else NOTHING)
        await self._table.tell()
        try:
            return await asyncio.to_thread(links.answer_for, self._gateway_link, addresses)
        except (OSError, NetlinkError) as error:
            raise NetworkFault(f"addresses of pools cannot be set: {error}") from None

    async def shout(self, addresses: Collection[str]) -> None:
        """Tell everybody on the node's link that it has these addresses.

        Raises:
            NetworkFault: The kernel refused.
        """
        try:
            await asyncio.to_thread(arp.shout, self._address, addresses)
        except (OSError, NetlinkError) as error:
            raise NetworkFault(f"no gratuitous ARP: {error}") from None

    # ------------------------------------------------------------ rules

    def _say_pods(self) -> None:
        held = self._known()
        said = {owner.removeprefix(_POD) for owner in self._table.owners(_POD)}
        for uid in said | held.leases.held.keys():
            self._say_pod(uid)

    def _say_pod(self, uid: str) -> None:
        """Let the table say of a pod what holds of it now."""
        held = self._record
        address = held.leases.held.get(uid) if held is not None else None
        if held is None or address is None:
            self._table.say(_POD + uid, NOTHING)
            self.cluster.say_leads(_POD + uid, {})
            return
        forwards = held.forwards.get(uid, ())
        part = pod_part(
            address, held.namespaces.get(uid, ""), forwards, held.cluster_cidr, self.cluster.rules(uid)
        )  # fmt: skip
        self._table.say(_POD + uid, part)
        self.cluster.say_leads(_POD + uid, pod_leads(forwards))

    # ------------------------------------------------------------ what is on disk

    async def _slice(self) -> None:
        """Wait for the slice, which the first contact with a master brings."""
        try:
            async with asyncio.timeout(_SLICE_TIMEOUT):
                await self._ready.wait()
        except TimeoutError:
            raise NetworkFault("no slice of the pod range yet: no master has been reached") from None

    def _known(self) -> record.Record:
        if self._record is None:
            raise NetworkFault("no slice of the pod range yet: no master has been reached")
        return self._record

    async def _adopt(self, pod_cidr: str, cluster_cidr: str, service_cidr: str, domain: str) -> None:
        old = self._record
        leases = old.leases if old is not None and old.leases.cidr == pod_cidr else ipam.Leases(cidr=pod_cidr)
        if old is not None and old.leases is not leases:
            log.warning("the node's slice changed", old=old.leases.cidr, new=pod_cidr)
            old = None
        new = record.Record(
            leases=leases, cluster_cidr=cluster_cidr, service_cidr=service_cidr, domain=domain,
            namespaces=old.namespaces if old is not None else {}, forwards=old.forwards if old is not None else {},
        )  # fmt: skip
        if new != self._record:
            self._record = new
            await self._save(new)

    async def _lease(self, held: record.Record, sandbox: Sandbox, ports: Sequence[PortMapping]) -> str:
        """The pod's address, on disk before it is used. A sandbox that has one keeps it, though the lease was lost."""
        leases, uid = held.leases, sandbox.pod.uid
        before = leases.held.get(uid), held.namespaces.get(uid), held.forwards.get(uid, ())
        address = before[0] or await self._found(held, sandbox)
        forwards = _forwards(ports, address)
        if before == (address, sandbox.pod.namespace, forwards):
            return address
        taken = {_socket(f) for other, theirs in held.forwards.items() if other != uid for f in theirs}
        for forward in forwards:
            if _socket(forward) in taken:
                if before[0] is None:
                    leases.release(uid)
                raise NetworkFault(f"host port {forward.host_port}/{forward.protocol} is taken by another pod")
        held.namespaces[uid] = sandbox.pod.namespace
        held.forwards.pop(uid, None)
        if forwards:
            held.forwards[uid] = forwards
        await self._save(held)
        return address

    async def _found(self, held: record.Record, sandbox: Sandbox) -> str:
        leases, uid, present = held.leases, sandbox.pod.uid, ""
        if await asyncio.to_thread(links.has_host_end, uid):
            present = await asyncio.to_thread(links.address_inside, sandbox.netns_path)
        if present and ipaddress.ip_address(present) in ipaddress.ip_network(leases.cidr):
            leases.held.setdefault(uid, present)
        try:
            return leases.lease(uid)
        except ipam.Exhausted as error:
            raise NetworkFault(str(error)) from None

    async def _save(self, held: record.Record) -> None:
        await asyncio.to_thread(record.save, self._file, held)


def _forget(held: record.Record, uid: str) -> bool:
    """Free what a pod has; whether it had anything."""
    forwards, namespace = held.forwards.pop(uid, None), held.namespaces.pop(uid, None)
    return held.leases.release(uid) or forwards is not None or namespace is not None


def _forwards(ports: Sequence[PortMapping], address: str) -> tuple[Forward, ...]:
    return tuple(
        Forward(protocol=p.protocol, host_port=p.host_port, host_ip=p.host_ip, address=address, port=p.container_port)
        for p in ports
        if p.host_port
    )


def _socket(forward: Forward) -> tuple[str, int, str]:
    return forward.protocol, forward.host_port, forward.host_ip
