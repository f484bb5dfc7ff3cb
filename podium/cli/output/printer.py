"""`-o`: table (default), wide, name, json, yaml, jsonpath=…; one class decides, commands only hand objects over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
from google.protobuf.message import Message

from podium.aio.clock import SystemClock
from podium.cli.output import table
from podium.cli.output.columns import Column, cells, columns_of
from podium.codec.json import to_dict
from podium.errors import BadRequest
from podium.objects.kinds import Kind, kind_of

FORMATS = ("wide", "name", "json", "yaml", "jsonpath=TEMPLATE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How to print. `format` is what followed `-o`, empty for the table."""

    format: str = ""
    no_headers: bool = False
    show_labels: bool = False
    namespaces: bool = False

    def __post_init__(self) -> None:
        if self.format not in ("", "wide", "name", "json", "yaml") and not self.format.startswith("jsonpath="):
            raise BadRequest(f'unknown output format "{self.format}"; expected one of {", ".join(FORMATS)}')

    @property
    def is_table(self) -> bool:
        """Whether objects become rows."""
        return self.format in ("", "wide")


def print_objects(groups: Sequence[tuple[Kind, Sequence[Message]]], style: Style, *, single: bool = False) -> None:
    """Print objects, grouped by kind. `single`: exactly one was asked for by name, so no List around it."""
    objects = [obj for _, group in groups for obj in group]
    if style.is_table:
        shown = [(kind, group) for kind, group in groups if group]
        for index, (kind, group) in enumerate(shown):
            click.echo(("\n" if index else "") + table_text(kind, group, style, prefix=len(groups) > 1))
    elif style.format == "name":
        for obj in objects:
            click.echo(name_of(obj))
    else:
        click.echo(structured(objects, style.format, single=single))


def table_text(kind: Kind, objects: Sequence[Message], style: Style, *, prefix: bool = False) -> str:
    """A table of objects of one kind; `prefix` writes names as `kind/name`."""
    columns = _columns(kind, style)
    now = SystemClock().now()
    rows = [cells(obj, columns, now) for obj in objects]
    if prefix:
        at = next((i for i, c in enumerate(columns) if c.header == "NAME"), None)
        for row in rows:
            if at is not None:
                row[at] = f"{kind.qualified}/{row[at]}"
    return table.render([c.header for c in columns], rows, no_headers=style.no_headers)


def _columns(kind: Kind, style: Style) -> list[Column]:
    return columns_of(kind, wide=style.format == "wide", namespaces=style.namespaces, labels=style.show_labels)


class Changes:
    """Prints objects of one kind as they are listed and as they change: rows of one table, or documents in turn."""

    def __init__(self, kind: Kind, style: Style) -> None:
        self._kind, self._style = kind, style
        self._columns = _columns(kind, style)
        self._table = table.GrowingTable([c.header for c in self._columns], no_headers=style.no_headers)

    def show(self, objects: Sequence[Message]) -> None:
        """Print these."""
        if not self._style.is_table:
            for obj in objects:
                print_objects([(self._kind, [obj])], self._style, single=True)
            return
        now = SystemClock().now()
        for line in self._table.add([cells(obj, self._columns, now) for obj in objects]) if objects else ():
            click.echo(line)


def name_of(obj: Any) -> str:
    """`deployment.apps/web`."""
    return f"{kind_of(obj).qualified}/{obj.metadata.name}"


def structured(objects: Sequence[Message], format: str, *, single: bool) -> str:
    """Objects as JSON, YAML or by a JSONPath template."""
    items = [to_dict(obj) for obj in objects]
    data: dict[str, Any] = (
        items[0] if single and len(items) == 1 else {"apiVersion": "v1", "kind": "List", "items": items}
    )
    if format == "json":
        return json.dumps(data, indent=4)
    if format == "yaml":
        from podium.codec.yaml import dump_data

        return dump_data(data).rstrip("\n")
    from podium.cli.output.jsonpath import evaluate

    return evaluate(format.removeprefix("jsonpath="), data)
