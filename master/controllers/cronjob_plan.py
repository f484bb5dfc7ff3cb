"""What a CronJob needs next: `plan_cronjob(cron, jobs, now)` → a Job to start, Jobs to end and to forget. Pure.

    since lastScheduleTime (or creation), nothing fired   ─► wait
    … it fired, once or often, the master away or not     ─► the last firing counts, the others are missed
    Forbid, and a Job runs                                ─► wait for its end
    Replace, and a Job runs                               ─► that one is deleted, a new one started

A Job is named after its CronJob and the minute it was meant for, so that no firing starts two, wherever the master
dies: the Job is created first, then the status is written, and a Job that is there already is the one.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from podium.errors import BadRequest
from podium.objects.conditions import is_true
from podium.objects.cron import Schedule, parse, zone_of
from podium.objects.job import COMPLETE, FAILED, is_finished
from podium.objects.kinds import kind_of
from podium.objects.meta import is_terminating, timestamp, to_datetime
from podium.objects.owners import owner_reference
from podium.v1.batch_pb2 import CronJob, CronJobStatus, Job
from podium.v1.core_pb2 import ObjectReference

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
MANY_MISSED = 100
LONGEST_WAIT = 600.0
"""Seconds; a host's clock may be set meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """An event to record."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CronPlan:
    """See the module.

    Attributes:
        status: To be written after all else, when it differs; with `start`, of the time when that Job exists.
        start: The firing that a Job is to be started for.
        replace: Running Jobs to delete before.
        forget: Finished Jobs beyond what the history keeps.
        wait: Seconds until it is time to look again.
        notes: Events.
    """

    status: CronJobStatus
    start: datetime.datetime | None = None
    replace: Sequence[Job] = ()
    forget: Sequence[Job] = ()
    wait: float | None = None
    notes: Sequence[Note] = ()
    because: str = ""


def plan_cronjob(cron: CronJob, jobs: Sequence[Job], now: datetime.datetime) -> CronPlan:
    """Decide a CronJob's next step from all Jobs that it controls."""
    running = [job for job in jobs if not is_finished(job) and not is_terminating(job)]
    forget = _beyond_history(cron, jobs)
    status, notes = _status(cron, jobs, running)
    if is_terminating(cron) or cron.spec.suspend:
        because = "is being deleted" if is_terminating(cron) else "is suspended"
        return CronPlan(status=status, forget=forget, notes=notes, because=because)
    try:
        schedule, zone = parse(cron.spec.schedule), zone_of(cron.spec.time_zone)
    except BadRequest as error:  # it was valid when it was written, with another data base of time zones
        notes.append(Note(reason="UnknownTimeZone", message=error.message, warning=True))
        return CronPlan(status=status, forget=forget, notes=notes, because=error.message)
    wait = _seconds_to(schedule.after(now, zone), now)
    due = _due(cron, schedule, zone, now, notes)
    if due is None:
        return CronPlan(status=status, forget=forget, wait=wait, notes=notes, because="it is not time")
    if running and cron.spec.concurrency_policy == "Forbid":
        words = "Not starting job because prior execution is running and concurrency policy is Forbid"
        notes.append(Note(reason="JobAlreadyActive", message=words))
        return CronPlan(status=status, forget=forget, wait=wait, notes=notes, because="the last Job still runs")
    replace = running if cron.spec.concurrency_policy == "Replace" else []
    if replace:
        del status.active[:]
    status.last_schedule_time.CopyFrom(timestamp(due))
    return CronPlan(
        status=status, start=due, replace=replace, forget=forget, wait=wait, notes=notes, because=f"starts {due}"
    )


def _seconds_to(moment: datetime.datetime | None, now: datetime.datetime) -> float | None:
    return None if moment is None else min((moment - now).total_seconds(), LONGEST_WAIT)


