"""What the node's table says of one service: its addresses and ports lead to endpoints. Pure.

Endpoints of a TCP port have numbers 0 … N−1 in the map `tcp_endpoints`; the chain `tcp_nN` draws one for a new
connection, `tcp_aN` chooses by the client's address (session affinity: the same as long as the endpoints are the same).
What is UDP's is named `udp_…`. Node ports have maps and chains of their own, for they are looked up by their number
alone. Connections that exist are the business of connection tracking: an endpoint that ends gets no new ones and keeps
what it has.

Who is an endpoint (KEP-1669, KEP-2086): those that are ready; when none is, those that still serve while they end. A
`Local` policy and `PreferSameNode` look at this node's first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nodelet.network.flows import Leads, Socket
from nodelet.network.table import NOTHING, Entry, Part
from podium.objects.service import LOCAL, cluster_addresses, takes_connections
from podium.v1.networking_pb2 import Endpoint, EndpointSlice, ServicePort, ServiceSpec
from podium.v1.node_session_pb2 import ServiceRoute

CLIENT_IP = "ClientIP"
SAME_NODE = "PreferSameNode"


class Target(NamedTuple):
    """An address and port that answers, and the node that it is on."""

    address: str
    port: int
    node: str


def service_part(route: ServiceRoute, node: str) -> Part:
    """Everything that this node's table says of a service."""
    spec = route.spec
    entries: dict[Entry, str] = {}
    chains: dict[str, tuple[str, ...]] = {}
    for port in spec.ports:
        everywhere = targets(route.slices, port)
        within, outside = _within(everywhere, spec, node), _from_outside(everywhere, spec, node)
        for address in cluster_addresses(spec):
            _balance(entries, chains, spec, _Place(_protocol(port), port.port, address), within)
        for address in dict.fromkeys((*spec.external_ips, *route.load_balancer)):
            _balance(entries, chains, spec, _Place(_protocol(port), port.port, address), outside)
        if port.node_port:
            _balance(entries, chains, spec, _Place(_protocol(port), port.node_port), outside)
    return Part(entries=entries, chains=chains) if entries else NOTHING


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


def targets(slices: Sequence[EndpointSlice], port: ServicePort) -> list[Target]:
    """Who answers a port, in an order that does not depend on the slices'."""
    ready, ending = set[Target](), set[Target]()
    for endpoint, number in _numbered(slices, port):
        for address in endpoint.addresses:
            target = Target(address, number, endpoint.node_name)
            if takes_connections(endpoint):
                ready.add(target)
            elif is_serving(endpoint):
                ending.add(target)
    return sorted(ready or ending)


def answering(route: ServiceRoute, node: str) -> frozenset[str]:
    """The addresses on a node that answer a service, those included that are about to end."""
    return frozenset(
        address
        for each in route.slices
        for endpoint in each.endpoints
        if endpoint.node_name == node and is_serving(endpoint)
        for address in endpoint.addresses
    )


def is_serving(endpoint: Endpoint) -> bool:
    """Whether it answers, be it about to end; who does not say does as it is ready."""
    conditions = endpoint.conditions
    return conditions.serving if conditions.HasField("serving") else takes_connections(endpoint)


def _numbered(slices: Sequence[EndpointSlice], port: ServicePort) -> Iterator[tuple[Endpoint, int]]:
    for each in slices:
        for found in each.ports:
            if found.name == port.name and (found.protocol or "TCP") == (port.protocol or "TCP") and found.port:
                for endpoint in each.endpoints:
                    yield endpoint, found.port


def _within(found: list[Target], spec: ServiceSpec, node: str) -> list[Target]:
    """For who asks at the service's own address, from this node."""
    here = [target for target in found if target.node == node]
    if spec.internal_traffic_policy == LOCAL:
        return here
    return here or found if spec.traffic_distribution == SAME_NODE else found


def _from_outside(found: list[Target], spec: ServiceSpec, node: str) -> list[Target]:
    """For who asks this node from outside the cluster."""
    if spec.external_traffic_policy == LOCAL:
        return [target for target in found if target.node == node]
    return found


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
    def numbered(self) -> str:
        """What precedes the number in the key of an endpoint."""
        return f"{self._at}{self.port}"

    @property
    def _at(self) -> str:
        return f"{self.address} . " if self.address else ""


def _balance(
    entries: dict[Entry, str], chains: dict[str, tuple[str, ...]], spec: ServiceSpec, place: _Place,
    found: Sequence[Target],
) -> None:  # fmt: skip
    if not found:
        return
    endpoints = f"{place.protocol}_{'' if place.address else 'node_'}endpoints"
    chain, rule = _chooser(place, len(found), sticky=spec.session_affinity == CLIENT_IP, endpoints=endpoints)
    chains[chain] = (rule,)
    entries["services" if place.address else "node_ports", place.socket] = f"goto {chain}"
    for number, target in enumerate(found):
        entries[endpoints, f"{place.numbered} . {number}"] = f"{target.address} . {target.port}"


def _chooser(place: _Place, count: int, *, sticky: bool, endpoints: str) -> tuple[str, str]:
    """The chain that sends a connection to one of `count` endpoints, and its only rule."""
    draw = "jhash ip saddr" if sticky else "numgen random"
    name = f"{place.protocol}_{'' if place.address else 'node_'}{'a' if sticky else 'n'}{count}"
    where = f"{'ip daddr . ' if place.address else ''}{place.protocol} dport"
    return name, f"dnat ip to {where} . {draw} mod {count} map @{endpoints}"


def _protocol(port: ServicePort) -> str:
    return (port.protocol or "TCP").lower()
