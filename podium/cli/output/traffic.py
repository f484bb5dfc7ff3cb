"""`podium explain network`: whether a pod reaches another, or those of a service, and by which rule."""

from __future__ import annotations

from collections.abc import Sequence

from podium.cli.session import Session
from podium.cli.workloads import one_target
from podium.errors import BadRequest, NotFound
from podium.objects.kinds import BY_NAME
from podium.objects.selectors import from_labels
from podium.objects.service import TCP, target_number
from podium.objects.traffic import Judgement, Socket, passage
from podium.v1.core_pb2 import Namespace, Pod
from podium.v1.networking_pb2 import NetworkPolicy, Service


async def explain_network(session: Session, source: str, target: str, asked: Socket | None, to_namespace: str) -> str:
    """One paragraph for each pod and port that is connected to.

    Args:
        session: Of the command.
        source: The pod that connects: its name.
        target: A pod's name, or KIND/NAME of a pod or service.
        asked: The port; when not given, the service's, or those that the pod's containers say they listen at.
        to_namespace: The target's, if another one.

    Raises:
        BadRequest: The target is no pod and no service, or a service that selects none.
        NotFound: One of them does not exist.
    """
    client, where = session.client, to_namespace or session.namespace
    origin = await client.get(Pod, one_target(source).names[0])
    pairs = await _targets(session, target, where, asked)
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


async def _targets(session: Session, word: str, where: str, asked: Socket | None) -> list[tuple[Pod, Socket]]:
    target = one_target(word)
    name = target.names[0]
    if target.kind is BY_NAME["Pod"]:
        pod = await session.client.get(Pod, name, namespace=where)
        return [(pod, socket) for socket in ([asked] if asked else _listened(pod))]
    if target.kind is not BY_NAME["Service"]:
        raise BadRequest(f"{word} is neither a pod nor a service")
    service = await session.client.get(Service, name, namespace=where)
    if not service.spec.selector:
        raise BadRequest(f"service {name} selects no pods: others write its EndpointSlices")
    selector = str(from_labels(service.spec.selector))
    pods = await session.client.list(Pod, namespace=where, selector=selector)
    if not pods:
        raise NotFound(f"service {name} has no pods")
    return [(pod, socket) for pod in pods for socket in _led_to(service, pod, asked)]


def _listened(pod: Pod) -> Sequence[Socket]:
    ports = [port for container in pod.spec.containers for port in container.ports]
    return [Socket(port.protocol or TCP, port.container_port) for port in ports] or [Socket()]


def _led_to(service: Service, pod: Pod, asked: Socket | None) -> list[Socket]:
    """The pod's ports that the service leads to; `asked` is the service's port."""
    ports = [p for p in service.spec.ports if asked is None or (p.protocol or TCP, p.port) == asked]
    if asked is not None and not ports:
        raise BadRequest(f"service {service.metadata.name} has no port {_socket(asked)}")
    found = ((port, target_number(port, pod.spec)) for port in ports)
    return [Socket(port.protocol or TCP, number) for port, number in found if number is not None]


def _named(pod: Pod) -> str:
    return f"pod {pod.metadata.namespace}/{pod.metadata.name}"


def _socket(socket: Socket) -> str:
    return f"{socket.number}/{socket.protocol}" if socket.number else f"every {socket.protocol} port"


def _said(judgement: Judgement) -> str:
    return f"{'yes' if judgement.allowed else 'no'}, {judgement.why}"
