"""`podium forward`: local ports that lead to services, whichever of their pods come and go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import click

from podium.aio.tasks import TaskScope
from podium.cli.commands.port_forward import parse_ports
from podium.cli.complete import services
from podium.cli.forwarding import carry, place_of, report
from podium.cli.session import Session, command
from podium.errors import BadRequest, Unavailable


class Forward(NamedTuple):
    """A local port (0: a free one), and the service and port that it leads to."""

    service: str
    local: int
    remote: int


@click.command(
    epilog="""
\b
Examples:
  podium forward svc/web 8080:80                         this port leads to a pod that answers web
  podium forward svc/web 8080:80 svc/db 5432             several services at once
  podium forward svc/web :80                             a free local port
"""
)
@click.argument("words", nargs=-1, required=True, metavar="svc/NAME [LOCAL:]PORT...", shell_complete=services)
@click.option("--address", default="127.0.0.1", show_default=True, help="Local address to listen at.")
@command
async def forward(session: Session, words: tuple[str, ...], address: str) -> None:
    """Reach services from here; each connection goes to one of the pods that are ready then."""
    forwards = parse_forwards(words)
    for each in forwards:
        with contextlib.suppress(Unavailable):  # pods may come later
            await place_of(session, session.client.namespace, each.service, each.remote)
    async with TaskScope(report) as scope, contextlib.AsyncExitStack() as stack:
        for each in forwards:
            server = await asyncio.start_server(_Door(session, each, scope).accept, address, each.local)
            await stack.enter_async_context(server)
            host, port, *_ = server.sockets[0].getsockname()
            click.echo(f"forwarding {host}:{port} -> svc/{each.service}:{each.remote}")
        await asyncio.get_running_loop().create_future()


def parse_forwards(words: Sequence[str]) -> list[Forward]:
    """`svc/web 8080:80 svc/db 5432`: each service with the ports that follow it.

    Raises:
        BadRequest: Not of that form.
    """
    found: list[Forward] = []
    name, ports = "", 1
    for word in words:
        kind, slash, rest = word.partition("/")
        if slash:
            if kind.lower() not in ("svc", "service", "services") or not rest:
                raise BadRequest(f'"{word}" is not svc/NAME; `podium port-forward` leads into pods')
            if not ports:
                raise BadRequest(f"svc/{name} has no port: give [LOCAL:]PORT after it")
            name, ports = rest, 0
        elif not name:
            raise BadRequest(f'"{word}" comes before any svc/NAME')
        else:
            local, remote = parse_ports(word)
            found.append(Forward(name, local, remote))
            ports += 1
    if not ports:
        raise BadRequest(f"svc/{name} has no port: give [LOCAL:]PORT after it")
    return found


class _Door:
    """Takes connections of one local port."""

    def __init__(self, session: Session, to: Forward, scope: TaskScope) -> None:
        self._session, self._to, self._scope = session, to, scope

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection in a task of its own."""
        _ = self._scope.start(self._serve(reader, writer), name=f"svc/{self._to.service}:{self._to.remote}")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            client = self._session.client
            place = await place_of(self._session, client.namespace, self._to.service, self._to.remote)
            await carry(self._session, place, reader, writer)
        finally:
            writer.close()
