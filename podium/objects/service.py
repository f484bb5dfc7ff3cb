"""What Services mean: which have addresses, which ports of which pods answer, and how slices are tied to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from podium.objects.pod import is_sidecar
from podium.v1.core_pb2 import ContainerPort, PodSpec
from podium.v1.networking_pb2 import Endpoint, ServicePort, ServiceSpec

CLUSTER_IP, NODE_PORT, LOAD_BALANCER, EXTERNAL_NAME = "ClusterIP", "NodePort", "LoadBalancer", "ExternalName"
HEADLESS = "None"
LOCAL, CLUSTER = "Local", "Cluster"
SAME_NODE = "PreferSameNode"
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


def is_serving(endpoint: Endpoint) -> bool:
    """Whether it answers, be it about to end; who does not say does as it is ready."""
    conditions = endpoint.conditions
    return conditions.serving if conditions.HasField("serving") else takes_connections(endpoint)


def led_to(spec: ServiceSpec, endpoints: Iterable[Endpoint], node: str) -> list[Endpoint]:
    """Whom a service leads a pod on `node` to (KEP-1669, KEP-2086).

    Those that are ready, or else those that still serve while they end; with `internalTrafficPolicy: Local` of that
    node's alone, with `PreferSameNode` of that node's first. A headless service's name leads to those that are ready.
    """
    known = list(endpoints)
    if is_headless(spec):
        return [endpoint for endpoint in known if takes_connections(endpoint)]
    if spec.internal_traffic_policy == LOCAL:
        known = [endpoint for endpoint in known if endpoint.node_name == node]
    found = [e for e in known if takes_connections(e)] or [e for e in known if is_serving(e)]
    here = [e for e in found if e.node_name == node] if spec.traffic_distribution == SAME_NODE else []
    return here or found
