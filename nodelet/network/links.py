"""Netlink: a veth pair into each sandbox, routed, and the device that holds the node's own address. Blocking; the
caller runs it in a thread.

        sandbox's network namespace                          host
      ┌─────────────────────────────────┐
      │ eth0  10.64.3.7/32              │─── veth ─── podv3f9c21a04b   route 10.64.3.7/32
      │ default via 10.64.3.1, on link  │
      └─────────────────────────────────┘             podium0  10.64.3.1/32: the gateway, DNS

No bridge joins pods: two of one host meet in the host's routing, where the node's packet rules see every packet.
Neighbours are static on both sides, so no pod is ever asked, nor believed, who has an address; and a packet whose
source is not the pod's own is dropped by the strict reverse path filter of its link.

Every call is safe to repeat: what is there already is left as it is. Names and hardware addresses follow from the pod,
so nothing needs to be remembered.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import ipaddress
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_INET

from nodelet.network.netlink import IPRoute, NetlinkError

_CLONE_NEWNET = 0x40000000
LINKS = "podv"
"""What the names of the host's ends of pods' pairs begin with."""
VXLAN = "podiumvx"
"""The device that tunnels to hosts with a router in between (`nodelet.network.peers`)."""
_INSIDE = "eth0"
_HOST_END_MAC = "0a:58:ff:ff:ff:fe"
"""Of every host's end: each pair is a link of its own."""
_PERMANENT = 0x80  # NUD_PERMANENT
_SCOPE_LINK, _SCOPE_HOST = 253, 254  # RT_SCOPE_LINK, RT_SCOPE_HOST
_libc = ctypes.CDLL(None, use_errno=True)


def host_end(uid: str) -> str:
    """The name of the host's end of a pod's veth pair (at most 15 characters)."""
    return LINKS + hashlib.sha1(uid.encode(), usedforsecurity=False).hexdigest()[:10]


def hardware_address(address: str) -> str:
    """A locally administered MAC that follows from an IPv4 address: neighbours' caches never hold a wrong one."""
    return "0a:58:" + ":".join(f"{octet:02x}" for octet in ipaddress.IPv4Address(address).packed)


