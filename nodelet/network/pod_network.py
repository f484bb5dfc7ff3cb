"""`LinuxPodNetwork`: addresses, links and rules of one node, brought together behind `PodNetwork`.

What holds is on disk before it is used (`record`), or can be read back from the kernel (links), so a nodelet that
restarts goes on where it was, with or without a master.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Collection, Sequence
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from nodelet.network import beside_docker, hosts_file, ipam, links, nft, record
from nodelet.network.protocol import NetworkFault
from nodelet.runtime.protocol import FULL_NAME, PodIdentity, PortMapping, Sandbox
from podium.telemetry.log import get_logger

log = get_logger(__name__)

BRIDGE = "podium0"
_FILE = "network.json"
_SLICE_TIMEOUT = 60.0


class LinuxPodNetwork:
    """See the module. One task at a time changes the node's network; waiting for the slice is bounded."""

    def __init__(self, *, directory: Path, bridge: str = BRIDGE) -> None:
        self._file = directory / _FILE
        self._bridge = bridge
        self._record = record.load(self._file)
        self._lock = asyncio.Lock()
        self._ready = asyncio.Event()

    @property
    def pod_cidr(self) -> str:
        """The slice in use; empty before the first."""
        return self._record.leases.cidr if self._record is not None else ""

    async def resume(self) -> None:
        """Go on with the slice of the last run, before any master is reached.

        Raises:
            NetworkFault: The kernel refused.
        """
        if self._record is not None:
            await self.configure(self._record.leases.cidr, self._record.cluster_cidr)

    async def configure(self, pod_cidr: str, cluster_cidr: str) -> None:
        """Use this slice from now on. Safe to repeat; leases of another slice are dropped.

        Raises:
            NetworkFault: The kernel refused, or a range is not one.
        """
        try:
            prefix = ipaddress.ip_network(pod_cidr).prefixlen
            ipaddress.ip_network(cluster_cidr)
        except ValueError as error:
            raise NetworkFault(f"the master sent a bad range: {error}") from None
        async with self._lock:
            await self._adopt_ranges(pod_cidr, cluster_cidr)
            try:
                await asyncio.to_thread(links.ensure_bridge, self._bridge, ipam.gateway_of(pod_cidr), prefix)
            except (OSError, NetlinkError) as error:
                raise NetworkFault(f"the bridge {self._bridge} cannot be made: {error}") from None
            await self._apply(self._known())
            await beside_docker.let_pods_through(self._bridge)
        self._ready.set()

    async def attach(self, sandbox: Sandbox, ports: Sequence[PortMapping]) -> str:
        """Give the sandbox its address and host ports; returns the address. Safe to repeat.

        Raises:
            NetworkFault: No slice yet, no address left, a host port taken, the kernel refused.
        """
        await self._slice()
        async with self._lock:
            held = self._known()
            address = await self._lease(held, sandbox)
            cidr = held.leases.cidr
        try:
            # Outside the lock: links of different sandboxes have nothing to do with each other.
            await asyncio.to_thread(
                links.wire, uid=sandbox.pod.uid, netns=sandbox.netns_path, bridge=self._bridge, address=address,
                prefix=ipaddress.ip_network(cidr).prefixlen, gateway=ipam.gateway_of(cidr),
            )  # fmt: skip
            full_name = sandbox.labels.get(FULL_NAME, "")
            await asyncio.to_thread(hosts_file.name_itself, sandbox.netns_path, address, full_name)
        except (OSError, NetlinkError) as error:
            raise NetworkFault(f"the sandbox cannot be wired: {error}") from None
        async with self._lock:
            await self._forward(self._known(), sandbox.pod.uid, _forwards(ports, address))
        return address

    async def detach(self, pod: PodIdentity) -> None:
        """Take everything of the pod's away. Safe to repeat, also when the sandbox is gone already.

        Raises:
            NetworkFault: The kernel refused.
        """
        async with self._lock:
            try:
                await asyncio.to_thread(links.unwire, pod.uid)
            except (OSError, NetlinkError) as error:
                raise NetworkFault(f"the pod's link cannot be removed: {error}") from None
            if self._record is not None:
                await self._forward(self._record, pod.uid, ())
                if self._record.leases.release(pod.uid):
                    await self._save(self._record)

    async def retain(self, pods: Collection[str]) -> None:
        """Free what belongs to pods whose uid is not in `pods` (after a restart)."""
        async with self._lock:
            kept = {links.host_end(uid) for uid in pods}
            await asyncio.to_thread(lambda: links.remove_ends(links.host_ends() - kept))
            if self._record is None:
                return
            gone = self._record.forwards.keys() - set(pods)
            for uid in gone:
                del self._record.forwards[uid]
            if self._record.leases.retain(pods) or gone:
                await self._save(self._record)
            if gone and self._ready.is_set():
                await self._apply(self._record)

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

    async def _adopt_ranges(self, pod_cidr: str, cluster_cidr: str) -> None:
        old = self._record
        if old is not None and (old.leases.cidr, old.cluster_cidr) == (pod_cidr, cluster_cidr):
            return
        if old is not None and old.leases.cidr == pod_cidr:
            old.cluster_cidr = cluster_cidr
        else:
            if old is not None:
                log.warning("the node's slice changed", old=old.leases.cidr, new=pod_cidr)
            self._record = record.Record(leases=ipam.Leases(cidr=pod_cidr), cluster_cidr=cluster_cidr)
        await self._save(self._known())

    async def _lease(self, held: record.Record, sandbox: Sandbox) -> str:
        """The pod's address, on disk before it is used. A sandbox that has one keeps it, though the lease was lost."""
        leases, uid = held.leases, sandbox.pod.uid
        if uid in leases.held:
            return leases.held[uid]
        present = ""
        if await asyncio.to_thread(links.has_host_end, uid):
            present = await asyncio.to_thread(links.address_inside, sandbox.netns_path)
        if present and ipaddress.ip_address(present) in ipaddress.ip_network(leases.cidr):
            leases.held.setdefault(uid, present)
        try:
            address = leases.lease(uid)
        except ipam.Exhausted as error:
            raise NetworkFault(str(error)) from None
        await self._save(held)
        return address

    async def _forward(self, held: record.Record, uid: str, wanted: tuple[nft.Forward, ...]) -> None:
        before = held.forwards.get(uid, ())
        if before == wanted:
            return
        taken = {_socket(f) for other, forwards in held.forwards.items() if other != uid for f in forwards}
        for forward in wanted:
            if _socket(forward) in taken:
                raise NetworkFault(f"host port {forward.host_port}/{forward.protocol} is taken by another pod")
        _put(held.forwards, uid, wanted)
        try:
            await self._apply(held)
        except NetworkFault:
            _put(held.forwards, uid, before)
            raise
        await self._save(held)

    async def _apply(self, held: record.Record) -> None:
        rules = nft.Rules(
            bridge=self._bridge,
            pod_cidr=held.leases.cidr,
            cluster_cidr=held.cluster_cidr,
            forwards=tuple(f for forwards in held.forwards.values() for f in forwards),
        )
        try:
            await nft.apply(nft.render(rules))
        except nft.Refused as error:
            raise NetworkFault(f"the node's packet rules cannot be set: {error}") from None

    async def _save(self, held: record.Record) -> None:
        await asyncio.to_thread(record.save, self._file, held)


def _forwards(ports: Sequence[PortMapping], address: str) -> tuple[nft.Forward, ...]:
    return tuple(
        nft.Forward(
            protocol=p.protocol, host_port=p.host_port, host_ip=p.host_ip, address=address, port=p.container_port
        )
        for p in ports
        if p.host_port
    )


def _put(forwards: dict[str, tuple[nft.Forward, ...]], uid: str, wanted: tuple[nft.Forward, ...]) -> None:
    if wanted:
        forwards[uid] = wanted
    else:
        forwards.pop(uid, None)


def _socket(forward: nft.Forward) -> tuple[str, int, str]:
    return forward.protocol, forward.host_port, forward.host_ip
