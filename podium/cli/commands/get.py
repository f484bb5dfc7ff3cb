"""`podium get`."""

from __future__ import annotations

import click
from google.protobuf.message import Message

from podium.cli.output.printer import Style, print_objects, table_text
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
  podium get node -o jsonpath='{.items[*].metadata.name}'
"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND [NAME...] | KIND/NAME...")
@click.option("-o", "--output", default="", metavar="FORMAT", help="wide, name, json, yaml or jsonpath=TEMPLATE.")
@click.option("-l", "--selector", default="", help="Label selector, e.g. app=web,tier!=test.")
@click.option("--field-selector", default="", help="Field selector, e.g. spec.nodeName=node1.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of all namespaces.")
@click.option("-w", "--watch", is_flag=True, help="Go on and print changes.")
@click.option("--no-headers", is_flag=True, help="Print no headers.")
@click.option("--show-labels", is_flag=True, help="Print labels as the last column.")
@click.option("--ignore-not-found", is_flag=True, help="Say nothing of objects that do not exist.")
@command
async def get(
    session: Session, what: tuple[str, ...], output: str, selector: str, field_selector: str, all_namespaces: bool,
    watch: bool, no_headers: bool, show_labels: bool, ignore_not_found: bool,
) -> int:  # fmt: skip
    """List objects, or show some."""
    style = Style(format=output, no_headers=no_headers, show_labels=show_labels, namespaces=all_namespaces)
    targets = parse_targets(what)
    query = _Query(selector, field_selector, all_namespaces)
    if watch:
        return await _watch(session, targets, query, style)
    failed = False
    groups: dict[str, tuple[Kind, list[Message]]] = {}
    for target in targets:
        try:
            found = await _fetch(session, target, query)
        except NotFound as error:
            if not ignore_not_found:
                print_error(error)
                failed = True
            continue
        groups.setdefault(target.kind.name, (target.kind, []))[1].extend(found)
    single = len(targets) == 1 and len(targets[0].names) == 1
    if not any(group for _, group in groups.values()) and style.is_table and not failed and not ignore_not_found:
        where = "" if all_namespaces or not targets[0].kind.namespaced else f" in namespace {session.namespace}"
        click.echo(f"no {targets[0].kind.plural}{where}", err=True)
    print_objects(list(groups.values()), style, single=single)
    return 1 if failed else 0


class _Query:
    """What limits a list."""

    def __init__(self, selector: str, field_selector: str, all_namespaces: bool) -> None:
        self.selector, self.field_selector, self.all_namespaces = selector, field_selector, all_namespaces


async def _fetch(session: Session, target: Target, query: _Query) -> list[Message]:
    client = session.client
    if target.names:
        if query.selector or query.all_namespaces:
            raise BadRequest("give names, or a selector or -A, not both")
        return [await client.get(target.kind.message, name) for name in target.names]
    return await client.list(
        target.kind.message,
        all_namespaces=query.all_namespaces,
        selector=query.selector,
        field_selector=query.field_selector,
    )


async def _watch(session: Session, targets: list[Target], query: _Query, style: Style) -> int:
    if len(targets) != 1:
        raise BadRequest("-w takes one kind")
    target = targets[0]
    headers = True
    async for change in session.client.watch(
        target.kind.message,
        all_namespaces=query.all_namespaces,
        selector=query.selector,
        field_selector=query.field_selector,
    ):
        if target.names and change.key[1] not in target.names:
            continue
        if style.is_table:
            shown = Style(
                format=style.format,
                no_headers=style.no_headers or not headers,
                show_labels=style.show_labels,
                namespaces=style.namespaces,
            )
            click.echo(table_text(target.kind, [change.object], shown))
            headers = False
        else:
            print_objects([(target.kind, [change.object])], style, single=True)
    return 0
