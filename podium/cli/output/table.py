"""Plain aligned tables: three spaces between columns, headers in upper case, nothing that breaks `awk`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def render(headers: Sequence[str], rows: Iterable[Sequence[str]], *, no_headers: bool = False) -> str:
    """The table as text, without a final newline."""
    return "\n".join(lines(headers, list(rows), no_headers=no_headers))


def lines(headers: Sequence[str], rows: Sequence[Sequence[str]], *, no_headers: bool = False) -> list[str]:
    """The table line by line."""
    everything = [*([] if no_headers else [headers]), *rows]
    widths = [max((len(row[i]) for row in everything), default=0) for i in range(len(headers))]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in everything
    ]
