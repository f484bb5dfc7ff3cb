"""What an object's admission depends on beside the object itself: the policies where it is going to live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from master.admission.priority import PriorityClasses
from podium.v1.policy_pb2 import LimitRange


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """See the module.

    Attributes:
        limit_ranges: Of the object's namespace, in order of name.
        priority_classes: Of the cluster.
    """

    limit_ranges: Sequence[LimitRange] = ()
    priority_classes: PriorityClasses | None = None


NONE = Surroundings()
"""Nothing that matters: of most objects, in most namespaces."""