def ensure_gateway(name: str, gateway: str) -> None:
    """Make the device that holds the node's own address of its slice, and let the kernel forward.

    Raises:
        OSError, NetlinkError: The kernel refused.
    """
    with IPRoute() as ip:
        index = link_index(ip, name)
        if index is None:
            with tolerating(errno.EEXIST):
                ip.link("add", ifname=name, kind="bridge")  # without ports: every kernel that runs Docker has it
            index = link_index(ip, name)
        with tolerating(errno.EEXIST):
            ip.addr("add", index=index, address=gateway, prefixlen=32)
        for address in ip.get_addr(index=index, family=AF_INET):
            if address["scope"] != _SCOPE_HOST and address.get_attr("IFA_ADDRESS") != gateway:  # of an earlier slice
                ip.addr("del", index=index, address=address.get_attr("IFA_ADDRESS"), prefixlen=address["prefixlen"])
        ip.link("set", index=index, state="up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def answer_for(name: str, addresses: Collection[str]) -> set[str]:
    """Make the node answer for exactly these addresses besides its own; they are held by this device. Returns those
    that are new.

    Raises:
        OSError, NetlinkError: The kernel refused, or there is no such device.
    """
    with IPRoute() as ip:
        index = link_index(ip, name)
        if index is None:
            if addresses:
                raise OSError(errno.ENODEV, f"there is no device {name}")
            return set()
        held = {a.get_attr("IFA_LOCAL") for a in ip.get_addr(index=index, family=AF_INET) if a["scope"] == _SCOPE_HOST}
        for address in held - set(addresses):
            with tolerating(errno.EADDRNOTAVAIL):
                ip.addr("del", index=index, address=address, prefixlen=32)
        for address in set(addresses) - held:
            with tolerating(errno.EEXIST):
                ip.addr("add", index=index, address=address, prefixlen=32, scope=_SCOPE_HOST)
        return set(addresses) - held


def wire(*, uid: str, netns: str, address: str, gateway: str) -> None:
    """Join a sandbox to the host with this address.

    Raises:
        OSError, NetlinkError: The kernel refused, or the sandbox has gone.
    """
    name, mac = host_end(uid), hardware_address(address)
    with IPRoute() as ip:
        _pair(ip, name, netns, mac, uplink_mtu(ip))
        index = link_index(ip, name)
        _guard(name)
        ip.link("set", index=index, state="up")
        ip.neigh("replace", dst=address, lladdr=mac, ifindex=index, state=_PERMANENT)
    with _inside(netns), IPRoute() as ip:
        _configure(ip, address, gateway)
    with IPRoute() as ip:  # last: nothing is sent to a pod that could not answer
        ip.route("replace", dst=f"{address}/32", oif=index, prefsrc=gateway, scope=_SCOPE_LINK)


def _guard(name: str) -> None:
    """What the host believes and lets through on a pod's link."""
    settings = Path("/proc/sys/net/ipv4/conf") / name
    (settings / "rp_filter").write_text("1")
    # Lets a host port be reached at 127.0.0.1: such packets go to the pod with a loopback source until masqueraded.
    (settings / "route_localnet").write_text("1")
    (settings / "send_redirects").write_text("0")
    without_ipv6 = Path("/proc/sys/net/ipv6/conf") / name / "disable_ipv6"
    if without_ipv6.exists():
        without_ipv6.write_text("1")


def unwire(uid: str) -> None:
    """Remove a pod's veth pair, if it is there (its sandbox's end takes it along when that goes first)."""
    with IPRoute() as ip:
        index = link_index(ip, host_end(uid))
        if index is not None:
            with tolerating(errno.ENODEV):
                ip.link("del", index=index)


def host_ends() -> set[str]:
    """The host's ends of all pods' pairs."""
    with IPRoute() as ip:
        names = (link.get_attr("IFLA_IFNAME") for link in ip.get_links(kind="veth"))
        return {name for name in names if name.startswith(LINKS) and len(name) == len(LINKS) + 10}


def has_host_end(uid: str) -> bool:
    """Whether a pod's veth pair is there; without one its sandbox has no address."""
    return Path("/sys/class/net", host_end(uid)).exists()


def remove_ends(names: set[str]) -> None:
    """Remove pairs by the name of the host's end."""
    with IPRoute() as ip:
        for name in names:
            index = link_index(ip, name)
            if index is not None:
                with tolerating(errno.ENODEV):
                    ip.link("del", index=index)


def address_inside(netns: str) -> str:
    """The address that a sandbox has on `eth0`; empty when it has none, or is gone."""
    try:
        with _inside(netns), IPRoute() as ip:
            index = link_index(ip, _INSIDE)
            if index is None:
                return ""
            found = [a.get_attr("IFA_ADDRESS") for a in ip.get_addr(index=index, family=AF_INET)]
            return str(found[0]) if found else ""
    except FileNotFoundError:
        return ""


def _pair(ip: IPRoute, name: str, netns: str, mac: str, mtu: int) -> None:
    """Make the pair with its inner end born inside the sandbox; one that leads elsewhere is made anew."""
    if link_index(ip, name) is not None:
        if address_inside(netns):
            return
        ip.link("del", index=link_index(ip, name))
    handle = os.open(netns, os.O_RDONLY)
    try:
        peer = {"ifname": _INSIDE, "net_ns_fd": handle, "address": mac, "mtu": mtu}
        ip.link("add", ifname=name, kind="veth", mtu=mtu, address=_HOST_END_MAC, peer=peer)
    finally:
        os.close(handle)


def _configure(ip: IPRoute, address: str, gateway: str) -> None:
    index = link_index(ip, _INSIDE)
    ip.link("set", index=1, state="up")
    with tolerating(errno.EEXIST):
        ip.addr("add", index=index, address=address, prefixlen=32)
    ip.link("set", index=index, state="up")
    ip.neigh("replace", dst=gateway, lladdr=_HOST_END_MAC, ifindex=index, state=_PERMANENT)
    ip.route("replace", dst=f"{gateway}/32", oif=index, scope=_SCOPE_LINK)
    ip.route("replace", dst="0.0.0.0/0", gateway=gateway, oif=index)


def link_index(ip: IPRoute, name: str) -> int | None:
    """The index of a link; None when there is none of that name."""
    found = ip.link_lookup(ifname=name)
    return int(found[0]) if found else None


def own_addresses() -> set[str]:
    """The host's addresses."""
    with IPRoute() as ip:
        return {str(address.get_attr("IFA_LOCAL")) for address in ip.get_addr(family=AF_INET)}


def mtu_of(ip: IPRoute, index: int) -> int:
    """The MTU of a link."""
    (link,) = ip.get_links(index)
    return int(link.get_attr("IFLA_MTU"))


def uplink_mtu(ip: IPRoute) -> int:
    """The MTU of the link that the default route takes; 1500 without one.

    Links on the way to other nodes may take less: TCP is told so by the node's table (chain `fit`), all else by ICMP.
    """
    for route in ip.get_default_routes(family=AF_INET):
        index = route.get_attr("RTA_OIF")
        if index is not None:
            return mtu_of(ip, index)
    return 1500


@contextmanager
def _inside(netns: str) -> Iterator[None]:
    """Put the calling thread into another network namespace (setns(2)), and back."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        other = os.open(netns, os.O_RDONLY)
        try:
            _set_namespace(other)
        finally:
            os.close(other)
        try:
            yield
        finally:
            _set_namespace(own)
    finally:
        os.close(own)


def _set_namespace(handle: int) -> None:
    if _libc.setns(handle, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


@contextmanager
def tolerating(code: int) -> Iterator[None]:
    """Let one errno of the kernel pass: somebody was there before."""
    try:
        yield
    except NetlinkError as error:
        if error.code != code:
            raise
