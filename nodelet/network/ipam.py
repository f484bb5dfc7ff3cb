"""Which pod holds which address of the node's slice: a pure table, and the file that keeps it over restarts.

Addresses are handed out next-fit: the search goes on after the address given last, so that one which was just freed rests
as long as the slice allows (connection tracking and neighbours' caches still know its old owner).
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from podium.files import write_atomic

_VERSION = 1


class Exhausted(Exception):
    """Every address of the slice is taken."""


@dataclass(slots=True)
class Leases:
    """Addresses by pod uid.

    Attributes:
        cidr: The slice, such as `10.64.3.0/24`. Its first host address is the gateway's and never a pod's.
        held: Address by pod uid.
        last: The address handed out last.
    """

    cidr: str
    held: dict[str, str] = field(default_factory=dict)
    last: str = ""

    def lease(self, uid: str) -> str:
        """The pod's address: the one that it holds, or a new one.

        Raises:
            Exhausted: None is free.
        """
        if uid in self.held:
            return self.held[uid]
        network = ipaddress.ip_network(self.cidr)
        first, size = int(network.network_address), network.num_addresses
        taken = set(self.held.values())
        start = int(ipaddress.ip_address(self.last)) - first if self.last else 1
        usable = size - 3  # neither the network, nor the gateway, nor the broadcast address
        for step in range(usable):
            offset = 2 + (start - 1 + step) % usable
            address = str(ipaddress.ip_address(first + offset))
            if address not in taken:
                self.held[uid] = self.last = address
                return address
        raise Exhausted(f"all {usable} addresses of {self.cidr} are taken")

    def release(self, uid: str) -> bool:
        """Free what the pod holds; whether it held anything."""
        return self.held.pop(uid, None) is not None

    def retain(self, uids: Collection[str]) -> list[str]:
        """Free what other pods hold; returns their uids."""
        gone = [uid for uid in self.held if uid not in uids]
        for uid in gone:
            del self.held[uid]
        return gone


def gateway_of(cidr: str) -> str:
    """The first host address of a slice: the bridge's."""
    return str(ipaddress.ip_network(cidr).network_address + 1)


def load(path: Path) -> Leases | None:
    """The table as it was saved; None when there is none, or one that cannot be read.

    What is lost here is found again: a pod that is adopted brings its address with it.
    """
    try:
        data = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(data, Mapping) or data.get("version") != _VERSION:
        return None
    return Leases(cidr=data["cidr"], held=dict(data["held"]), last=data["last"])


def save(path: Path, leases: Leases) -> None:
    """Write the table, wholly or not at all. Blocks for an fsync."""
    data = {"version": _VERSION, "cidr": leases.cidr, "held": leases.held, "last": leases.last}
    write_atomic(path, json.dumps(data).encode())
