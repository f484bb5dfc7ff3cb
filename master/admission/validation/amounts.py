"""Rules of quantities by resource name: that they can be read, and how small they may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

from master.admission.validation.walk import Findings
from podium.errors import BadRequest, Violation
from podium.objects import quantity


def readable(amounts: Mapping[str, str], path: str, findings: Findings) -> dict[str, Fraction]:
    """Amounts by resource name; those that cannot be read, or are negative, are noted and left out."""
    read: dict[str, Fraction] = {}
    for name, amount in _parsed(amounts, path, findings):
        if amount < 0:
            findings.append(Violation(f"{path}[{name}]", f"must be at least 0, not {amounts[name]}"))
        else:
            read[name] = amount
    return read


def not_negative(amounts: Mapping[str, str], path: str, findings: Findings) -> None:
    """All can be read, and are zero or more."""
    _ = readable(amounts, path, findings)


def positive(amounts: Mapping[str, str], path: str, findings: Findings) -> None:
    """All can be read, and are more than zero."""
    for name, amount in _parsed(amounts, path, findings):
        if amount <= 0:
            findings.append(Violation(f"{path}[{name}]", f"must be more than 0, not {amounts[name]}"))


def _parsed(amounts: Mapping[str, str], path: str, findings: Findings) -> Iterator[tuple[str, Fraction]]:
    for name, text in amounts.items():
        try:
            yield name, quantity.parse(text)
        except BadRequest as error:
            findings.append(Violation(f"{path}[{name}]", error.message))
