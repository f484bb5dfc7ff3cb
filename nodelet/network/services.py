"""What the node's table says of one service: its addresses and ports lead to endpoints. Pure.

Endpoints of a TCP port have numbers 0 … N−1 in the map `tcp_endpoints`; the chain `tcp_nN` draws one for a new
connection, `tcp_aN` leads a client to where it was before, or else chooses by its address (`nodelet.network.affinity`).
Where they do not all get the same (`nodelet.network.shares`), `tcp_w…` draws from ranges of its own.
What is UDP's is named `udp_…`. Node ports have maps and chains of their own, for they are looked up by their number
alone. Connections that exist are the business of connection tracking: an endpoint that ends gets no new ones and keeps
what it has.

Who is an endpoint (KEP-1669, KEP-2086): those that are ready; when none is, those that still serve while they end. With
a `Local` policy only this node's count, so that one that ends here is asked though others are ready elsewhere: a
balancer goes on sending for a while. `PreferSameNode` looks at this node's first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nodelet.network.affinity import remembered, remembering
from nodelet.network.flows import Leads, Socket
from nodelet.network.shares import WHOLE, Draw, Side, draw
from nodelet.network.table import NOTHING, Entry, Part
from podium.objects.service import (
    CLIENT_IP_AFFINITY,
    LOCAL,
    SAME_NODE,
    cluster_addresses,
    is_serving,
    takes_connections,
)
from podium.v1.networking_pb2 import Endpoint, EndpointSlice, ServicePort, ServiceSpec
from podium.v1.node_session_pb2 import ServiceRoute


class Target(NamedTuple):
    """An address and port that answers, the node that it is on, and the revision when that matters."""

    address: str
    port: int
    node: str
    side: Side = WHOLE


def service_part(route: ServiceRoute, node: str) -> Part:
    """Everything that this node's table says of a service."""
    entries: dict[Entry, str] = {}
    chains: dict[str, tuple[str, ...]] = {}
    for place, found in _places(route, node):
        _balance(entries, chains, route.spec, place, found)
    return Part(entries=entries, chains=chains) if entries else NOTHING


def sticky_leads(route: ServiceRoute, node: str) -> Leads:
    """Where clients may be led that a service with session affinity remembers."""
    if route.spec.session_affinity != CLIENT_IP_AFFINITY:
        return {}
    return {
        Socket(place.address, place.protocol, place.port): frozenset((target.address, target.port) for target in found)
        for place, found in _places(route, node)
    }


def service_leads(route: ServiceRoute) -> Leads:
    """Where flows to a service may lead: to all that answer it, those included that are about to end."""
    leads: dict[Socket, frozenset[tuple[str, int]]] = {}
    for port in route.spec.ports:
        found = frozenset(
            (address, number)
            for endpoint, number in _numbered(route.slices, port)
            if is_serving(endpoint)
            for address in endpoint.addresses
        )
        for address in (*cluster_addresses(route.spec), *route.spec.external_ips, *route.load_balancer):
            leads[Socket(address, _protocol(port), port.port)] = found
        if port.node_port:
            leads[Socket("", _protocol(port), port.node_port)] = found
    return leads


def targets(slices: Sequence[EndpointSlice], port: ServicePort, on: str = "") -> list[Target]:
    """Who answers a port, in an order that does not depend on the slices'; `on` a node, when one is named."""
    ready, ending = set[Target](), set[Target]()
    for endpoint, number in _numbered(slices, port):
        if on and endpoint.node_name != on:
            continue
        for address in endpoint.addresses:
            target = Target(address, number, endpoint.node_name, _side(endpoint))
            if takes_connections(endpoint):
                ready.add(target)
            elif is_serving(endpoint):
                ending.add(target)
    return sorted(ready or ending)


def _side(endpoint: Endpoint) -> Side:
    if not endpoint.HasField("split"):
        return WHOLE
    return Side(endpoint.split.deployment, endpoint.split.canary, endpoint.split.weight)


def _numbered(slices: Sequence[EndpointSlice], port: ServicePort) -> Iterator[tuple[Endpoint, int]]:
    for each in slices:
        for found in each.ports:
            if found.name == port.name and (found.protocol or "TCP") == (port.protocol or "TCP") and found.port:
                for endpoint in each.endpoints:
                    yield endpoint, found.port


