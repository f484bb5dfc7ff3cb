"""Admission: what every write passes between authorization and the store. Pure; the order is defaulting (the
namespace's defaults last), validation, the namespace's bounds."""

from __future__ import annotations

from typing import Any

from master.admission.defaults import apply_defaults
from master.admission.limit_ranges import apply_limits, check_limits
from master.admission.priority import PriorityClasses, check_only_default, resolve_priority
from master.admission.surroundings import NONE, Surroundings
from master.admission.validation import validate, validate_status
from podium.errors import Violation
from podium.objects.kinds import kind_of
from podium.objects.refusal import refusal
from podium.v1.core_pb2 import Pod
from podium.v1.policy_pb2 import PriorityClass

__all__ = ["admit", "admit_status", "apply_defaults", "check_bounds", "check_size", "validate", "validate_status"]

MAX_OBJECT_BYTES = 1536 * 1024
"""Largest object that is stored, encoded."""


def admit(obj: Any, old: Any = None, around: Surroundings = NONE) -> None:
    """Default an object in place, and check it.

    Args:
        obj: To be stored.
        old: What it replaces, unless it is new.
        around: The policies where it is to live.

    Raises:
        Invalid: Names every field at fault.
        Forbidden: It is beyond the bounds of its namespace.
    """
    violations = _resolved(obj, around.priority_classes) if old is None else []
    apply_defaults(obj)
    if around.limit_ranges and old is None and isinstance(obj, Pod):
        apply_limits(obj, around.limit_ranges)
    violations += validate(obj, old)
    if isinstance(obj, PriorityClass) and around.priority_classes is not None:
        violations += check_only_default(obj, around.priority_classes)
    if violations:
        raise refusal(_subject(obj), violations)
    if around.limit_ranges and (old is None or (obj.spec != old.spec and not isinstance(obj, Pod))):
        check_limits(obj, around.limit_ranges)


def check_bounds(obj: Any, around: Surroundings) -> None:
    """Check what is asked for anew against the bounds of the namespace.

    Raises:
        Forbidden: It is beyond them.
    """
    if around.limit_ranges:
        check_limits(obj, around.limit_ranges)


def check_size(obj: Any, encoded: bytes) -> None:
    """Check what an object takes, once it is encoded: finding out before would be to encode it twice.

    Raises:
        Invalid: It is too much.
    """
    if len(encoded) > MAX_OBJECT_BYTES:
        said = f"the object must be at most {MAX_OBJECT_BYTES} bytes encoded, not {len(encoded)}"
        raise refusal(_subject(obj), [Violation("metadata", said)])


def _resolved(obj: Any, classes: PriorityClasses | None) -> list[Violation]:
    return resolve_priority(obj, classes) if classes is not None and isinstance(obj, Pod) else []


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
