"""`podium events`."""

from __future__ import annotations

from typing import Any

import click

from podium.cli.output.printer import Changes, Style, print_objects
from podium.cli.resources import parse_targets
from podium.cli.session import Session, command
from podium.objects.kinds import BY_NAME
from podium.v1.core_pb2 import Event

_EVENT = BY_NAME["Event"]


@click.command(
    epilog="""
\b
Examples:
  podium events                           of the namespace, oldest first
  podium events --for deploy/web -w
  podium events -A --types=Warning
"""
)
@click.option("-A", "--all-namespaces", is_flag=True, help="Of all namespaces.")
@click.option("--for", "about", default="", metavar="KIND/NAME", help="About one object.")
@click.option("--types", default="", help="Only Normal, or only Warning.")
@click.option("-w", "--watch", is_flag=True, help="Go on as more happen.")
@click.option("-o", "--output", default="", metavar="FORMAT", help="wide, name, json, yaml or jsonpath=TEMPLATE.")
@command
async def events(session: Session, all_namespaces: bool, about: str, types: str, watch: bool, output: str) -> None:
    """Show what happened, oldest first."""
    selectors = [f"type={types}"] if types else []
    if about:
        target = parse_targets([about])[0]
        selectors += [f"involvedObject.kind={target.kind.name}", f"involvedObject.name={target.names[0]}"]
    query: dict[str, Any] = {"all_namespaces": all_namespaces, "field_selector": ",".join(selectors)}
    style = Style(format=output, namespaces=all_namespaces)
    found, revision = await session.client.list_at(Event, **query)
    found.sort(key=_when)
    if not found:
        click.echo("no events", err=True)
    if not watch:
        print_objects([(_EVENT, found)], style)
        return
    shown = Changes(_EVENT, style)
    shown.show(found)
    async for change in session.client.watch(Event, resource_version=revision, known=found, **query):
        if change.type != "DELETED":
            shown.show([change.object])


def _when(event: Event) -> tuple[int, int]:
    return event.last_timestamp.seconds, event.last_timestamp.nanos
