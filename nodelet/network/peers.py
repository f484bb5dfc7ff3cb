"""The way to the pods of other nodes: one route a node, over the shared link or through VXLAN.

    on the same link       10.64.7.0/24 via 192.0.2.7 dev eth0                     nothing is added to a packet
    behind a router        10.64.7.0/24 via 10.64.7.1 dev podiumvx, on link        VXLAN to 192.0.2.7

Which of the two is asked of the kernel, node by node: an address that is reached without a gateway is on a link of
ours. The setting `pod_network` can say it instead: `direct` leaves it to the routers in between to know the nodes'
slices, `vxlan` tunnels to every peer. Routes of ours carry a protocol number of their own, so what is no longer wanted
is found without remembering it. Nothing is learned from packets: neighbours and forwarding entries of the VXLAN device
are static.

Blocking; the caller runs it in a thread.
"""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from socket import AF_INET
from typing import Literal

from nodelet.network.links import VXLAN, hardware_address, link_index, mtu_of, tolerating, uplink_mtu
from nodelet.network.netlink import IPRoute, NetlinkError

VXLAN_ID = 4096
VXLAN_PORT = 4789
VXLAN_OVERHEAD = 50
PROTOCOL = 173
"""Marks our routes (`proto` of ip-route(8)); not one of those that iproute2 gives a name."""

_PERMANENT = 0x80  # NUD_PERMANENT
_ON_LINK = 4  # RTNH_F_ONLINK


Mode = Literal["auto", "direct", "vxlan"]


@dataclass(frozen=True, slots=True, order=True)
class Peer:
    """Another node: its slice of the pod range, and its address."""

    cidr: str
    address: str


@dataclass(frozen=True, slots=True)
class Way:
    """How a peer's slice is reached: through `link`, by way of `gateway`."""

    gateway: str
    link: str


def plan_way(peer: Peer, link: str, router: str, mode: Mode = "auto") -> Way:
    """The way to a peer whose address is reached through `link`; `router` is empty when both are on that link."""
    if mode == "vxlan" or (router and mode == "auto"):
        return Way(vxlan_address(peer), VXLAN)
    return Way(router or peer.address, link)


def vxlan_address(peer: Peer) -> str:
    """Whom packets through the tunnel are for: the peer's own address in its slice."""
    return str(ipaddress.ip_network(peer.cidr).network_address + 1)


def set_peers(peers: Collection[Peer], own_address: str, mode: Mode = "auto") -> list[str]:
    """Make the routes to other nodes exactly these. Safe to repeat. Returns what could not be: peers out of reach.

    Raises:
        OSError, NetlinkError: The kernel refused.
    """
    with IPRoute() as ip:
        ways: dict[Peer, Way] = {}
        lost: list[str] = []
        for peer in peers:
            try:
                ways[peer] = plan_way(peer, *_lookup(ip, peer.address), mode)
            except NetlinkError as error:
                lost.append(f"{peer.cidr} at {peer.address}: {error}")
        tunnelled = [peer for peer, way in ways.items() if way.link == VXLAN]
        if tunnelled:
            _ensure_vxlan(ip, own_address)
        _set_neighbours(ip, tunnelled)
        _set_routes(ip, {peer.cidr: way for peer, way in ways.items()}, own_address)
        return lost


def _lookup(ip: IPRoute, address: str) -> tuple[str, str]:
    """The link through which an address is reached, and the router on the way, if there is one."""
    (route,) = ip.route("get", dst=address)
    (link,) = ip.get_links(route.get_attr("RTA_OIF"))
    return str(link.get_attr("IFLA_IFNAME")), route.get_attr("RTA_GATEWAY") or ""


def _ensure_vxlan(ip: IPRoute, own_address: str) -> None:
    """The device, with the node's address as it is now, and what the link that has it leaves to a packet inside."""
    mtu = _mtu_at(ip, own_address) - VXLAN_OVERHEAD
    index = link_index(ip, VXLAN)
    if index is not None and _tunnel_address(ip, index) != own_address:
        ip.link("del", index=index)  # its routes and neighbours go along, and are set anew
        index = None
    if index is None:
        with tolerating(errno.EEXIST):
            ip.link(
                "add", ifname=VXLAN, kind="vxlan", vxlan_id=VXLAN_ID, vxlan_port=VXLAN_PORT, vxlan_local=own_address,
                vxlan_learning=False, address=_tunnel_mac(own_address), mtu=mtu,
            )  # fmt: skip
        index = link_index(ip, VXLAN)
    ip.link("set", index=index, mtu=mtu, state="up")


def _mtu_at(ip: IPRoute, own_address: str) -> int:
    """The MTU of the link that has the node's address; of the default route's link while none has it."""
    for address in ip.get_addr(family=AF_INET):
        if address.get_attr("IFA_LOCAL") == own_address:
            return mtu_of(ip, address["index"])
    return uplink_mtu(ip)


def _tunnel_address(ip: IPRoute, index: int) -> str:
    """From where the device at `index` sends what it tunnels."""
    (link,) = ip.get_links(index)
    return str(link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", "IFLA_VXLAN_LOCAL") or "")


def _tunnel_mac(address: str) -> str:
    """The hardware address of a node's end of the tunnel, which everybody can tell from the node's address."""
    return hardware_address(address)


def _set_neighbours(ip: IPRoute, tunnelled: Collection[Peer]) -> None:
    index = link_index(ip, VXLAN)
    if index is None:
        return
    wanted = {_tunnel_mac(peer.address): peer for peer in tunnelled}
    for entry in ip.fdb("dump", ifindex=index):
        mac, where = entry.get_attr("NDA_LLADDR"), entry.get_attr("NDA_DST")
        if where and (mac not in wanted or wanted[mac].address != where):
            ip.fdb("del", ifindex=index, lladdr=mac, dst=where)
    for mac, peer in wanted.items():
        ip.neigh("replace", dst=vxlan_address(peer), lladdr=mac, ifindex=index, state=_PERMANENT)
        with tolerating(errno.EEXIST):  # what led elsewhere is gone by now; a VXLAN device knows no "replace"
            ip.fdb("add", ifindex=index, lladdr=mac, dst=peer.address)


def _set_routes(ip: IPRoute, wanted: Mapping[str, Way], own_address: str) -> None:
    present: dict[str, Way] = {}
    for route in ip.get_routes(family=AF_INET):
        if route["proto"] != PROTOCOL:
            continue
        (link,) = ip.get_links(route.get_attr("RTA_OIF"))
        cidr = f"{route.get_attr('RTA_DST')}/{route['dst_len']}"
        present[cidr] = Way(route.get_attr("RTA_GATEWAY") or "", link.get_attr("IFLA_IFNAME"))
    for cidr in present.keys() - wanted.keys():
        with tolerating(errno.ESRCH):
            ip.route("del", dst=cidr, proto=PROTOCOL)
    for cidr, way in wanted.items():
        if present.get(cidr) != way:
            # The tunnel has no address of its own: the host speaks through it as itself.
            source = {"prefsrc": own_address} if way.link == VXLAN else {}
            ip.route(
                "replace", dst=cidr, gateway=way.gateway, oif=link_index(ip, way.link), proto=PROTOCOL,
                flags=_ON_LINK, **source,
            )  # fmt: skip
