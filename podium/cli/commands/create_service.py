"""`podium create service`: clusterip, nodeport, loadbalancer, externalname."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import click

from podium.cli.output.created import show
from podium.cli.session import Session, command
from podium.codec.json import object_from_dict
from podium.errors import BadRequest
from podium.v1.networking_pb2 import Service

_DRY_RUN = click.option("--dry-run", is_flag=True, help="Change nothing.")
_OUTPUT = click.option("-o", "--output", default="", metavar="FORMAT", help="Print the result so.")
_TCP = click.option(
    "--tcp", multiple=True, metavar="PORT[:TARGET]", help="Port, and that of the pods (number or name); several times."
)


class MadePort(NamedTuple):
    """A service's port, and the pods' (a number, a name, or the same)."""

    port: int
    target: str = ""
    protocol: str = "TCP"
    name: str = ""
    node_port: int = 0


def service_of(
    name: str, type_: str, selector: Mapping[str, str], ports: Sequence[MadePort], *, cluster_ip: str = "",
    labels: Mapping[str, str] | None = None,
) -> Service:  # fmt: skip
    """A Service as it is sent."""
    spec: dict[str, Any] = {"type": type_, "selector": dict(selector), "ports": [_port(port) for port in ports]}
    if cluster_ip:
        spec["clusterIP"] = cluster_ip
    metadata = {"name": name, "labels": dict(labels or {})}
    made = object_from_dict({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    assert isinstance(made, Service)
    return made


def _port(port: MadePort) -> dict[str, Any]:
    said: dict[str, Any] = {"port": port.port, "protocol": port.protocol}
    if port.name:
        said["name"] = port.name
    if port.target:
        said["targetPort"] = int(port.target) if port.target.isdecimal() else port.target
    if port.node_port:
        said["nodePort"] = port.node_port
    return said


def parse_tcp(texts: Sequence[str], node_port: int = 0) -> list[MadePort]:
    """`80`, `80:8080` or `80:web` each.

    Raises:
        BadRequest: Not of that form.
    """
    found = []
    for text in texts:
        number, _, target = text.partition(":")
        if not number.isdecimal() or not 0 < int(number) < 65536:
            raise BadRequest(f'--tcp: "{text}" is not a port or PORT:TARGET')
        name = f"{number}-{target or number}" if len(texts) > 1 else ""
        found.append(MadePort(int(number), target, name=name.lower(), node_port=node_port))
    return found


@click.group(
    epilog="""
\b
Examples:
  podium create service clusterip web --tcp=80:8080
  podium create service nodeport web --tcp=80 --node-port=30080
  podium create service externalname db --external-name=db.example.com
"""
)
def service() -> None:
    """Create a service for pods that have the label app=NAME, or a name for another host."""


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (_OUTPUT, _DRY_RUN, _TCP, click.argument("name")):
        function = option(function)
    return function


@service.command(epilog="\b\nExamples:\n  podium create service clusterip web --tcp=80:8080")
@_options
@click.option("--clusterip", default="", metavar="ADDRESS|None", help="Its address; None leads to the pods' own.")
@command
async def clusterip(
    session: Session, name: str, tcp: tuple[str, ...], clusterip: str, dry_run: bool, output: str
) -> None:
    """Reached from within the cluster."""
    if not tcp and clusterip != "None":
        raise click.UsageError("give --tcp=PORT[:TARGET]; only a service with --clusterip=None needs none")
    await _make(session, name, "ClusterIP", parse_tcp(tcp), dry_run, output, cluster_ip=clusterip)


@service.command(epilog="\b\nExamples:\n  podium create service nodeport web --tcp=80 --node-port=30080")
@_options
@click.option("--node-port", type=click.IntRange(0, 65535), default=0, help="Port of the nodes; a free one by default.")
@command
async def nodeport(
    session: Session, name: str, tcp: tuple[str, ...], node_port: int, dry_run: bool, output: str
) -> None:
    """Reached at a port of every node, too."""
    if len(tcp) != 1 and (node_port or not tcp):
        raise click.UsageError("give --tcp=PORT[:TARGET], once with --node-port")
    await _make(session, name, "NodePort", parse_tcp(tcp, node_port), dry_run, output)


@service.command(epilog="\b\nExamples:\n  podium create service loadbalancer web --tcp=80:8080")
@_options
@command
async def loadbalancer(session: Session, name: str, tcp: tuple[str, ...], dry_run: bool, output: str) -> None:
    """Reached at its own port of every node, too."""
    if not tcp:
        raise click.UsageError("give --tcp=PORT[:TARGET]")
    await _make(session, name, "LoadBalancer", parse_tcp(tcp), dry_run, output)


@service.command(
    epilog="\b\nExamples:\n  podium create service externalname db --external-name=db.example.com",
)
@click.argument("name")
@click.option("--external-name", required=True, metavar="HOST", help="What the name stands for.")
@_DRY_RUN
@_OUTPUT
@command
async def externalname(session: Session, name: str, external_name: str, dry_run: bool, output: str) -> None:
    """Another name for a host elsewhere."""
    made = service_of(name, "ExternalName", {}, [])
    made.spec.external_name = external_name
    show([await session.client.create(made, dry_run=dry_run)], dry_run, output)


async def _make(
    session: Session, name: str, type_: str, ports: Sequence[MadePort], dry_run: bool, output: str, *,
    cluster_ip: str = "",
) -> None:  # fmt: skip
    labels = {"app": name}
    made = service_of(name, type_, labels, ports, cluster_ip=cluster_ip, labels=labels)
    show([await session.client.create(made, dry_run=dry_run)], dry_run, output)
