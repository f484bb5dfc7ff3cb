"""Amounts of pods: a number, or a percentage."""

from __future__ import annotations

from master.admission.validation import names
from master.admission.validation.walk import Findings
from podium.errors import Violation
from podium.v1.meta_pb2 import IntOrString


def share(value: IntOrString, path: str, findings: Findings) -> int | None:
    """A number, or a percentage of at most 100; None when it is neither."""
    found = amount(value, path, findings)
    if value.WhichOneof("value") == "str_value" and found is not None and found > 100:
        findings.append(Violation(path, f"must be at most 100%, not {found}%"))
    return found


def amount(value: IntOrString, path: str, findings: Findings) -> int | None:
    """A number of pods or of percent; None when it is neither."""
    if value.WhichOneof("value") == "str_value":
        percent = names.percentage(value.str_value)
        if percent is None:
            form = "must be an integer, or a percentage such as 25%"
            findings.append(Violation(path, f'{form}, not "{value.str_value}"'))
        return percent
    if value.int_value < 0:
        findings.append(Violation(path, f"must be at least 0, not {value.int_value}"))
        return None
    return value.int_value
