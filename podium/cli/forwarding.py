"""Carrying TCP connections into pods: what `port-forward`, `forward` and `proxy` share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from podium.cli.session import Session, print_error
from podium.client._async.pods import raise_error
from podium.errors import BadRequest, PodiumError, Unavailable
from podium.objects.service import SERVICE_LABEL, TCP, is_headless, takes_connections
from podium.v1.networking_pb2 import Endpoint, EndpointSlice, Service
from podium.v1.pods_service_pb2 import PodKey, PortForwardRequest, StreamFrame

_CHUNK = 64 * 1024


class Place(NamedTuple):
    """A port of a pod."""

    pod: PodKey
    port: int

    def __str__(self) -> str:
        """`web-1:8080`."""
        return f"{self.pod.name}:{self.port}"


async def carry(session: Session, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one connection both ways until both ends are done; it is closed then.

    Raises:
        PodiumError: The pod is gone, or nothing listens there.
    """
    try:
        async for frame in session.client.pods.port_forward(_sent(place, reader)):
            match frame.WhichOneof("frame"):
                case "data":
                    writer.write(frame.data)
                    await writer.drain()
                case "close":
                    writer.write_eof()
                case _:
                    raise_error(frame)
    finally:
        writer.close()


async def _sent(place: Place, reader: asyncio.StreamReader) -> AsyncIterator[StreamFrame]:
    yield StreamFrame(port_forward=PortForwardRequest(pod=place.pod, port=place.port))
    while data := await reader.read(_CHUNK):
        yield StreamFrame(data=data)
    yield StreamFrame(close=True)


def report(name: str, error: BaseException) -> None:
    """Tell of a connection that failed; others go on.

    Raises:
        BaseException: It is a fault of this program.
    """
    if isinstance(error, PodiumError):
        print_error(error, name)
    elif not isinstance(error, OSError):
        raise error


# ---------------------------------------------------------------- services


async def place_of(session: Session, namespace: str, name: str, port: int, hostname: str = "") -> Place:
    """One of the pods that answer a service now, whichever; asked for each connection anew.

    Args:
        port: Of the service; of the pod itself when the service is headless and has no such port.
        hostname: Only the pod of this name (of a StatefulSet's).

    Raises:
        NotFound: There is no such service.
        BadRequest: It has no such port.
        Unavailable: No pod answers it now.
    """
    service = await session.client.get(Service, name, namespace=namespace)
    label = f"{SERVICE_LABEL}={name}"
    slices = await session.client.list(EndpointSlice, namespace=namespace, selector=label)
    found = places(service, slices, port, hostname)
    if not found:
        who = f"pod {hostname} of service" if hostname else "service"
        raise Unavailable(f"{who} {namespace}/{name} has no pod that takes connections")
    return random.choice(found)  # noqa: S311 - nothing is kept secret by it


def places(service: Service, slices: Sequence[EndpointSlice], port: int, hostname: str = "") -> list[Place]:
    """The pods that take connections to a service's port.

    Raises:
        BadRequest: The service has no such TCP port.
    """
    names = [p.name for p in service.spec.ports if p.port == port and (p.protocol or TCP) == TCP]
    if not names and not is_headless(service.spec):
        known = ", ".join(str(p.port) for p in service.spec.ports if (p.protocol or TCP) == TCP) or "none"
        raise BadRequest(f"service {service.metadata.name} has no TCP port {port}; it has {known}")
    return [
        Place(PodKey(namespace=endpoint.target_ref.namespace, name=endpoint.target_ref.name), number)
        for each in slices
        for number in (_numbers(each, names) if names else [port])
        for endpoint in each.endpoints
        if _is_asked(endpoint, hostname)
    ]


def _numbers(endpoint_slice: EndpointSlice, names: Sequence[str]) -> list[int]:
    return [p.port for p in endpoint_slice.ports if p.name in names and (p.protocol or TCP) == TCP]


def _is_asked(endpoint: Endpoint, hostname: str) -> bool:
    named = not hostname or endpoint.hostname == hostname
    return named and takes_connections(endpoint) and endpoint.target_ref.kind == "Pod"
