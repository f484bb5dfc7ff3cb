"""`podium top`: who uses how much, as the nodelets reported it last."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click

from podium.cli.output import table
from podium.cli.session import Session, command
from podium.errors import BadRequest
from podium.objects.quantity import milli, value
from podium.v1.core_pb2 import Node

_NANO_PER_MILLI = 1_000_000
_MIB = 1 << 20


@click.command(
    epilog="""
\b
Examples:
  podium top nodes
  podium top pods -A --sort-by=memory
  podium top containers -l app=web
"""
)
@click.argument("what", type=click.Choice(["nodes", "node", "pods", "pod", "containers", "container"]))
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("-A", "--all-namespaces", is_flag=True, help="Pods of all namespaces.")
@click.option("-l", "--selector", default="", help="Pods with these labels.")
@click.option("--sort-by", type=click.Choice(["cpu", "memory", "name"]), default="name", show_default=True)
@command
async def top(
    session: Session, what: str, names: tuple[str, ...], all_namespaces: bool, selector: str, sort_by: str
) -> None:
    """Show CPU and memory in use."""
    if what.startswith("node"):
        if all_namespaces or selector:
            raise BadRequest("-A and -l are for pods")
        await _nodes(session, names, sort_by)
    else:
        await _pods(session, names, what.startswith("container"), all_namespaces, selector, sort_by)


async def _nodes(session: Session, names: tuple[str, ...], sort_by: str) -> None:
    usage = await session.client.cluster.usage()
    allocatable = {n.metadata.name: n.status.allocatable for n in await session.client.list(Node)}
    chosen = [n for n in usage.nodes if not names or n.name in names]
    rows = [(n.name, n.cpu_nanocores // _NANO_PER_MILLI, n.memory_bytes) for n in chosen]
    table_rows = []
    for name, cpu, memory in sorted(rows, key=_order(sort_by)):
        room: Mapping[str, str] = allocatable.get(name, {})
        cpu_share = _share(cpu, milli(room["cpu"]) if "cpu" in room else 0)
        memory_share = _share(memory, value(room["memory"]) if "memory" in room else 0)
        table_rows.append([name, f"{cpu}m", cpu_share, f"{memory // _MIB}Mi", memory_share])
    click.echo(table.render(["NAME", "CPU", "CPU%", "MEMORY", "MEMORY%"], table_rows))


async def _pods(
    session: Session, names: tuple[str, ...], containers: bool, everywhere: bool, selector: str, sort_by: str
) -> None:
    namespace = "*" if everywhere else session.namespace
    usage = await session.client.cluster.usage(namespace=namespace, selector=selector, containers=containers)
    pods = [p for p in usage.pods if not names or p.name in names]
    if not pods:
        click.echo("no usage reported yet", err=True)
        return
    rows: list[tuple[str, int, int]] = []
    for pod in pods:
        name = f"{pod.namespace}/{pod.name}" if everywhere else pod.name
        parts = [(c.cpu_nanocores // _NANO_PER_MILLI, c.memory_bytes, c.name) for c in pod.containers]
        if containers:
            rows += [(f"{name}/{part}", cpu, memory) for cpu, memory, part in parts]
        else:
            rows.append((name, sum(p[0] for p in parts), sum(p[1] for p in parts)))
    ordered = sorted(rows, key=_order(sort_by))
    click.echo(table.render(["NAME", "CPU", "MEMORY"], [[n, f"{c}m", f"{m // _MIB}Mi"] for n, c, m in ordered]))


def _order(sort_by: str) -> Callable[[tuple[str, int, int]], tuple[int, str]]:
    if sort_by == "cpu":
        return lambda row: (-row[1], row[0])
    if sort_by == "memory":
        return lambda row: (-row[2], row[0])
    return lambda row: (0, row[0])


def _share(used: int, room: int) -> str:
    return f"{100 * used // room}%" if room else "-"