def _due(
    cron: CronJob, schedule: Schedule, zone: datetime.tzinfo, now: datetime.datetime, notes: list[Note]
) -> datetime.datetime | None:
    """The firing that is to be served now, if there is one."""
    stamps = (cron.status.last_schedule_time, cron.metadata.creation_timestamp)
    last = next((to_datetime(stamp) for stamp in stamps if stamp.seconds), now)
    due = schedule.until(now, zone)
    if due is None or due <= last:
        return None
    if cron.spec.HasField("starting_deadline_seconds"):
        late = datetime.timedelta(seconds=cron.spec.starting_deadline_seconds)
        if due + late < now:
            words = f"Missed scheduled time to start a job: {due:%Y-%m-%dT%H:%M:%SZ}"
            notes.append(Note(reason="MissSchedule", message=words, warning=True))
            return None
        last = max(last, now - late)
    if schedule.count(last, now, zone, MANY_MISSED + 1) > MANY_MISSED:
        words = (
            f"too many missed start times (> {MANY_MISSED}); the last is served. Set or decrease "
            ".spec.startingDeadlineSeconds or check clock skew"
        )
        notes.append(Note(reason="TooManyMissedTimes", message=words, warning=True))
    return due


def _status(cron: CronJob, jobs: Iterable[Job], running: Sequence[Job]) -> tuple[CronJobStatus, list[Note]]:
    status = CronJobStatus()
    status.CopyFrom(cron.status)
    known = {reference.uid for reference in cron.status.active}
    del status.active[:]
    status.active.extend(reference_to(job) for job in sorted(running, key=lambda job: job.metadata.name))
    ended = [job for job in jobs if is_finished(job)]
    notes = []
    for job in ended:
        if job.metadata.uid in known:
            how = "Complete" if is_true(job.status.conditions, COMPLETE) else "Failed"
            notes.append(
                Note(reason="SawCompletedJob", message=f"Saw completed job: {job.metadata.name}, condition: {how}")
            )
    successes = [job.status.completion_time.seconds for job in ended if is_true(job.status.conditions, COMPLETE)]
    if successes and max(successes) > status.last_successful_time.seconds:
        status.last_successful_time.seconds = max(successes)
    return status, notes


def _beyond_history(cron: CronJob, jobs: Iterable[Job]) -> list[Job]:
    """The oldest finished Jobs, of each sort, that are too many."""
    doomed: list[Job] = []
    for type_, limit in (
        (COMPLETE, cron.spec.successful_jobs_history_limit),
        (FAILED, cron.spec.failed_jobs_history_limit),
    ):
        ended = [job for job in jobs if is_true(job.status.conditions, type_) and not is_terminating(job)]
        ended.sort(key=lambda job: (job.status.start_time.seconds, job.metadata.name))
        doomed += ended[: max(0, len(ended) - limit)]
    return doomed


def job_name(cron: CronJob, firing: datetime.datetime) -> str:
    """The name of the Job for one firing: the same wherever and whenever it is asked."""
    return f"{cron.metadata.name}-{int(firing.timestamp()) // 60}"


def cron_job_of(cron: CronJob, firing: datetime.datetime) -> Job:
    """The Job for one firing."""
    template = cron.spec.job_template
    job = Job()
    job.metadata.name, job.metadata.namespace = job_name(cron, firing), cron.metadata.namespace
    job.metadata.labels.update(template.metadata.labels)
    job.metadata.annotations.update(template.metadata.annotations)
    job.metadata.annotations[SCHEDULED_AT] = firing.astimezone(zone_of(cron.spec.time_zone)).isoformat()
    job.metadata.owner_references.append(owner_reference(cron))
    job.spec.CopyFrom(template.spec)
    return job


def reference_to(job: Job) -> ObjectReference:
    """A reference as `status.active` holds them."""
    kind, meta = kind_of(job), job.metadata
    return ObjectReference(
        api_version=kind.api_version, kind=kind.name, namespace=meta.namespace, name=meta.name, uid=meta.uid
    )
