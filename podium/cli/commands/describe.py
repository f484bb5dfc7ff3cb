"""`podium describe`."""

from __future__ import annotations

from typing import Any

import click

from podium.aio.clock import SystemClock
from podium.cli.complete import targets
from podium.cli.describe import page
from podium.cli.describe.objects import describe as describe_object
from podium.cli.output.pods import phase_word
from podium.cli.resources import parse_targets
from podium.cli.session import Session, command
from podium.v1.core_pb2 import Event, Node, Pod


@click.command(
    epilog="""
\b
Examples:
  podium describe pod web-7c9f8-x2k4q
  podium describe deploy/web
  podium describe node node1
"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND [NAME...] | KIND/NAME...", shell_complete=targets)
@click.option("-l", "--selector", default="", help="Objects with these labels.")
@command
async def describe(session: Session, what: tuple[str, ...], selector: str) -> None:
    """Show objects in words, with their events."""
    first = True
    for target in parse_targets(what):
        objects: list[Any] = (
            [await session.client.get(target.kind.message, name) for name in target.names]
            if target.names
            else await session.client.list(target.kind.message, selector=selector)
        )
        for obj in objects:
            click.echo(("" if first else "\n\n") + await _page(session, obj))
            first = False


async def _page(session: Session, obj: Any) -> str:
    now = SystemClock().now()
    sheet = page.Page()
    describe_object(sheet, obj, now)
    if isinstance(obj, Node):
        await _pods_of_node(session, sheet, obj)
    if not isinstance(obj, Event):
        page.events(sheet, await _events_about(session, obj), now)
    return str(sheet)


async def _pods_of_node(session: Session, sheet: page.Page, node: Node) -> None:
    pods = await session.client.list(Pod, all_namespaces=True, field_selector=f"spec.nodeName={node.metadata.name}")
    with sheet.section(f"Pods ({len(pods)})"):
        rows = [[p.metadata.namespace, p.metadata.name, phase_word(p)] for p in pods]
        sheet.table(["NAMESPACE", "NAME", "STATUS"], rows)


async def _events_about(session: Session, obj: Any) -> list[Event]:
    return await session.client.list(
        Event,
        namespace=obj.metadata.namespace or "default",
        field_selector=f"involvedObject.uid={obj.metadata.uid}",
    )
