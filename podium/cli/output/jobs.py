"""Jobs in few words, as tables and descriptions show them."""

from __future__ import annotations

import datetime

from podium.cli.output.age import duration
from podium.objects.conditions import is_true
from podium.objects.job import COMPLETE, FAILED, FAILURE_TARGET, SUCCESS_CRITERIA_MET, SUSPENDED, finish_time
from podium.v1.batch_pb2 import Job


def job_word(job: Job) -> str:
    """What the Job is doing: `Running`, `Complete`, `Failed`, `Suspended`, …"""
    if job.metadata.HasField("deletion_timestamp"):
        return "Terminating"
    for type_ in (COMPLETE, FAILED, FAILURE_TARGET, SUCCESS_CRITERIA_MET, SUSPENDED):
        if is_true(job.status.conditions, type_):
            return type_
    return "Running"


def completions(job: Job) -> str:
    """`3/5`; of a work queue `0/1 of 4`: one success of as many pods as run at once."""
    if job.spec.HasField("completions"):
        return f"{job.status.succeeded}/{job.spec.completions}"
    return (
        f"{job.status.succeeded}/1 of {job.spec.parallelism}"
        if job.spec.parallelism > 1
        else f"{job.status.succeeded}/1"
    )


def lasted(job: Job, now: datetime.datetime) -> str:
    """How long the Job has run, or ran."""
    if not job.status.HasField("start_time"):
        return ""
    end = finish_time(job)
    return duration((now.timestamp() if end is None else end) - job.status.start_time.seconds)
