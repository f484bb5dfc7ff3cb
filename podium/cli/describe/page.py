"""A page of `Key:  value` lines and indented sections, as `kubectl describe` prints them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from podium.cli.output import table
from podium.cli.output.age import age

_WIDTH = 18

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The whole manifest once more, as kubectl notes it: long, and of a Secret its values."""


class Page:
    """Gathers lines; `section` indents what is added inside."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._indent = 0

    def field(self, key: str, value: object) -> None:
        """`Key:   value`; left out when the value is empty."""
        text = str(value)
        if text:
            first, *more = text.split("\n")
            self._add(f"{key + ':':<{_WIDTH}} {first}")
            for line in more:
                self._add(f"{'':<{_WIDTH}} {line}")

    def mapping(self, key: str, values: Mapping[str, str]) -> None:
        """`Key:  a=b` with the rest below."""
        self.field(key, "\n".join(f"{k}={v}" for k, v in sorted(values.items())) or "<none>")

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table inside the page."""
        for line in table.lines(headers, rows):
            self._add(line)

    @contextmanager
    def section(self, title: str) -> Iterator[None]:
        """`Title:` and an indented block."""
        self._add(f"{title}:")
        self._indent += 2
        yield
        self._indent -= 2

    def _add(self, line: str) -> None:
        self._lines.append((" " * self._indent + line).rstrip())

    def __str__(self) -> str:
        return "\n".join(self._lines)


def header(page: Page, obj: Any) -> None:
    """Name, namespace, labels, annotations, owner, deletion."""
    meta = obj.metadata
    page.field("Name", meta.name)
    page.field("Namespace", meta.namespace)
    page.mapping("Labels", meta.labels)
    page.mapping("Annotations", {key: value for key, value in meta.annotations.items() if key != _LAST_APPLIED})
    page.field("Created", when(meta.creation_timestamp))
    for owner in meta.owner_references:
        page.field("Controlled By" if owner.controller else "Owned By", f"{owner.kind}/{owner.name}")
    if meta.HasField("deletion_timestamp"):
        page.field("Deleting since", when(meta.deletion_timestamp))
        page.field("Finalizers", ", ".join(meta.finalizers))


def conditions(page: Page, found: Iterable[Any], now: datetime.datetime) -> None:
    """The conditions' table."""
    rows = [[c.type, c.status, age(c.last_transition_time, now), c.reason, c.message] for c in found]
    if rows:
        with page.section("Conditions"):
            page.table(["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"], rows)


def events(page: Page, found: Sequence[Any], now: datetime.datetime) -> None:
    """The newest events last."""
    if not found:
        page.field("Events", "<none>")
        return
    with page.section("Events"):
        rows = [
            [e.type, e.reason, age(e.last_timestamp, now) + (f" (x{e.count})" if e.count > 1 else ""),
             e.reporting_component or e.source.component, e.message.strip()]
            for e in sorted(found, key=lambda e: (e.last_timestamp.seconds, e.last_timestamp.nanos))
        ]  # fmt: skip
        page.table(["TYPE", "REASON", "AGE", "FROM", "MESSAGE"], rows)


def when(stamp: Timestamp) -> str:
    """A time as RFC 3339, empty when unset."""
    return stamp.ToDatetime(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if stamp.seconds else ""
