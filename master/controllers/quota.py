"""ResourceQuota: `status.used` says what the ledger counts.

The ledger (`master.access.quotas`) is exact at every moment and decides what is admitted; this only tells people, a
little later: changes are gathered, so that a thousand creates cost some status writes and not a thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from master.access.protocol import Reader, Writer, component
from master.reconcile.protocol import After, Done, Outcome, Trigger
from podium.aio.clock import Clock
from podium.errors import NotFound
from podium.objects.kinds import Key, key_of
from podium.v1.policy_pb2 import ResourceQuota, ResourceQuotaStatus

GATHER = 0.1
"""Seconds for which changes of what is used are gathered."""

_BY = component("controller:resourcequota")


class QuotaUsage(Protocol):
    """What is used of quotas: the ledger."""

    def used(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """What visible objects use of a quota, as quantities; None when there is no such quota."""
        ...

    async def changed(self) -> Iterable[tuple[str, str]]:
        """The quotas (namespace, name) of which more or less is used than when this was last asked; waits for one."""
        ...

    def ends_in(self, namespace: str) -> float | None:
        """In how many seconds the next pod of a namespace ceases to count by itself; None when none does."""
        ...


def quota_status(quota: ResourceQuota, used: Mapping[str, str]) -> ResourceQuotaStatus:
    """The status of a quota of which so much is used."""
    return ResourceQuotaStatus(hard=dict(quota.spec.hard), used=dict(used))


class QuotaController:
    """See the module."""

    name = "resourcequota"
    workers = 2

    def __init__(self, *, reader: Reader, writer: Writer, quotas: QuotaUsage, clock: Clock) -> None:
        self._reader, self._writer, self._quotas, self._clock = reader, writer, quotas, clock
        self.triggers = (Trigger(ResourceQuota, lambda change: [key_of(change.new)]),)

    async def watch(self, wake: Callable[[Key], None]) -> None:
        """Wake the quotas of which more or less is used than before."""
        while True:
            for namespace, name in await self._quotas.changed():
                wake(Key("ResourceQuota", namespace, name))
            await self._clock.sleep(GATHER)

    async def reconcile(self, key: Key) -> Outcome:
        """Bring the status of one quota up to date."""
        quota = self._reader.get(ResourceQuota, key.namespace, key.name)
        used = self._quotas.used(key.namespace, key.name)
        if quota is None or used is None:
            return Done("is gone")
        if quota_status(quota, used) != quota.status:
            try:
                await self._writer.mutate(ResourceQuota, *key[1:], self._change, by=_BY, subresource="status")
            except NotFound:
                return Done("is gone")
        wait = self._quotas.ends_in(key.namespace)
        return Done() if wait is None else After(wait + 1, "a pod that is being deleted will cease to count")

    def _change(self, quota: ResourceQuota) -> None:
        used = self._quotas.used(quota.metadata.namespace, quota.metadata.name)
        if used is not None:
            quota.status.CopyFrom(quota_status(quota, used))
