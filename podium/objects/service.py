"""What Services mean: which have addresses, which ports of which pods answer, and how slices are tied to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from podium.objects.pod import is_sidecar
from podium.v1.core_pb2 import ContainerPort, PodSpec
from podium.v1.networking_pb2 import Endpoint, ServicePort, ServiceSpec

CLUSTER_IP, NODE_PORT, LOAD_BALANCER, EXTERNAL_NAME = "ClusterIP", "NodePort", "LoadBalancer", "ExternalName"
HEADLESS = "None"
LOCAL, CLUSTER = "Local", "Cluster"
TCP, UDP = "TCP", "UDP"
CLIENT_IP_AFFINITY = "ClientIP"
AFFINITY_SECONDS = 10800
"""For how long a client with affinity is remembered, when its service does not say."""

SERVICE_LABEL = "kubernetes.io/service-name"
"""On an EndpointSlice: the name of its service."""
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


def wants_address(spec: ServiceSpec) -> bool:
    """Whether the service has an address of its own."""
    return spec.type != EXTERNAL_NAME and spec.cluster_ip != HEADLESS


def wants_node_ports(spec: ServiceSpec) -> bool:
    """Whether each of its ports has one on every node."""
    return spec.type in (NODE_PORT, LOAD_BALANCER)


def wants_health_port(spec: ServiceSpec) -> bool:
    """Whether every node is to tell, at a port of its own, how many of its endpoints it has."""
    return spec.type == LOAD_BALANCER and spec.external_traffic_policy == LOCAL


def node_sockets(spec: ServiceSpec) -> set[tuple[int, str]]:
    """The ports of every node that are the service's, and their protocols."""
    found = {(port.node_port, port.protocol or TCP) for port in spec.ports if port.node_port}
    return found | {(spec.health_check_node_port, TCP)} if spec.health_check_node_port else found


def is_headless(spec: ServiceSpec) -> bool:
    """Whether its name leads to its pods' own addresses."""
    return spec.cluster_ip == HEADLESS and spec.type != EXTERNAL_NAME


def cluster_addresses(spec: ServiceSpec) -> Sequence[str]:
    """Its own addresses; none of a headless one, and of one that is but a name."""
    if not spec.cluster_ip or not wants_address(spec):
        return ()
    return spec.cluster_ips or (spec.cluster_ip,)


def target_number(port: ServicePort, pod: PodSpec) -> int | None:
    """The port's number in a pod; None when the pod has no container port of the target's name."""
    target = port.target_port
    if target.WhichOneof("value") != "str_value":
        return target.int_value or port.port
    protocol = port.protocol or TCP
    for each in _ports(pod):
        if each.name == target.str_value and (each.protocol or TCP) == protocol:
            return each.container_port
    return None


def _ports(pod: PodSpec) -> Iterator[ContainerPort]:
    for container in pod.containers:
        yield from container.ports
    for container in pod.init_containers:
        if is_sidecar(container):
            yield from container.ports


def takes_connections(endpoint: Endpoint) -> bool:
    """Whether an endpoint takes new connections; one that does not say does."""
    return endpoint.conditions.ready or not endpoint.conditions.HasField("ready")
