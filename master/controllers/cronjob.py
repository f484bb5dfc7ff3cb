"""CronJob: starts a Job for each firing of a schedule. `cronjob_plan` decides.

First the Job is created, then the status says so. A master that dies in between finds the Job by its name, which
follows from the firing; one that was away serves the last firing it missed, if startingDeadlineSeconds allows.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

from master.access.protocol import Change, ChangeType, Delete, EventRecorder, Reader, Writer, component
from master.controllers.cronjob_plan import CronPlan, cron_job_of, plan_cronjob, reference_to
from master.controllers.ownership import controller_key
from master.reconcile.protocol import After, Done, Outcome, Trigger
from podium.aio.clock import Clock
from podium.errors import AlreadyExists, Conflict, NotFound, PodiumError
from podium.objects.job import is_finished
from podium.objects.kinds import Key, key_of
from podium.objects.meta import qualified_name
from podium.objects.owners import is_controlled_by
from podium.v1.batch_pb2 import CronJob, CronJobStatus, Job
from podium.v1.meta_pb2 import DeleteOptions, Preconditions

_BY = component("controller:cronjob")


class CronJobController:
    """See the module."""

    name = "cronjob"
    workers = 4

    def __init__(self, *, reader: Reader, writer: Writer, events: EventRecorder, clock: Clock) -> None:
        self._reader, self._writer, self._events, self._clock = reader, writer, events, clock
        self.triggers = (Trigger(CronJob, _keys_of_cronjob), Trigger(Job, _keys_of_job))

    async def reconcile(self, key: Key) -> Outcome:
        """Start what is due, forget what is old, and say so."""
        cron = self._reader.get(CronJob, key.namespace, key.name)
        if cron is None:
            return Done("is gone")
        plan = plan_cronjob(cron, self._jobs(cron), self._clock.now())
        for note in plan.notes:
            (self._events.warning if note.warning else self._events.normal)(cron, note.reason, note.message)
        await self._delete([*plan.replace, *plan.forget])
        for job in plan.replace:
            self._events.normal(cron, "SuccessfulDelete", f"Deleted job {job.metadata.name}")
        started = await self._start(cron, plan.start) if plan.start is not None else None
        await self._write_status(cron, plan, started)
        return Done(plan.because) if plan.wait is None else After(plan.wait, plan.because)

    def _jobs(self, cron: CronJob) -> list[Job]:
        return [job for job in self._reader.owned_by(Job, cron.metadata.uid) if is_controlled_by(job, cron)]

    async def _start(self, cron: CronJob, firing: datetime.datetime) -> Job:
        wanted = cron_job_of(cron, firing)
        try:
            made = await self._writer.create(wanted, by=_BY)
        except AlreadyExists:
            there = self._reader.get(Job, wanted.metadata.namespace, wanted.metadata.name)
            if there is None or not is_controlled_by(there, cron):
                raise Conflict(f"the name of the Job {qualified_name(wanted)} is taken by another's") from None
            return there
        except PodiumError as error:
            self._events.warning(cron, "FailedCreate", f"Error creating job: {error.message}")
            raise
        self._events.normal(cron, "SuccessfulCreate", f"Created job {made.metadata.name}")
        return made

    async def _delete(self, jobs: Sequence[Job]) -> None:
        writes = [
            Delete(
                key_of(job),
                DeleteOptions(propagation_policy="Background", preconditions=Preconditions(uid=job.metadata.uid)),
            )
            for job in jobs
        ]
        for result in await self._writer.write_many(writes, by=_BY) if writes else ():
            if isinstance(result, PodiumError) and not isinstance(result, NotFound | Conflict):
                raise result

    async def _write_status(self, cron: CronJob, plan: CronPlan, started: Job | None) -> None:
        status = CronJobStatus()
        status.CopyFrom(plan.status)
        if started is not None and not is_finished(started):
            known = {reference.uid for reference in status.active}
            if started.metadata.uid not in known:
                status.active.append(reference_to(started))
        if status == cron.status:
            return

        def change(obj: CronJob) -> None:
            if obj.metadata.uid != cron.metadata.uid or obj.status != cron.status:
                raise Conflict(f"{qualified_name(obj)} has another status now")
            obj.status.CopyFrom(status)

        meta = cron.metadata
        await self._writer.mutate(CronJob, meta.namespace, meta.name, change, by=_BY, subresource="status")


def _keys_of_cronjob(change: Change[CronJob]) -> Iterable[Key]:
    return () if change.type is ChangeType.DELETED else (key_of(change.new),)


def _keys_of_job(change: Change[Job]) -> Iterable[Key]:
    if change.old is not None and change.type is ChangeType.MODIFIED and not _matters(change.old, change.new):
        return ()
    key = controller_key(change.new, CronJob)
    return (key,) if key is not None else ()


def _matters(old: Job, new: Job) -> bool:
    return (
        is_finished(old) != is_finished(new)
        or old.metadata.HasField("deletion_timestamp") != new.metadata.HasField("deletion_timestamp")
        or list(old.metadata.owner_references) != list(new.metadata.owner_references)
    )
