"""Where services of type LoadBalancer are reached: at the nodes' own addresses, at the service's own ports. Pure.
Those that are reached at addresses of pools are `master.controllers.pool_plan`'s.

A port of the nodes' addresses is one service's: the oldest's that asks for it. A service gets all of its ports, or no
address and is told why. Ports that the hosts themselves answer are nobody's.

    node is Ready, has an InternalIP, is not labelled out     every address is the service's
    externalTrafficPolicy: Local                              those whose node has an endpoint that is ready
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from podium.objects.address_pool import is_ours
from podium.objects.conditions import is_true
from podium.objects.kinds import Key, key_of
from podium.objects.meta import is_terminating
from podium.objects.service import LOCAL, TCP, UDP, node_sockets, wants_node_ports
from podium.v1.core_pb2 import Node
from podium.v1.networking_pb2 import EndpointSlice, Service

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
"""A node with this label is not asked."""

Socket = tuple[int, str]
"""Port and protocol."""


@dataclass(frozen=True, slots=True)
class Balance:
    """Where a service is reached; without addresses `refusal` may say why, and `reason` in one word. An address of a
    pool has a node that answers for it."""

    addresses: tuple[str, ...] = ()
    refusal: str = ""
    reason: str = "LoadBalancerPortTaken"
    announcer: str = ""


def plan_balancers(
    services: Iterable[Service], nodes: Mapping[str, str], reserved: Collection[Socket],
    answering: Mapping[Key, Collection[str]], pooled: Collection[Key] = (),
) -> dict[Key, Balance]:  # fmt: skip
    """Decide for each service of type LoadBalancer that no pool has an address for.

    Args:
        services: All that are of the type, and all that have node ports.
        nodes: Addresses by node, of `reachable`.
        reserved: What the hosts themselves answer.
        answering: Nodes with an endpoint, of the services that keep to those.
        pooled: Those that are reached at addresses of pools; their node ports are theirs all the same.
    """
    holders: dict[Socket, Key] = {}
    plan: dict[Key, Balance] = {}
    for service in sorted(services, key=_age):
        key = key_of(service)
        here = is_balanced(service) and key not in pooled
        wanted = list(_sockets(service)) if here else []
        refusal = _refusal(wanted, reserved, holders)
        if here:
            held = [a for node, a in nodes.items() if node in answering.get(key, nodes)]
            plan[key] = Balance(refusal=refusal) if refusal else Balance(tuple(sorted(held)))
        if not refusal:
            for socket in wanted:
                holders.setdefault(socket, key)
        if wants_node_ports(service.spec):
            for socket in sorted(node_sockets(service.spec)):
                holders.setdefault(socket, key)
    return plan


def is_balanced(service: Service) -> bool:
    """Whether Podium is to say where a service is reached from outside."""
    return is_ours(service.spec) and not is_terminating(service)


def keeps_local(service: Service) -> bool:
    """Whether only nodes with an endpoint are to be asked for a service."""
    return service.spec.external_traffic_policy == LOCAL


def reachable(node: Node) -> str:
    """The address at which a node is to be asked for services; empty when it is not."""
    if not is_true(node.status.conditions, "Ready") or is_terminating(node) or EXCLUDED in node.metadata.labels:
        return ""
    return next((a.address for a in node.status.addresses if a.type == "InternalIP"), "")


def nodes_of(slices: Iterable[EndpointSlice]) -> set[str]:
    """The nodes with an endpoint that takes new connections."""
    return {
        endpoint.node_name
        for each in slices
        for endpoint in each.endpoints
        if endpoint.conditions.ready or not endpoint.conditions.HasField("ready")
    }


def sockets_of_hosts(tcp: Iterable[int], udp: Iterable[int]) -> frozenset[Socket]:
    """What hosts answer themselves."""
    return frozenset({*((port, TCP) for port in tcp), *((port, UDP) for port in udp)})


def _age(service: Service) -> tuple[int, int, str, str]:
    created, metadata = service.metadata.creation_timestamp, service.metadata
    return created.seconds, created.nanos, metadata.namespace, metadata.name


def _sockets(service: Service) -> Iterator[Socket]:
    for port in service.spec.ports:
        yield port.port, port.protocol or TCP


def _refusal(wanted: Sequence[Socket], reserved: Collection[Socket], holders: Mapping[Socket, Key]) -> str:
    for port, protocol in wanted:
        if (port, protocol) in reserved:
            return f"port {port}/{protocol} is answered by the nodes themselves; choose another one"
        if holder := holders.get((port, protocol)):
            return f"port {port}/{protocol} of the nodes leads to service {holder.namespace}/{holder.name}"
    return ""
