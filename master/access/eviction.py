"""Evicting a pod: a delete that disruption budgets may refuse.

Whether a budget allows it is decided from the pods themselves, as they are in memory, without those whose evictions
are on their way to disk; which pods of a budget are healthy is kept in step with the cache, so that it need not be
counted for each eviction. One master writes, and a decision and its hold are one step: so evictions at once cannot
overdraw a budget. What was evicted is marked in the pod, by the same write that begins its deletion; a crash forgets
neither.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from master.access.delete import plan_delete
from master.access.holds import Hold
from master.access.planned import Planned, Situation
from master.cache.cache import WatchCache
from master.cache.item import Event, Item
from podium.errors import TooManyRequests
from podium.objects.budgets import EVICTED, Blocked, Healthy, blocked_by, facts, is_healthy, selector_of
from podium.objects.conditions import TRUE, set_condition
from podium.objects.kinds import Key, key_of
from podium.objects.meta import is_terminating
from podium.objects.pod import DISRUPTION_TARGET, RUNNING
from podium.objects.selectors import Selector
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import DeleteOptions
from podium.v1.policy_pb2 import PodDisruptionBudget

_BUDGET = "PodDisruptionBudget"
RETRY_SECONDS, RETRY_SOON_SECONDS = 2, 1
"""When to try again: after pods elsewhere may have become ready; after a budget's state is known."""


@dataclass(slots=True)
class _Watched:
    """The healthy pods of a budget."""

    selector: Selector
    healthy: set[Key] = field(default_factory=set)

    def see(self, key: Key, pod: Pod | None) -> None:
        if pod is not None and self.selector.matches(pod.metadata.labels) and is_healthy(pod):
            self.healthy.add(key)
        else:
            self.healthy.discard(key)


class Evictions:
    """Healthy pods by budget, and evictions that are on their way to disk. Made on a loaded cache, which it follows.

    What it notes of a pod is its newest state, so it does not matter whether a pod or its budget is told first.
    """

    def __init__(self, cache: WatchCache) -> None:
        self._cache = cache
        self._going: dict[Key, set[Hold]] = {}
        self._watched: dict[str, dict[str, _Watched]] = {}
        for item in cache.tables[_BUDGET].scan():
            self._watch(item.message)
        cache.follow([_BUDGET, "Pod"], self._follow)

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

    def healthy(self, budget: PodDisruptionBudget, without: Key) -> Healthy:
        """How many pods of a budget are healthy, and would be without one of them."""
        found = self._watched[budget.metadata.namespace][budget.metadata.name].healthy
        now = len(found) - sum(1 for key in self._going if key in found)
        return Healthy(now, now - (without in found and without not in self._going))

    def _follow(self, events: Iterable[Event]) -> None:
        for event in events:
            key = event.new.key
            if key.kind == _BUDGET:
                self._see_budget(key, event.new.message, event.removed)
            elif (watched := self._watched.get(key.namespace)) is not None:
                for each in watched.values():
                    each.see(key, None if event.removed else event.new.message)

    def _see_budget(self, key: Key, budget: PodDisruptionBudget, removed: bool) -> None:
        there = self._watched.get(key.namespace, {})
        if removed:
            there.pop(key.name, None)
            if not there:
                self._watched.pop(key.namespace, None)
        elif key.name not in there or there[key.name].selector != selector_of(budget):
            self._watch(budget)

    def _watch(self, budget: PodDisruptionBudget) -> None:
        namespace, watched = budget.metadata.namespace, _Watched(selector_of(budget))
        for item in self._cache.tables["Pod"].scan(namespace):
            watched.see(item.key, item.message)
        self._watched.setdefault(namespace, {})[budget.metadata.name] = watched


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
    key = key_of(pod)
    found = (item.message for item in budgets.scan(namespace))
    return blocked_by(pod, found, lambda budget: evictions.healthy(budget, key))


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