def _within(route: ServiceRoute, port: ServicePort, node: str) -> list[Target]:
    """For who asks at the service's own address, from this node."""
    if route.spec.internal_traffic_policy == LOCAL:
        return targets(route.slices, port, on=node)
    found = targets(route.slices, port)
    here = [t for t in found if t.node == node] if route.spec.traffic_distribution == SAME_NODE else []
    return here or found


def _from_outside(route: ServiceRoute, port: ServicePort, node: str) -> list[Target]:
    """For who asks this node from outside the cluster."""
    return targets(route.slices, port, on=node if route.spec.external_traffic_policy == LOCAL else "")


class _Place(NamedTuple):
    """Where a service is asked: at an address of its own, or (address empty) at every address of the node."""

    protocol: str
    port: int
    address: str = ""

    @property
    def socket(self) -> str:
        """The key under which the place leads to a chain."""
        return f"{self._at}{self.protocol} . {self.port}"

    @property
    def asked(self) -> str:
        """The key of the place in a map of its protocol; in that of an endpoint, its number follows."""
        return f"{self._at}{self.port}"

    @property
    def _at(self) -> str:
        return f"{self.address} . " if self.address else ""


def _places(route: ServiceRoute, node: str) -> Iterator[tuple[_Place, list[Target]]]:
    """Where a service is asked, and who takes connections there."""
    spec = route.spec
    for port in spec.ports:
        protocol = _protocol(port)
        within = _within(route, port, node)
        for address in cluster_addresses(spec):
            yield _Place(protocol, port.port, address), within
        public = [_Place(protocol, port.port, a) for a in dict.fromkeys((*spec.external_ips, *route.load_balancer))]
        if port.node_port:
            public.append(_Place(protocol, port.node_port))
        outside = _from_outside(route, port, node) if public else []
        for place in public:
            yield place, outside


def _balance(
    entries: dict[Entry, str], chains: dict[str, tuple[str, ...]], spec: ServiceSpec, place: _Place,
    found: Sequence[Target],
) -> None:  # fmt: skip
    if not found:
        return
    scope, sticky = "" if place.address else "node_", spec.session_affinity == CLIENT_IP_AFFINITY
    by, shares = _BY_CLIENT if sticky else _AT_RANDOM, draw([target.side for target in found])
    before = (remembered(place.protocol),) if sticky else ()
    if shares is not None:
        rules = (*before, _draw_by_share(place.protocol, by, shares, found))
        chain = f"{place.protocol}_w{hashlib.sha1(repr(rules).encode(), usedforsecurity=False).hexdigest()[:12]}"
    else:
        endpoints = f"{place.protocol}_{scope}endpoints"
        rules = (*before, _draw(place, by, len(found), endpoints))
        chain = f"{place.protocol}_{scope}{'a' if sticky else 'n'}{len(found)}"
        for number, target in enumerate(found):
            entries[endpoints, f"{place.asked} . {number}"] = f"{target.address} . {target.port}"
    chains[chain] = rules
    entries["services" if place.address else "node_ports", place.socket] = f"goto {chain}"
    if sticky:
        learner, rule = remembering(place.protocol, spec.session_affinity_config.client_ip.timeout_seconds)
        chains[learner] = (rule,)
        entries[f"{place.protocol}_{scope}learners", place.asked] = f"jump {learner}"


_AT_RANDOM, _BY_CLIENT = "numgen random mod {}", "jhash ip saddr mod {} seed 0x706f6469"
"""With a seed of its own (which is what nft takes when it is told none), each rule would choose otherwise."""


def _draw_by_share(protocol: str, by: str, shares: Draw, found: Sequence[Target]) -> str:
    """The rule that sends a connection to one of those that share, wherever it was asked."""
    to = (f"{first}-{last} : {found[n].address} . {found[n].port}" for n, first, last in shares.ranges)
    return f"meta l4proto {protocol} dnat ip to {by.format(shares.below)} map {{ {', '.join(to)} }}"


def _draw(place: _Place, by: str, count: int, endpoints: str) -> str:
    """The rule that sends a connection to one of `count` endpoints."""
    where = f"{'ip daddr . ' if place.address else ''}{place.protocol} dport"
    return f"dnat ip to {where} . {by.format(count)} map @{endpoints}"


def _protocol(port: ServicePort) -> str:
    return (port.protocol or "TCP").lower()
