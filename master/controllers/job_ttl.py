"""TTL after finished: a Job goes with its pods `ttlSecondsAfterFinished` after it was Complete or Failed (KEP-592)."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from master.access.protocol import Change, ChangeType, Reader, Writer, component
from master.reconcile.protocol import After, Done, Outcome, Trigger
from podium.aio.clock import Clock
from podium.errors import Conflict, NotFound
from podium.objects.job import finish_time
from podium.objects.kinds import Key, key_of
from podium.objects.meta import is_terminating
from podium.v1.batch_pb2 import Job
from podium.v1.meta_pb2 import DeleteOptions, Preconditions

_BY = component("controller:ttl-after-finished")


def expires_in(job: Job, now: datetime.datetime) -> float | None:
    """Seconds until a Job is to go, at most 0 when that is over; None while it stays."""
    finished = finish_time(job)
    if finished is None or not job.spec.HasField("ttl_seconds_after_finished") or is_terminating(job):
        return None
    return finished + job.spec.ttl_seconds_after_finished - now.timestamp()


class JobTtlController:
    """See the module."""

    name = "ttl-after-finished"
    workers = 4

    def __init__(self, *, reader: Reader, writer: Writer, clock: Clock) -> None:
        self._reader, self._writer, self._clock = reader, writer, clock
        self.triggers = (Trigger(Job, self._keys),)

    async def reconcile(self, key: Key) -> Outcome:
        """Delete a Job whose time has come."""
        job = self._reader.get(Job, key.namespace, key.name)
        left = expires_in(job, self._clock.now()) if job is not None else None
        if job is None or left is None:
            return Done()
        if left > 0:
            return After(left, f"goes in {left:.0f} s")
        options = DeleteOptions(
            propagation_policy="Foreground",
            preconditions=Preconditions(uid=job.metadata.uid, resource_version=job.metadata.resource_version),
        )
        try:
            await self._writer.delete(key, by=_BY, options=options)
        except (NotFound, Conflict):
            return Done("was deleted or changed in the meantime")
        return Done("its time was over")

    def _keys(self, change: Change[Job]) -> Iterable[Key]:
        gone = change.type is ChangeType.DELETED
        return () if gone or expires_in(change.new, self._clock.now()) is None else (key_of(change.new),)
