"""Go-style durations: `300ms`, `1.5h`, `1m30s`."""

from __future__ import annotations

import re

from podium.errors import BadRequest

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TERM = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
_WHOLE = re.compile(rf"[+-]?(?:(?:{_TERM.pattern})+|0)")


def seconds(text: str) -> float:
    """The duration in seconds.

    Raises:
        BadRequest: Not a duration.
    """
    if _WHOLE.fullmatch(text) is None:
        raise BadRequest(f'"{text}" is not a duration: must be numbers with units, e.g. 300ms, 90s, 1h30m')
    total = sum(float(number) * _UNITS[unit] for number, unit in _TERM.findall(text))
    return -total if text.startswith("-") else total
