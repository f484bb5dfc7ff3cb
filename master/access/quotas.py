"""The quota ledger: how much each namespace uses, to the object, including what is admitted and not yet visible.

One master writes, and every write is planned in one step of its event loop. So it is enough to know, in memory, what is
visible (in the cache) and what is on its way to disk:

    plan ── check and hold ──► store (group commit) ──► cache shows it ── the hold is released
                                    └── refused, failed ── the hold is released

An account (one a quota) keeps for every object what it uses, and what writes on the way will make it use. The object
counts as the greatest of these, for each resource. So an object that has just become visible is not counted twice while
its hold still stands, two creates of one name count once, and it does not matter which of the two is noticed first. No
write waits for another, and no write costs an fsync more.

Nothing of it is stored: the accounts follow from the objects in the cache, so after a crash they are what the disk
says.

A namespace without quotas costs a write one look into a dictionary.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Counter

from master.access.holds import Hold
from master.cache.cache import WatchCache
from master.cache.item import Event
from podium.aio.clock import Clock
from podium.errors import Forbidden
from podium.objects.kinds import KINDS, Key
from podium.objects.quotas import Terms, Usage, counts_until
from podium.v1.core_pb2 import Pod
from podium.v1.policy_pb2 import ResourceQuota

REFUSED = Counter("podium_master_quota_refused_total", "Writes refused because of a quota.", ["kind"])

_QUOTA = "ResourceQuota"
_FOLLOWED = [kind.name for kind in KINDS if kind.namespaced and kind.name != "Event"]

QuotaName = tuple[str, str]
"""Namespace and name."""


class Account:
    """What is used of one quota. Amounts are in the order of the terms' resources."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._nothing = terms.nothing
        self._used: dict[Key, Usage] = {}
        self._held: dict[Key, dict[Hold, Usage]] = {}
        self.used = self.total = self._nothing

    def see(self, key: Key, usage: Usage | None) -> bool:
        """Note what a visible object uses, or that it is gone; whether anything has changed."""
        before, effective = self._used.get(key), self._effective(key)
        if usage == before:
            return False
        if usage is None:
            del self._used[key]
        else:
            self._used[key] = usage
        self.used = _moved(self.used, before or self._nothing, usage or self._nothing)
        self.total = _moved(self.total, effective, self._effective(key))
        return True

    def hold(self, hold: Hold, usage: Usage) -> None:
        """Note what a write on its way will make its object use."""
        effective = self._effective(hold.key)
        self._held.setdefault(hold.key, {})[hold] = usage
        self.total = _moved(self.total, effective, self._effective(hold.key))

    def release(self, hold: Hold) -> None:
        """The write has become visible, or has failed."""
        effective = self._effective(hold.key)
        held = self._held.get(hold.key, {})
        held.pop(hold, None)
        if not held:
            self._held.pop(hold.key, None)
        self.total = _moved(self.total, effective, self._effective(hold.key))

    def _effective(self, key: Key) -> Usage:
        usage = self._used.get(key, self._nothing)
        held = self._held.get(key)
        if held is not None:
            for each in held.values():
                usage = tuple(map(max, usage, each))
        return usage

    def shows(self, key: Key, usage: Usage) -> bool:
        """Whether a visible object uses so much already. A write on its way is no reason to hold less: it may fail."""
        return all(map(int.__ge__, self._used.get(key, self._nothing), usage))

    def raised(self, key: Key, usage: Usage) -> Usage:
        """How much more is used when an object uses so much; zero where it is no more than it does."""
        return tuple([max(0, new - now) for new, now in zip(usage, self._effective(key), strict=True)])

    def exceeded(self, raised: Usage) -> list[str]:
        """The resources of which there would be too much."""
        resources = zip(self.terms.resources, raised, self.total, self.terms.hard, strict=True)
        return [name for name, more, total, hard in resources if more and total + more > hard]


def _moved(total: Usage, before: Usage, after: Usage) -> Usage:
    if before == after:
        return total
    return tuple([amount - old + new for amount, old, new in zip(total, before, after, strict=True)])


@dataclass(slots=True)
class _Governed:
    """A namespace with quotas."""

    accounts: dict[str, Account] = field(default_factory=dict)
    holds: set[Hold] = field(default_factory=set)


