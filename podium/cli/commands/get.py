"""`podium get`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
from google.protobuf.message import Message

from podium.cli.complete import targets
from podium.cli.output.order import sort_objects
from podium.cli.output.printer import Changes, Style, print_objects
from podium.cli.resources import Target, parse_targets
from podium.cli.session import Session, command, print_error
from podium.errors import BadRequest, NotFound
from podium.objects.kinds import Kind


@click.command(
    epilog="""
\b
Examples:
  podium get pods                         pods of the namespace
  podium get pods -A -o wide              of all namespaces, with node and address
  podium get deploy/web -o yaml           one object, whole
  podium get po -l app=web -w             and then every change
  podium get pods --sort-by=.spec.nodeName
  podium get node -o jsonpath='{.items[*].metadata.name}'
"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND [NAME...] | KIND/NAME...", shell_complete=targets)
@click.option("-o", "--output", default="", metavar="FORMAT", help="wide, name, json, yaml or jsonpath=TEMPLATE.")
@click.option("-l", "--selector", default="", help="Label selector, e.g. app=web,tier!=test.")
@click.option("--field-selector", default="", help="Field selector, e.g. spec.nodeName=node1.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of all namespaces.")
@click.option("-w", "--watch", is_flag=True, help="Go on and print changes.")
@click.option("--sort-by", default="", metavar="JSONPATH", help="Order by a field, e.g. .status.startTime.")
@click.option("--no-headers", is_flag=True, help="Print no headers.")
@click.option("--show-labels", is_flag=True, help="Print labels as the last column.")
@click.option("--ignore-not-found", is_flag=True, help="Say nothing of objects that do not exist.")
@command
async def get(
    session: Session, what: tuple[str, ...], output: str, selector: str, field_selector: str, all_namespaces: bool,
    watch: bool, sort_by: str, no_headers: bool, show_labels: bool, ignore_not_found: bool,
) -> int:  # fmt: skip
    """List objects, or show some."""
    style = Style(format=output, no_headers=no_headers, show_labels=show_labels, namespaces=all_namespaces)
    targets = parse_targets(what)
    query = _Query(selector=selector, field_selector=field_selector, all_namespaces=all_namespaces)
    if any(t.names for t in targets) and query != _Query():
        raise BadRequest("give names, or a selector or -A, not both")
    if watch:
        await _watch(session, targets, query, style)
        return 0
    found, missing = await _fetch_all(session, targets, query)
    if not ignore_not_found:
        for error in missing:
            print_error(error)
    groups = [(kind, sort_objects(objects, sort_by)) for kind, objects in found.values()]
    single = len(targets) == 1 and len(targets[0].names) == 1
    if style.is_table and not missing and not any(objects for _, objects in groups):
        where = "" if all_namespaces or not targets[0].kind.namespaced else f" in namespace {session.namespace}"
        click.echo(f"no {', '.join(t.kind.plural for t in targets)}{where}", err=True)
    if not (single and missing):
        print_objects(groups, style, single=single)
    return 1 if missing and not ignore_not_found else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    """What limits a list."""

    selector: str = ""
    field_selector: str = ""
    all_namespaces: bool = False

    def options(self) -> dict[str, Any]:
        """As the client takes them."""
        return {
            "selector": self.selector,
            "field_selector": self.field_selector,
            "all_namespaces": self.all_namespaces,
        }


async def _fetch_all(
    session: Session, targets: Sequence[Target], query: _Query
) -> tuple[dict[str, tuple[Kind, list[Message]]], list[NotFound]]:
    """What there is of the targets, by kind, and an error for each name that does not exist."""
    found: dict[str, tuple[Kind, list[Message]]] = {}
    missing: list[NotFound] = []
    for target in targets:
        _, objects = found.setdefault(target.kind.name, (target.kind, []))
        if not target.names:
            objects.extend(await session.client.list(target.kind.message, **query.options()))
        for name in target.names:
            try:
                objects.append(await session.client.get(target.kind.message, name))
            except NotFound as error:
                missing.append(error)
    return found, missing


async def _watch(session: Session, targets: Sequence[Target], query: _Query, style: Style) -> None:
    if len(targets) != 1 or len(targets[0].names) > 1:
        raise BadRequest("-w takes one kind, or one name of it")
    kind, names = targets[0].kind, targets[0].names
    options = query.options()
    if names:
        await session.client.get(kind.message, names[0])
        options["field_selector"] = f"metadata.name={names[0]}"
    objects, revision = await session.client.list_at(kind.message, **options)
    shown = Changes(kind, style)
    shown.show(objects)
    watched = session.client.watch(kind.message, resource_version=revision, known=objects, **options)
    async for change in watched:
        shown.show([change.object])
