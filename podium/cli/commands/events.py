"""`podium events`."""

from __future__ import annotations

from typing import Any

import click

from podium.cli.output.printer import Style, print_objects, table_text
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
    found.sort(key=lambda e: (e.last_timestamp.seconds, e.last_timestamp.nanos))
    print_objects([(_EVENT, found)], style)
    if not found:
        click.echo("no events", err=True)
    if watch:
        later = Style(format=output, namespaces=all_namespaces, no_headers=True)
        async for change in session.client.watch(Event, resource_version=revision, **query):
            if change.type != "DELETED":
                click.echo(table_text(_EVENT, [change.object], later))
