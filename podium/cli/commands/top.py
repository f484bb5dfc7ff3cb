"""`podium top`: who uses how much, as the nodelets reported it last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import click

from podium.cli.output import table
from podium.cli.session import Session, command
from podium.errors import BadRequest
from podium.objects.quantity import milli, value
from podium.v1.cluster_service_pb2 import ContainerUsage, DiskRates, NetworkRates, NodeUsage, PodUsage
from podium.v1.core_pb2 import Node

_NANO_PER_MILLI = 1_000_000
_MIB = 1 << 20
_KIB = 1 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Somebody who uses something: CPU in thousandths, memory in bytes, and what there is room for of either.

    `network` None: it has none of its own. `known`: somebody said so.
    """

    name: str
    cpu: int
    memory: int
    tasks: int
    disk: DiskRates
    network: NetworkRates | None = None
    cpu_room: int = 0
    memory_room: int = 0
    known: bool = True


@click.command(
    epilog="""
\b
Examples:
  podium top nodes -o wide
  podium top pods -A --sort-by=memory --sum
  podium top pods --containers -l app=web

CPU is the mean of the last seconds, memory the working set. -o wide adds bytes a second over the network and to disks,
and processes with their threads.
"""
)
@click.argument("what", type=click.Choice(["nodes", "node", "pods", "pod", "containers", "container"]))
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("-A", "--all-namespaces", is_flag=True, help="Pods of all namespaces.")
@click.option("-l", "--selector", default="", help="Pods, or nodes, with these labels.")
@click.option("--containers", is_flag=True, help="A line for each container of the pods.")
@click.option("--sort-by", type=click.Choice(["cpu", "memory", "name"]), default="name", show_default=True)
@click.option("--sum", "summed", is_flag=True, help="End with a line of the sums.")
@click.option("--no-headers", is_flag=True, help="No line of headers.")
@click.option("-o", "--output", type=click.Choice(["wide"]), help="wide: network, disks and processes as well.")
@command
async def top(
    session: Session,
    what: str,
    names: tuple[str, ...],
    all_namespaces: bool,
    selector: str,
    containers: bool,
    sort_by: str,
    summed: bool,
    no_headers: bool,
    output: str | None,
) -> None:
    """Show CPU and memory in use."""
    if what.startswith("node"):
        if all_namespaces or containers:
            raise BadRequest("-A and --containers are for pods")
        rows = await _nodes(session, names, selector)
    else:
        rows = await _pods(session, names, containers or what.startswith("container"), all_namespaces, selector)
    if not rows:
        click.echo("no usage reported yet", err=True)
        return
    rows.sort(key=_order(sort_by))
    if summed:
        rows.append(_sum(rows))
    columns = [*(_NODE if what.startswith("node") else _POD), *(_WIDE if output == "wide" else ())]
    click.echo(table.render([name for name, _ in columns], _cells(columns, rows), no_headers=no_headers))


async def _nodes(session: Session, names: Sequence[str], selector: str) -> list[Row]:
    usage = {node.name: node for node in (await session.client.cluster.usage(selector=selector)).nodes}
    nodes = [n for n in await session.client.list(Node, selector=selector) if not names or n.metadata.name in names]
    return [_node_row(node, usage.get(node.metadata.name)) for node in nodes]


def _node_row(node: Node, usage: NodeUsage | None) -> Row:
    """A node that does not report is there all the same."""
    used, room = usage or NodeUsage(), node.status.allocatable
    return Row(
        name=node.metadata.name,
        cpu=used.cpu_nanocores // _NANO_PER_MILLI,
        memory=used.memory_bytes,
        tasks=used.tasks,
        disk=used.disk,
        network=used.network,
        cpu_room=milli(_room(room, "cpu")),
        memory_room=value(_room(room, "memory")),
        known=usage is not None,
    )


