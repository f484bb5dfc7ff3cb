"""Reading and writing `status.conditions`: the transition time moves only when the status does."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, MutableSequence

from podium.objects.meta import timestamp
from podium.v1.meta_pb2 import Condition

TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"


def get_condition(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of this type, or None."""
    for condition in conditions:
        if condition.type == type_:
            return condition
    return None


def condition_status(conditions: Iterable[Condition], type_: str) -> str:
    """`True`, `False` or `Unknown`; an absent condition is unknown."""
    found = get_condition(conditions, type_)
    return found.status if found is not None else UNKNOWN


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    """Whether the condition is there and True."""
    return condition_status(conditions, type_) == TRUE


def set_condition(
    conditions: MutableSequence[Condition],
    type_: str,
    status: str,
    *,
    now: datetime.datetime,
    reason: str = "",
    message: str = "",
    observed_generation: int = 0,
    stamp_update: bool = False,
) -> bool:
    """Add or change a condition in place; whether anything but a time stamp changed.

    Args:
        conditions: The repeated field.
        type_: Which condition.
        status: `True`, `False` or `Unknown`.
        now: Becomes lastTransitionTime when the status changes (and lastUpdateTime on any change, if stamped).
        reason: One CamelCase word.
        message: For people.
        observed_generation: The generation that this was concluded from; 0 leaves the field alone.
        stamp_update: Keep lastUpdateTime, as Deployment conditions do.
    """
    current = get_condition(conditions, type_)
    moved = current is None or current.status != status
    if current is None:
        conditions.append(Condition(type=type_))
        current = conditions[-1]
    changed = moved or current.reason != reason or current.message != message
    if observed_generation and current.observed_generation != observed_generation:
        current.observed_generation = observed_generation
        changed = True
    current.status, current.reason, current.message = status, reason, message
    if moved:
        current.last_transition_time.CopyFrom(timestamp(now))
    if changed and stamp_update:
        current.last_update_time.CopyFrom(timestamp(now))
    return changed


def remove_condition(conditions: MutableSequence[Condition], type_: str) -> bool:
    """Drop the condition of this type; whether it was there."""
    for index, condition in enumerate(conditions):
        if condition.type == type_:
            del conditions[index]
            return True
    return False
