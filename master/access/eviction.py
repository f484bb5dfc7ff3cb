"""Evicting a pod: a delete that disruption budgets may refuse.

Whether a budget allows it is decided from the pods themselves, as they are in memory, without those whose evictions
are on their way to disk. One master writes, and a decision and its hold are one step: so evictions at once cannot
overdraw a budget. What was evicted is marked in the pod, by the same write that begins its deletion; a crash forgets
neither.
"""

from __future__ import annotations

import datetime
from typing import Any

from master.access.delete import plan_delete
from master.access.holds import Hold
from master.access.planned import Planned, Situation
from master.cache.item import Item
from podium.errors import TooManyRequests
from podium.objects.budgets import EVICTED, Blocked, blocked_by, facts
from podium.objects.conditions import TRUE, set_condition
from podium.objects.kinds import Key, key_of
from podium.objects.meta import is_terminating
from podium.objects.pod import DISRUPTION_TARGET, RUNNING
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import DeleteOptions

RETRY_SECONDS, RETRY_SOON_SECONDS = 2, 1
"""When to try again: after pods elsewhere may have become ready; after a budget's state is known."""


class Evictions:
    """The evictions that are on their way to disk."""

    def __init__(self) -> None:
        self._going: dict[Key, set[Hold]] = {}

    def hold(self, key: Key, message: Any) -> Hold:
        """An eviction of the pod of this key begins; the hold stands until it is visible or has failed."""
        hold = Hold(key, message, self)
        self._going.setdefault(key, set()).add(hold)
        return hold

    def released(self, hold: Hold) -> None:
        """See `master.access.holds.Holder`."""
        holds = self._going[hold.key]
        holds.discard(hold)
        if not holds:
            del self._going[hold.key]

    def going(self, pod: Pod) -> bool:
        """Whether an eviction of a pod is on its way."""
        return bool(self._going) and key_of(pod) in self._going


def plan_eviction(current: Item, options: DeleteOptions, situation: Situation, evictions: Evictions) -> Planned:
    """Decide the eviction of a pod.

    Raises:
        TooManyRequests: A disruption budget forbids it now; says which, and when to try again.
        PodiumError: As `plan_delete`.
    """
    pod: Pod = current.message
    if pod.status.phase != RUNNING or is_terminating(pod):
        return plan_delete(current, options, situation)
    blocked = _blocked(pod, situation, evictions)
    if blocked is not None:
        raise _refusal(pod, blocked)

    def mark(obj: Pod) -> None:
        _mark(obj, situation.now)

    return plan_delete(current, options, situation, mark=mark)._replace(evicts=True)


def _blocked(pod: Pod, situation: Situation, evictions: Evictions) -> Blocked | None:
    namespace = pod.metadata.namespace
    budgets = situation.cache.tables["PodDisruptionBudget"]
    if not budgets.size(namespace):
        return None
    pods = (item.message for item in situation.cache.tables["Pod"].scan(namespace))
    return blocked_by(pod, (item.message for item in budgets.scan(namespace)), pods, evictions.going)


def _refusal(pod: Pod, blocked: Blocked) -> TooManyRequests:
    seconds = RETRY_SOON_SECONDS if blocked.pending else RETRY_SECONDS
    return TooManyRequests(
        f'Pod "{pod.metadata.name}" cannot be evicted now: {blocked}; try again in {seconds} s',
        dict(facts(blocked, seconds)),
    )


def _mark(pod: Pod, now: datetime.datetime) -> None:
    set_condition(
        pod.status.conditions, DISRUPTION_TARGET, TRUE, now=now, reason=EVICTED, message="Eviction API: evicting"
    )
