"""Netlink: the bridge, and a veth pair into each sandbox. Blocking; the caller runs it in a thread.

        sandbox's network namespace                         host
      ┌────────────────────────────┐
      │ eth0  10.64.3.7/24         │─── veth ─── pod3f9c21a04b ─┐
      │ default via 10.64.3.1      │                            ├─ podium0  10.64.3.1/24
      └────────────────────────────┘            pod… ───────────┘

Every call is safe to repeat: what is there already is left as it is. Names and hardware addresses follow from the pod,
so nothing needs to be remembered.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

_CLONE_NEWNET = 0x40000000
_PREFIX = "pod"
_INSIDE = "eth0"
_libc = ctypes.CDLL(None, use_errno=True)


def host_end(uid: str) -> str:
    """The name of the host's end of a pod's veth pair (at most 15 characters)."""
    return _PREFIX + hashlib.sha1(uid.encode(), usedforsecurity=False).hexdigest()[:10]


def hardware_address(address: str) -> str:
    """A locally administered MAC that follows from an IPv4 address: neighbours' caches never hold a wrong one."""
    return "0a:58:" + ":".join(f"{octet:02x}" for octet in ipaddress.IPv4Address(address).packed)


def ensure_bridge(name: str, gateway: str, prefix: int) -> None:
    """Make the bridge, give it the gateway's address, let the kernel forward.

    Raises:
        OSError, NetlinkError: The kernel refused.
    """
    with IPRoute() as ip:
        index = _index(ip, name)
        if index is None:
            with _tolerating(errno.EEXIST):
                ip.link("add", ifname=name, kind="bridge", address=hardware_address(gateway))
            index = _index(ip, name)
        with _tolerating(errno.EEXIST):
            ip.addr("add", index=index, address=gateway, prefixlen=prefix)
        ip.link("set", index=index, mtu=_uplink_mtu(ip), state="up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    # Lets a host port be reached at 127.0.0.1: such packets leave through the bridge with a loopback source.
    Path(f"/proc/sys/net/ipv4/conf/{name}/route_localnet").write_text("1")


def wire(*, uid: str, netns: str, bridge: str, address: str, prefix: int, gateway: str) -> None:
    """Join a sandbox to the bridge with this address.

    Raises:
        OSError, NetlinkError: The kernel refused, or the sandbox has gone.
    """
    name = host_end(uid)
    with IPRoute() as ip:
        index = _index(ip, bridge)
        if index is None:
            raise OSError(errno.ENODEV, f"the bridge {bridge} does not exist")
        _pair(ip, name, netns, hardware_address(address), _mtu_of(ip, index))
        port = _index(ip, name)
        ip.link("set", index=port, master=index, state="up")
        # A pod that calls its own host port is answered through the port it came from, where br_netfilter is on.
        ip.brport("set", index=port, mode=1)
    with _inside(netns), IPRoute() as ip:
        _configure(ip, address, prefix, gateway)


def unwire(uid: str) -> None:
    """Remove a pod's veth pair, if it is there (its sandbox's end takes it along when that goes first)."""
    with IPRoute() as ip:
        index = _index(ip, host_end(uid))
        if index is not None:
            with _tolerating(errno.ENODEV):
                ip.link("del", index=index)


def host_ends() -> set[str]:
    """The host's ends of all pods' pairs."""
    with IPRoute() as ip:
        names = (link.get_attr("IFLA_IFNAME") for link in ip.get_links(kind="veth"))
        return {name for name in names if name.startswith(_PREFIX) and len(name) == len(_PREFIX) + 10}


def has_host_end(uid: str) -> bool:
    """Whether a pod's veth pair is there; without one its sandbox has no address."""
    return Path("/sys/class/net", host_end(uid)).exists()


def remove_ends(names: set[str]) -> None:
    """Remove pairs by the name of the host's end."""
    with IPRoute() as ip:
        for name in names:
            index = _index(ip, name)
            if index is not None:
                with _tolerating(errno.ENODEV):
                    ip.link("del", index=index)


def address_inside(netns: str) -> str:
    """The address that a sandbox has on `eth0`; empty when it has none, or is gone."""
    try:
        with _inside(netns), IPRoute() as ip:
            index = _index(ip, _INSIDE)
            if index is None:
                return ""
            found = [a.get_attr("IFA_ADDRESS") for a in ip.get_addr(index=index, family=2)]
            return str(found[0]) if found else ""
    except FileNotFoundError:
        return ""


def _pair(ip: IPRoute, name: str, netns: str, mac: str, mtu: int) -> None:
    """Make the pair with its inner end born inside the sandbox; one that leads elsewhere is made anew."""
    if _index(ip, name) is not None:
        if address_inside(netns):
            return
        ip.link("del", index=_index(ip, name))
    handle = os.open(netns, os.O_RDONLY)
    try:
        peer = {"ifname": _INSIDE, "net_ns_fd": handle, "address": mac, "mtu": mtu}
        ip.link("add", ifname=name, kind="veth", mtu=mtu, peer=peer)
    finally:
        os.close(handle)


def _configure(ip: IPRoute, address: str, prefix: int, gateway: str) -> None:
    index = _index(ip, _INSIDE)
    ip.link("set", index=1, state="up")
    with _tolerating(errno.EEXIST):
        ip.addr("add", index=index, address=address, prefixlen=prefix)
    ip.link("set", index=index, state="up")
    with _tolerating(errno.EEXIST):
        ip.route("add", dst="default", gateway=gateway)


def _index(ip: IPRoute, name: str) -> int | None:
    found = ip.link_lookup(ifname=name)
    return int(found[0]) if found else None


def _mtu_of(ip: IPRoute, index: int) -> int:
    (link,) = ip.get_links(index)
    return int(link.get_attr("IFLA_MTU"))


def _uplink_mtu(ip: IPRoute) -> int:
    """The MTU of the link that the default route takes; 1500 without one."""
    for route in ip.get_default_routes(family=2):
        index = route.get_attr("RTA_OIF")
        if index is not None:
            return _mtu_of(ip, index)
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
def _tolerating(code: int) -> Iterator[None]:
    """Let one errno pass: somebody was there before."""
    try:
        yield
    except NetlinkError as error:
        if error.code != code:
            raise
