"""`podium explain network`: whether a pod reaches another, or those of a service, and by which rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from podium.cli.session import Session
from podium.cli.workloads import one_target
from podium.errors import BadRequest, NotFound
from podium.objects.kinds import BY_NAME
from podium.objects.selectors import from_labels
from podium.objects.service import EXTERNAL_NAME, LOCAL, SERVICE_LABEL, TCP, led_to
from podium.objects.traffic import Judgement, Socket, passage
from podium.v1.core_pb2 import Namespace, Pod
from podium.v1.networking_pb2 import EndpointSlice, NetworkPolicy, Service, ServicePort


async def explain_network(session: Session, source: str, target: str, asked: Socket | None, to_namespace: str) -> str:
    """One paragraph for each pod and port that is connected to.

    Args:
        session: Of the command.
        source: The pod that connects: its name.
        target: A pod's name, or KIND/NAME of a pod or service.
        asked: The port; when not given, the service's, or those that the pod's containers say they listen at.
        to_namespace: The target's, if another one.

    Raises:
        BadRequest: The target is no pod and no service.
        NotFound: One of them does not exist, or the service leads the pod to no other.
    """
    client, where = session.client, to_namespace or session.namespace
    origin = await client.get(Pod, one_target(source).names[0])
    pairs = await _targets(session, origin, target, where, asked)
    namespaces = {n.metadata.name: dict(n.metadata.labels) for n in await client.list(Namespace)}
    policies: list[NetworkPolicy] = []
    for namespace in dict.fromkeys((session.namespace, where)):
        policies += await client.list(NetworkPolicy, namespace=namespace)
    paragraphs = []
    for pod, socket in pairs:
        found = passage(origin, pod, socket, policies, namespaces)
        verdict = "passes" if found.allowed else "is refused"
        paragraphs.append(
            f"{_named(origin)} to {_named(pod)} at {_socket(socket)} {verdict}\n"
            f"  leaving:  {_said(found.leaving)}\n  arriving: {_said(found.arriving)}"
        )
    return "\n".join(paragraphs)


async def _targets(
    session: Session, origin: Pod, word: str, where: str, asked: Socket | None
) -> list[tuple[Pod, Socket]]:
    target = one_target(word)
    name = target.names[0]
    if target.kind is BY_NAME["Pod"]:
        pod = await session.client.get(Pod, name, namespace=where)
        return [(pod, socket) for socket in ([asked] if asked else _listened(pod))]
    if target.kind is not BY_NAME["Service"]:
        raise BadRequest(f"{word} is neither a pod nor a service")
    service = await session.client.get(Service, name, namespace=where)
    if service.spec.type == EXTERNAL_NAME:
        raise BadRequest(f"service {name} is another name of {service.spec.external_name}, and leads to no pods")
    selector = str(from_labels({SERVICE_LABEL: name}))
    slices = await session.client.list(EndpointSlice, namespace=where, selector=selector)
    pods = {pod.metadata.name: pod for pod in await session.client.list(Pod, namespace=where)}
    pairs = [
        (pods[pod], Socket(port.protocol or TCP, number))
        for port in _ports(service, asked)
        for pod, number in _led_to(service, slices, port, origin.spec.node_name)
        if pod in pods
    ]
    if not pairs:
        local = f" on its node {origin.spec.node_name}" if service.spec.internal_traffic_policy == LOCAL else ""
        raise NotFound(f"service {name} leads {_named(origin)} to no pod: none that is ready{local}")
    return sorted(pairs, key=lambda pair: pair[0].metadata.name)


def _listened(pod: Pod) -> Sequence[Socket]:
    ports = [port for container in pod.spec.containers for port in container.ports]
    return [Socket(port.protocol or TCP, port.container_port) for port in ports] or [Socket()]


def _ports(service: Service, asked: Socket | None) -> list[ServicePort]:
    """The service's ports; the one that is `asked`, where one is."""
    ports = [p for p in service.spec.ports if asked is None or (p.protocol or TCP, p.port) == asked]
    if asked is not None and not ports:
        raise BadRequest(f"service {service.metadata.name} has no port {_socket(asked)}")
    return ports


def _led_to(
    service: Service, slices: Sequence[EndpointSlice], port: ServicePort, node: str
) -> Iterator[tuple[str, int]]:
    """Names of pods, and their ports, that a port of the service leads pods on `node` to."""
    found = [
        (endpoint, each.port)
        for of_service in slices
        for each in of_service.ports
        if (each.name, each.protocol or TCP) == (port.name, port.protocol or TCP)
        for endpoint in of_service.endpoints
    ]
    numbers = {endpoint.target_ref.name: number for endpoint, number in found}
    for endpoint in led_to(service.spec, (endpoint for endpoint, _ in found), node):
        yield endpoint.target_ref.name, numbers[endpoint.target_ref.name]


def _named(pod: Pod) -> str:
    return f"pod {pod.metadata.namespace}/{pod.metadata.name}"


def _socket(socket: Socket) -> str:
    return f"{socket.number}/{socket.protocol}" if socket.number else f"every {socket.protocol} port"


def _said(judgement: Judgement) -> str:
    return f"{'yes' if judgement.allowed else 'no'}, {judgement.why}"
