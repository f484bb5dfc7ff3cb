"""What AddressPools mean: which addresses they have, and which services want one. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import NamedTuple

from podium.objects.service import LOAD_BALANCER
from podium.v1.networking_pb2 import AddressPool, Service, ServiceSpec

NODES_CLASS = "podium.dev/nodes"
"""Class of services that are reached at the nodes' own addresses."""
POOL_CLASS = "podium.dev/address-pool"
"""Class of services that are reached at an address of a pool."""
POOL = "podium.dev/address-pool"
"""Annotation of a service: the pool that its address is to be of."""


class Range(NamedTuple):
    """Addresses from `first` to `last`, both included, as numbers."""

    first: int
    last: int

    def __len__(self) -> int:
        """How many there are."""
        return self.last - self.first + 1


def parse_range(text: str) -> Range:
    """`192.0.2.7`, `192.0.2.16-192.0.2.31` or `192.0.2.16/28`.

    Raises:
        ValueError: It is none of them; says what it must be.
    """
    try:
        if "/" in text:
            network = ipaddress.IPv4Network(text)
            return Range(int(network.network_address), int(network.broadcast_address))
        first, _, last = text.partition("-")
        found = Range(int(ipaddress.IPv4Address(first.strip())), int(ipaddress.IPv4Address((last or first).strip())))
    except ValueError:
        raise ValueError("must be like 192.0.2.7, 192.0.2.16-192.0.2.31 or 192.0.2.16/28") from None
    if found.first > found.last:
        raise ValueError("must begin with its lower address")
    return found


def ranges_of(pool: AddressPool) -> list[Range]:
    """The ranges of a pool; what is none is left out."""
    return list(_ranges(pool))


def _ranges(pool: AddressPool) -> Iterator[Range]:
    for text in pool.spec.addresses:
        try:
            yield parse_range(text)
        except ValueError:
            continue


def gives_unasked(pool: AddressPool) -> bool:
    """Whether services that do not ask for it get an address of the pool."""
    return pool.spec.auto_assign or not pool.spec.HasField("auto_assign")


def is_ours(spec: ServiceSpec) -> bool:
    """Whether it is Podium that says where a balanced service is reached."""
    return spec.type == LOAD_BALANCER and spec.load_balancer_class in ("", NODES_CLASS, POOL_CLASS)


def asks_for_pool(service: Service) -> bool:
    """Whether a service wants an address of a pool and nothing else."""
    spec = service.spec
    asked = spec.load_balancer_class == POOL_CLASS or spec.load_balancer_ip or POOL in service.metadata.annotations
    return is_ours(spec) and spec.load_balancer_class != NODES_CLASS and bool(asked)
