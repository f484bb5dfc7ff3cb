"""Plain aligned tables: three spaces between columns, headers in upper case, nothing that breaks `awk`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def render(headers: Sequence[str], rows: Iterable[Sequence[str]], *, no_headers: bool = False) -> str:
    """The table as text, without a final newline."""
    return "\n".join(lines(headers, list(rows), no_headers=no_headers))


def lines(headers: Sequence[str], rows: Sequence[Sequence[str]], *, no_headers: bool = False) -> list[str]:
    """The table line by line."""
    return GrowingTable(headers, no_headers=no_headers).add(rows)


class GrowingTable:
    """A table that is printed while it grows: columns keep their widths, and widen when they must."""

    def __init__(self, headers: Sequence[str], *, no_headers: bool = False) -> None:
        self._widths = [0] * len(headers)
        self._pending: list[Sequence[str]] = [] if no_headers else [headers]

    def add(self, rows: Sequence[Sequence[str]]) -> list[str]:
        """The lines of these rows; the headers' line before the first."""
        new, self._pending = [*self._pending, *rows], []
        self._widths = [max([width, *(len(row[i]) for row in new)]) for i, width in enumerate(self._widths)]
        return [
            "   ".join(cell.ljust(width) for cell, width in zip(row, self._widths, strict=True)).rstrip() for row in new
        ]
