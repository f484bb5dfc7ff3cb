"""Gratuitous ARP (RFC 5227): tells everybody on a link who has an address now, so that no cache leads to who had it.

Blocking, but for no longer than it takes to hand a few packets to the kernel.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from socket import AF_INET

from nodelet.network.netlink import IPRoute

_ETHERTYPE = 0x0806
_EVERYBODY = b"\xff" * 6
_REQUEST, _REPLY = 1, 2


def frames(address: str, mac: bytes) -> Iterator[bytes]:
    """The packets by which a host says that it has an address: as a request and as an answer, for some only believe
    one of them."""
    own = socket.inet_aton(address)
    for operation, target in ((_REQUEST, bytes(6)), (_REPLY, _EVERYBODY)):
        head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
        yield _EVERYBODY + mac + struct.pack("!H", _ETHERTYPE) + head + mac + own + target + own


def shout(own_address: str, addresses: Iterable[str]) -> None:
    """Say on the link of the host's own address that the host has these, too.

    Raises:
        OSError: The kernel refused, or no link has the host's own address.
    """
    name, mac = _link_of(own_address)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((name, 0))
        for address in addresses:
            for frame in frames(address, mac):
                raw.send(frame)


def _link_of(own_address: str) -> tuple[str, bytes]:
    """The link that has an address: its name, and its hardware address."""
    with IPRoute() as ip:
        for held in ip.get_addr(family=AF_INET):
            if held.get_attr("IFA_LOCAL") == own_address:
                (link,) = ip.get_links(held["index"])
                mac = bytes.fromhex((link.get_attr("IFLA_ADDRESS") or "").replace(":", ""))
                return str(link.get_attr("IFLA_IFNAME")), mac
    raise OSError(f"no link has the node's own address {own_address}")
