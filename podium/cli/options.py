"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import re

import click

from podium.errors import BadRequest

dry_run_option = click.option("--dry-run", is_flag=True, help="Change nothing; the master checks it all the same.")

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds(text: str) -> float:
    """Read a duration such as `30s`, `1m30s`, `500ms`, or plain seconds.

    Raises:
        BadRequest: It is neither.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if re.fullmatch(f"({_PART.pattern})+", text):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    raise BadRequest(f'"{text}" is not a duration; write for example 30s, 1m30s or 2h')


def done(text: str, *, dry_run: bool) -> str:
    """What to say of a change that was made, or would be."""
    return f"{text} (dry run)" if dry_run else text
