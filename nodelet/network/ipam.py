"""Which pod holds which address of the node's slice: a pure table.

Addresses are handed out next-fit: the search goes on after the address given last, so that one which was just freed
rests as long as the slice allows (connection tracking and neighbours' caches still know its old owner).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass, field


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
