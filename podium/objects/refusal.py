"""How a refused object is worded: every field at fault, in one sentence and as data."""

from __future__ import annotations

from collections.abc import Sequence

from podium.errors import Invalid, Violation


def refusal(subject: str, violations: Sequence[Violation]) -> Invalid:
    """The error for `subject` (`Deployment "web"`), naming every violation."""
    return Invalid(f"{subject} is invalid: {'; '.join(map(str, violations))}", violations=tuple(violations))