async def _pods(session: Session, names: Sequence[str], apart: bool, everywhere: bool, selector: str) -> list[Row]:
    namespace = "*" if everywhere else session.namespace
    usage = await session.client.cluster.usage(namespace=namespace, selector=selector, containers=apart)
    return [
        _pod_row(f"{pod.namespace}/{pod.name}" if everywhere else pod.name, pod, container)
        for pod in usage.pods
        if not names or pod.name in names
        for container in pod.containers
    ]


def _pod_row(name: str, pod: PodUsage, used: ContainerUsage) -> Row:
    """A container's, when it has a name of its own: then the network, which is its pod's, is left out."""
    return Row(
        name=f"{name}/{used.name}" if used.name else name,
        cpu=used.cpu_nanocores // _NANO_PER_MILLI,
        memory=used.memory_bytes,
        tasks=used.tasks,
        disk=used.disk,
        network=pod.network if not used.name and pod.HasField("network") else None,
    )


def _room(allocatable: Mapping[str, str], resource: str) -> str:
    return allocatable.get(resource, "0")


def _sum(rows: Sequence[Row]) -> Row:
    networks = [row.network for row in rows if row.network is not None]
    return Row(
        name="",
        cpu=sum(row.cpu for row in rows),
        memory=sum(row.memory for row in rows),
        tasks=sum(row.tasks for row in rows),
        disk=DiskRates(
            read_bytes_per_second=sum(row.disk.read_bytes_per_second for row in rows),
            write_bytes_per_second=sum(row.disk.write_bytes_per_second for row in rows),
        ),
        network=NetworkRates(
            receive_bytes_per_second=sum(network.receive_bytes_per_second for network in networks),
            transmit_bytes_per_second=sum(network.transmit_bytes_per_second for network in networks),
        ),
        cpu_room=sum(row.cpu_room for row in rows),
        memory_room=sum(row.memory_room for row in rows),
    )


def _order(sort_by: str) -> Callable[[Row], tuple[int, str]]:
    if sort_by == "cpu":
        return lambda row: (-row.cpu, row.name)
    if sort_by == "memory":
        return lambda row: (-row.memory, row.name)
    return lambda row: (0, row.name)


# ---------------------------------------------------------------- columns


def _cells(columns: Sequence[_Column], rows: Iterable[Row]) -> list[list[str]]:
    return [[cell(row) if row.known or name == "NAME" else "<unknown>" for name, cell in columns] for row in rows]


def _share(used: int, room: int) -> str:
    return f"{100 * used // room}%" if room else "-"


def _rate(count: int) -> str:
    for unit, size in (("Mi", _MIB), ("Ki", _KIB)):
        if count >= 10 * size:
            return f"{count // size}{unit}"
    return str(count)


def _network(figure: Callable[[NetworkRates], int]) -> Callable[[Row], str]:
    return lambda row: "-" if row.network is None else _rate(figure(row.network))


_Column = tuple[str, Callable[[Row], str]]
_NAME: _Column = ("NAME", lambda row: row.name)
_CPU: _Column = ("CPU", lambda row: f"{row.cpu}m")
_MEMORY: _Column = ("MEMORY", lambda row: f"{row.memory // _MIB}Mi")
_POD: Sequence[_Column] = (_NAME, _CPU, _MEMORY)
_NODE: Sequence[_Column] = (
    _NAME,
    _CPU,
    ("CPU%", lambda row: _share(row.cpu, row.cpu_room)),
    _MEMORY,
    ("MEMORY%", lambda row: _share(row.memory, row.memory_room)),
)
_WIDE: Sequence[_Column] = (
    ("NET-IN/s", _network(lambda network: network.receive_bytes_per_second)),
    ("NET-OUT/s", _network(lambda network: network.transmit_bytes_per_second)),
    ("DISK-READ/s", lambda row: _rate(row.disk.read_bytes_per_second)),
    ("DISK-WRITE/s", lambda row: _rate(row.disk.write_bytes_per_second)),
    ("TASKS", lambda row: str(row.tasks)),
)
