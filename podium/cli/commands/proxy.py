"""`podium proxy`: a SOCKS5 proxy (RFC 1928) into the cluster: whoever uses it finds services by their names."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import click

from podium.aio.tasks import TaskScope
from podium.cli.forwarding import carry, place_of, report
from podium.cli.session import Session, command
from podium.errors import BadRequest, NotFound, PodiumError, Unavailable

_VERSION, _NO_PASSWORD, _NO_METHOD, _CONNECT = 5, 0, 0xFF, 1
_IPV4, _NAME = 1, 3
_DONE, _FAILED, _UNREACHABLE, _REFUSED, _NOT_SUPPORTED, _NO_SUCH_ADDRESS_TYPE = 0, 1, 4, 5, 7, 8
_GREETING_SECONDS = 10.0


class Wanted(NamedTuple):
    """What a name of the cluster means. `hostname` is that of one pod of a headless service."""

    service: str
    namespace: str
    hostname: str = ""


@click.command(
    epilog="""
\b
Examples:
  podium proxy
  curl --socks5-hostname 127.0.0.1:1080 http://web.default.svc/
  psql "host=db-0.db.shop.svc ..."        through a wrapper such as proxychains
"""
)
@click.option("--port", default=1080, show_default=True, help="Local port to listen at; 0: a free one.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Local address to listen at.")
@command
async def proxy(session: Session, port: int, address: str) -> None:
    """Reach all services from here, by their names, through a SOCKS5 proxy.

    Names are SERVICE, SERVICE.NAMESPACE, SERVICE.NAMESPACE.svc and what follows; and POD.SERVICE.NAMESPACE.svc of
    headless services. The client must leave names to the proxy (socks5h). Each connection goes to one of the pods that
    are ready then.
    """
    async with TaskScope(report) as scope:
        server = await asyncio.start_server(_Door(session, scope).accept, address, port)
        async with server:
            host, bound, *_ = server.sockets[0].getsockname()
            click.echo(f"SOCKS5 proxy at {host}:{bound}")
            await asyncio.get_running_loop().create_future()


def parse_name(name: str, namespace: str) -> Wanted:
    """What a name means to somebody in this namespace.

    Raises:
        BadRequest: It is not one of the cluster's.
    """
    labels = name.rstrip(".").lower().split(".")
    if "svc" in labels:
        labels = labels[: labels.index("svc")]
        if len(labels) == 3:
            return Wanted(labels[1], labels[2], labels[0])
    elif len(labels) == 1:
        labels.append(namespace)
    if len(labels) != 2 or not all(labels):
        raise BadRequest(f'"{name}" is not the name of a service: SERVICE.NAMESPACE.svc')
    return Wanted(*labels)


class _Door:
    """Takes connections to the proxy."""

    def __init__(self, session: Session, scope: TaskScope) -> None:
        self._session, self._scope = session, scope

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection in a task of its own."""
        _ = self._scope.start(self._serve(reader, writer), name="proxy")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_GREETING_SECONDS):
                name, port = await greet(reader, writer)
            wanted = parse_name(name, self._session.client.namespace)
            place = await place_of(self._session, wanted.namespace, wanted.service, port, wanted.hostname)
            writer.write(answer(_DONE))
            await carry(self._session, place, reader, writer)
        except PodiumError as error:
            if not writer.is_closing():
                writer.write(answer(_code(error)))
            raise
        except (asyncio.IncompleteReadError, TimeoutError):
            return  # whoever it was did not speak SOCKS5
        finally:
            writer.close()


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int]:
    """Agree on no password, and read what is asked for: a name (or an address, as text), and a port.

    Raises:
        BadRequest: The client speaks something else, or wants more than a connection; it has been told.
        IncompleteReadError: It ended early.
    """
    version, methods = await reader.readexactly(2)
    if version != _VERSION:
        writer.close()
        raise BadRequest(f"a client speaks SOCKS version {version}, not 5")
    if _NO_PASSWORD not in await reader.readexactly(methods):
        writer.write(bytes((_VERSION, _NO_METHOD)))
        writer.close()
        raise BadRequest("a client insists on a password; there is none")
    writer.write(bytes((_VERSION, _NO_PASSWORD)))
    _, wish, _, kind = await reader.readexactly(4)
    if kind == _NAME:
        (length,) = await reader.readexactly(1)
        name = (await reader.readexactly(length)).decode("ascii", errors="replace")
    elif kind == _IPV4:
        name = ".".join(map(str, await reader.readexactly(4)))
    else:
        writer.write(answer(_NO_SUCH_ADDRESS_TYPE))
        writer.close()
        raise BadRequest("a client asked for an IPv6 address")
    port = int.from_bytes(await reader.readexactly(2), "big")
    if wish != _CONNECT:
        writer.write(answer(_NOT_SUPPORTED))
        writer.close()
        raise BadRequest("a client wanted more than a TCP connection")
    return name, port


def answer(code: int) -> bytes:
    """A reply; it names no address of its own."""
    return bytes((_VERSION, code, 0, _IPV4, 0, 0, 0, 0, 0, 0))


def _code(error: PodiumError) -> int:
    match error:
        case NotFound() | BadRequest():
            return _UNREACHABLE
        case Unavailable():
            return _REFUSED
        case _:
            return _FAILED
