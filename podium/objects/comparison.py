"""Comparisons of a figure with a number, as a manifest writes them: `>= 0.99`. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

_FORM = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*", re.ASCII)
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def is_comparison(text: str) -> bool:
    """Whether `satisfies` understands it."""
    return _FORM.fullmatch(text) is not None


def satisfies(comparison: str, value: float) -> bool:
    """Whether a value satisfies it.

    Raises:
        ValueError: Not a comparison.
    """
    match = _FORM.fullmatch(comparison)
    if match is None:
        raise ValueError(f'"{comparison}" is not a comparison such as >= 0.99')
    return _OPERATORS[match[1]](value, float(match[2]))