class QuotaLedger:
    """See the module. Made on a loaded cache, which it follows for as long as that lives."""

    def __init__(self, cache: WatchCache, clock: Clock) -> None:
        self._cache, self._clock = cache, clock
        self._governed: dict[str, _Governed] = {}
        self._ending: list[tuple[float, Key]] = []
        self._changed: set[QuotaName] = set()
        self._change = asyncio.Event()
        for item in cache.tables[_QUOTA].scan():
            self._open(item.message)
        cache.follow(_FOLLOWED, self._follow)

    # ------------------------------------------------------------ writes

    def hold(self, key: Key, message: Any, *, dry_run: bool) -> Hold | None:
        """Admit a write that makes the object of this key `message`; None when it makes no quota be used more.

        The hold must be released when the write is visible or has failed. A dry run is only checked.

        Raises:
            Forbidden: A quota is exceeded; says which, by what, and how much is used. Or the object does not say how
                much it asks for, which the quota must know.
        """
        governed = self._governed.get(key.namespace)
        if governed is None or key.kind == "Event":
            return None
        now = self._now()
        self._end(now)
        usages = self._admitted(governed, key, message, now)
        if dry_run or not usages:
            return None
        hold = Hold(key, message, self)
        governed.holds.add(hold)
        for account, usage in usages:
            account.hold(hold, usage)
        return hold

    def _admitted(self, governed: _Governed, key: Key, message: Any, now: float) -> list[tuple[Account, Usage]]:
        admitted: list[tuple[Account, Usage]] = []
        created = self._cache.get(key) is None
        for account in governed.accounts.values():
            terms = account.terms
            if key.kind not in terms.kinds:
                continue
            usage = terms.usage(message, now)
            if account.shows(key, usage):
                continue
            raised = account.raised(key, usage)
            if created and isinstance(message, Pod) and (unsaid := terms.unsaid(message)):
                REFUSED.labels(key.kind).inc()
                raise _unsaid(terms, key, unsaid)
            if exceeded := account.exceeded(raised):
                REFUSED.labels(key.kind).inc()
                raise _exceeded(account, key, raised, exceeded)
            admitted.append((account, usage))
        return admitted

    def released(self, hold: Hold) -> None:
        """See `master.access.holds.Holder`."""
        governed = self._governed.get(hold.key.namespace)
        if governed is not None:
            governed.holds.discard(hold)
            for account in governed.accounts.values():
                account.release(hold)
            self._forget_if_free(hold.key.namespace, governed)

    # ------------------------------------------------------------ what is used

    def used(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """What visible objects use of a quota, as quantities; None when there is no such quota."""
        self._end(self._now())
        governed = self._governed.get(namespace)
        account = governed.accounts.get(name) if governed is not None else None
        return account.terms.quantities(account.used) if account is not None else None

    async def changed(self) -> Iterable[QuotaName]:
        """The quotas of which more or less is used than when this was last asked; waits for one."""
        await self._change.wait()
        self._change.clear()
        changed, self._changed = self._changed, set()
        return changed

    def ends_in(self, namespace: str) -> float | None:
        """In how many seconds the next pod of a namespace ceases to count by itself; None when none does."""
        now = self._now()
        return min((max(0.0, at - now) for at, key in self._ending if key.namespace == namespace), default=None)

    # ------------------------------------------------------------ following the cache

    def _follow(self, events: Iterable[Event]) -> None:
        now = self._now() if self._governed else 0.0
        for event in events:
            key = event.new.key
            if key.kind == _QUOTA:
                self._set(event.new.message, event.removed)
            governed = self._governed.get(key.namespace)
            if governed is not None:
                self._see(governed, key, None if event.removed else event.new.message, now)

    def _see(self, governed: _Governed, key: Key, message: Any, now: float) -> None:
        for name, account in governed.accounts.items():
            self._count(name, account, key, message, now)
        if key.kind == "Pod" and message is not None and (until := counts_until(message)) is not None and until >= now:
            heapq.heappush(self._ending, (until, key))

    def _count(self, name: str, account: Account, key: Key, message: Any, now: float) -> None:
        if key.kind in account.terms.kinds:
            usage = None if message is None else account.terms.usage(message, now)
            if account.see(key, usage):
                self._mark(key.namespace, name)

    def _end(self, now: float) -> None:
        """Count no longer what has been on its way out for too long."""
        while self._ending and self._ending[0][0] < now:
            _, key = heapq.heappop(self._ending)
            governed, item = self._governed.get(key.namespace), self._cache.get(key)
            if governed is not None and item is not None:
                self._see(governed, key, item.message, now)

    def _set(self, quota: ResourceQuota, removed: bool) -> None:
        namespace, name = quota.metadata.namespace, quota.metadata.name
        governed = self._governed.get(namespace)
        if removed:
            if governed is not None:
                governed.accounts.pop(name, None)
                self._forget_if_free(namespace, governed)
        elif governed is None or name not in governed.accounts or governed.accounts[name].terms != Terms.of(quota):
            self._open(quota)

    def _open(self, quota: ResourceQuota) -> None:
        """Begin an account, or begin it anew: from what is visible, and what is on its way."""
        namespace, name, now = quota.metadata.namespace, quota.metadata.name, self._now()
        governed = self._governed.setdefault(namespace, _Governed())
        others, account = governed.accounts, Account(Terms.of(quota))
        governed.accounts = {name: account}
        for kind in account.terms.kinds:
            for item in self._cache.tables[kind].scan(namespace):
                self._see(governed, item.key, item.message, now)
        for hold in governed.holds:
            if hold.key.kind in account.terms.kinds:
                account.hold(hold, account.terms.usage(hold.message, now))
        governed.accounts = others | governed.accounts
        self._mark(namespace, name)

    def _forget_if_free(self, namespace: str, governed: _Governed) -> None:
        if not governed.accounts and not governed.holds:
            self._governed.pop(namespace, None)

    def _mark(self, namespace: str, name: str) -> None:
        self._changed.add((namespace, name))
        self._change.set()

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _exceeded(account: Account, key: Key, raised: Usage, resources: list[str]) -> Forbidden:
    terms = account.terms
    requested, used, limited = (terms.told(u, resources) for u in (raised, account.total, terms.hard))
    return Forbidden(
        f'{key.kind} "{key.name}" is forbidden: exceeded quota: {terms.name}, '
        f"requested: {requested}, used: {used}, limited: {limited}",
        {"quota": terms.name, "requested": requested, "used": used, "limited": limited},
    )


def _unsaid(terms: Terms, key: Key, unsaid: str) -> Forbidden:
    return Forbidden(
        f'{key.kind} "{key.name}" is forbidden: failed quota: {terms.name}: must specify {unsaid} '
        "(in resources of these containers; a LimitRange can give defaults)",
        {"quota": terms.name, "unspecified": unsaid},
    )
