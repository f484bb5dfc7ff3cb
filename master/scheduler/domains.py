"""Sums over topology domains: nodes with equal values of a label are one domain, nodes without it are in none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from master.scheduler.columns import Codes, Ints, LabelColumn

_LISTED = 8


def sums(column: LabelColumn, counts: NDArray[Any]) -> Ints:
    """The sum of `counts` over the nodes of each domain, by code; 0 for the nodes that are in none."""
    total: Ints = np.bincount(column.codes, weights=counts, minlength=len(column.values)).astype(np.int64)
    total[0] = 0
    return total


def single(codes: Codes) -> bool:
    """Whether no domain has more than one node."""
    sizes = np.bincount(codes)
    return sizes.size < 2 or bool(sizes[1:].max() <= 1)


def listed(column: LabelColumn, counts: Ints, codes: Iterable[int]) -> str:
    """`a 3, b 1`: the domains of these codes with their counts, the greatest first; of many, only some."""
    ordered = sorted(codes, key=lambda code: (-int(counts[code]), column.values[code]))
    shown = ", ".join(f"{column.values[code]} {counts[code]}" for code in ordered[:_LISTED])
    return shown + (f" and {len(ordered) - _LISTED} more" if len(ordered) > _LISTED else "")
