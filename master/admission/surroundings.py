"""What an object's admission depends on beside the object itself: the policies where it is going to live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from podium.v1.policy_pb2 import LimitRange


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """See the module.

    Attributes:
        limit_ranges: Of the object's namespace, in order of name.
    """

    limit_ranges: Sequence[LimitRange] = ()


NONE = Surroundings()
"""Nothing that matters: of most objects, in most namespaces."""
