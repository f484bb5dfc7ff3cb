"""Admission: what every write passes between authorization and the store. Pure; the order is defaulting, then
validation."""

from __future__ import annotations

from typing import Any

from master.admission.defaults import apply_defaults
from master.admission.validation import validate, validate_status
from podium.objects.kinds import kind_of
from podium.objects.refusal import refusal

__all__ = ["admit", "admit_status", "apply_defaults", "validate", "validate_status"]


def admit(obj: Any, old: Any = None) -> None:
    """Default an object in place, and check it.

    Args:
        obj: To be stored.
        old: What it replaces, unless it is new.

    Raises:
        Invalid: Names every field at fault.
    """
    apply_defaults(obj)
    violations = validate(obj, old)
    if violations:
        raise refusal(_subject(obj), violations)


def admit_status(obj: Any, old: Any) -> None:
    """Check a change of status only.

    Raises:
        Invalid: Names every field at fault.
    """
    violations = validate_status(obj, old)
    if violations:
        raise refusal(_subject(obj), violations)


def _subject(obj: Any) -> str:
    return f'{kind_of(obj).name} "{obj.metadata.name or obj.metadata.generate_name}"'
