"""`podium port-forward`: local ports that lead into a pod; each TCP connection is one stream."""

from __future__ import annotations

import asyncio
import contextlib

import click

from podium.aio.tasks import TaskScope
from podium.cli.complete import pods
from podium.cli.forwarding import Place, carry, report
from podium.cli.session import Session, command
from podium.cli.workloads import best_pod, one_target
from podium.errors import BadRequest
from podium.objects.service import TCP, target_number
from podium.v1.core_pb2 import PodSpec
from podium.v1.networking_pb2 import Service


@click.command(
    epilog="""
\b
Examples:
  podium port-forward web-1 8080:80
  podium port-forward deploy/web 8080:80 --address 0.0.0.0
  podium port-forward svc/web 8080:80     the service's port 80, at one of its pods (`podium forward`: at any)
  podium port-forward web-1 :80           a free local port
"""
)
@click.argument("what", metavar="POD | KIND/NAME", shell_complete=pods)
@click.argument("ports", nargs=-1, required=True, metavar="[LOCAL:]REMOTE...")
@click.option("--address", default="127.0.0.1", show_default=True, help="Local address to listen at.")
@command
async def port_forward(session: Session, what: str, ports: tuple[str, ...], address: str) -> None:
    """Reach ports of a pod from here."""
    target = one_target(what)
    pod = await best_pod(session, target)
    key = session.client.pods.key(pod.metadata.name)
    pairs = [parse_ports(text) for text in ports]
    if target.kind.message is Service:
        service = await session.client.get(Service, target.names[0])
        pairs = [(local, target_of(service, remote, pod.spec)) for local, remote in pairs]
    async with TaskScope(report) as scope, contextlib.AsyncExitStack() as stack:
        for local, remote in pairs:
            handler = _Forward(session, Place(key, remote), scope)
            server = await asyncio.start_server(handler.accept, address, local)
            await stack.enter_async_context(server)
            bound = server.sockets[0].getsockname()
            click.echo(f"forwarding {bound[0]}:{bound[1]} -> {pod.metadata.name}:{remote}")
        await asyncio.get_running_loop().create_future()


def parse_ports(text: str) -> tuple[int, int]:
    """`8080:80`, `80` (the same port here) or `:80` (any free port), as (local, remote).

    Raises:
        BadRequest: Not of that form.
    """
    local, colon, remote = text.rpartition(":")
    if not colon:
        local = remote
    numbers = (local or "0", remote)
    if not all(n.isdigit() and int(n) < 65536 for n in numbers) or not int(remote):
        raise BadRequest(f'"{text}" is not a port or LOCAL:REMOTE')
    return int(numbers[0]), int(numbers[1])


def target_of(service: Service, number: int, pod: PodSpec) -> int:
    """The port of a pod that a service's port leads to.

    Raises:
        BadRequest: The service has no such TCP port, or the pod none of the target's name.
    """
    ports = [port for port in service.spec.ports if (port.protocol or TCP) == TCP]
    for port in ports:
        if port.port == number:
            if (found := target_number(port, pod)) is None:
                raise BadRequest(f'no container of the pod names a port "{port.target_port.str_value}"')
            return found
    known = ", ".join(str(port.port) for port in ports) or "none"
    raise BadRequest(f"service {service.metadata.name} has no TCP port {number}; it has {known}")


class _Forward:
    """Takes connections of one local port."""

    def __init__(self, session: Session, place: Place, scope: TaskScope) -> None:
        self._session, self._place, self._scope = session, place, scope

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection in a task of its own."""
        _ = self._scope.start(carry(self._session, self._place, reader, writer), name=f"port {self._place.port}")
