"""Defaults of Service, EndpointSlice and NetworkPolicy."""

from __future__ import annotations

from podium.objects.service import (
    AFFINITY_SECONDS,
    CLIENT_IP_AFFINITY,
    CLUSTER,
    CLUSTER_IP,
    EXTERNAL_NAME,
    TCP,
    wants_node_ports,
)
from podium.v1.meta_pb2 import IntOrString
from podium.v1.networking_pb2 import AddressPool, EndpointSlice, NetworkPolicy, Service


def service(obj: Service) -> None:
    """As Kubernetes does; addresses and node ports are given when it is written."""
    spec = obj.spec
    spec.type = spec.type or CLUSTER_IP
    spec.session_affinity = spec.session_affinity or "None"
    if spec.session_affinity != CLIENT_IP_AFFINITY:
        spec.ClearField("session_affinity_config")
    elif not spec.session_affinity_config.client_ip.HasField("timeout_seconds"):
        spec.session_affinity_config.client_ip.timeout_seconds = AFFINITY_SECONDS
    if spec.type != EXTERNAL_NAME:
        spec.internal_traffic_policy = spec.internal_traffic_policy or CLUSTER
    if wants_node_ports(spec) or spec.external_ips:
        spec.external_traffic_policy = spec.external_traffic_policy or CLUSTER
    for port in spec.ports:
        port.protocol = port.protocol or TCP
        if not port.HasField("target_port"):
            port.target_port.CopyFrom(IntOrString(int_value=port.port))


def address_pool(obj: AddressPool) -> None:
    """Its addresses are given to who does not ask, too."""
    if not obj.spec.HasField("auto_assign"):
        obj.spec.auto_assign = True


def endpoint_slice(obj: EndpointSlice) -> None:
    """Ports are TCP."""
    for port in obj.ports:
        port.protocol = port.protocol or TCP


def network_policy(obj: NetworkPolicy) -> None:
    """A policy is about what comes in, and about what goes out when it has rules for that."""
    spec = obj.spec
    if not spec.policy_types:
        spec.policy_types.append("Ingress")
        if spec.egress:
            spec.policy_types.append("Egress")
    ports = [port for rule in spec.ingress for port in rule.ports]
    ports += [port for rule in spec.egress for port in rule.ports]
    for port in ports:
        port.protocol = port.protocol or TCP
