"""What a Job needs next: `plan_job(job, pods, now)` → pods to create and to end, and the status to write. Pure.

    judge    is it decided? by a pod failure rule, backoffLimit, deadline, failed indexes, success policy, completions;
             what was decided once (FailureTarget, SuccessCriteriaMet) stays decided
    decided  ─► what runs is deleted, and counted as failed ─► when nothing runs any more: Failed or Complete
    else     ─► suspended: what runs is given up, uncounted
             ─► more than wanted: given up; fewer: created, after the back-off that failures earned

Order matters to whoever carries this out: create, write `status`, take the finalizer off `release`, delete.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from master.controllers.job_census import Books, Census, Held, keep_books, take_census
from master.controllers.job_policy import met_rule
from master.controllers.replicaset import deletion_order
from podium.aio.backoff import Backoff
from podium.objects.conditions import FALSE, TRUE, get_condition, is_true, set_condition
from podium.objects.job import (
    COMPLETE,
    FAILED,
    FAILURE_TARGET,
    SUCCESS_CRITERIA_MET,
    SUSPENDED,
    failures_of,
    ignored_failures_of,
    index_of,
    is_finished,
    is_indexed,
    is_tracked,
    replaces_only_failed,
    was_given_up,
)
from podium.objects.meta import is_terminating, seconds_since, timestamp
from podium.objects.pod import FAILED as POD_FAILED
from podium.objects.pod import PENDING, RUNNING, SUCCEEDED
from podium.v1.batch_pb2 import Job, JobStatus
from podium.v1.core_pb2 import Pod

MOST_CREATED = 500
"""Pods of one plan; the next begins where this one ended."""
BACKOFF = Backoff(initial=10.0, maximum=600.0)
"""Between a failed pod and its replacement, as Kubernetes has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPod:
    """A pod to create. `failures` and `ignored` are of its index so far; None without a limit for each index."""

    index: int | None = None
    failures: int | None = None
    ignored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """See the module.

    Attributes:
        status: To be written, when it differs.
        create: Pods to create.
        release: Pods whose end `status` holds, or that are not counted: their finalizer goes.
        delete: Pods to delete, and to count when they are over.
        give_up: Pods to release and delete, uncounted.
        set_aside: Those of `give_up` to mark and not to release: their index has failed before, which is not forgotten.
        wait: Seconds after which to plan again if nothing happens.
        because: The log line.
    """

    status: JobStatus
    create: Sequence[NewPod] = ()
    release: Sequence[Pod] = ()
    delete: Sequence[Pod] = ()
    give_up: Sequence[Pod] = ()
    wait: float | None = None
    because: str = ""

    @property
    def set_aside(self) -> Sequence[Pod]:
        return [pod for pod in self.give_up if failures_of(pod) or ignored_failures_of(pod)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a Job ends."""

    succeeded: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moves:
    create: Sequence[NewPod] = ()
    delete: Sequence[Pod] = ()
    give_up: Sequence[Pod] = ()
    wait: float | None = None
    because: str = ""


def plan_job(job: Job, pods: Sequence[Pod], now: datetime.datetime, backoff: Backoff = BACKOFF) -> JobPlan:
    """Decide a Job's next step from all pods that it controls."""
    if is_finished(job) or is_terminating(job):
        left = [pod for pod in pods if is_tracked(pod)]
        return JobPlan(
            status=job.status, release=left, because="is finished" if is_finished(job) else "is being deleted"
        )
    census = take_census(job, pods)
    books = keep_books(job, census)
    verdict = _judge(job, pods, census, books, now)
    if verdict is not None:
        return _end(job, pods, census, verdict, now)
    moves = _suspend(census) if job.spec.suspend else _steer(job, pods, census, books, now, backoff)
    status = _status(job, census, books, moves, now)
    _tell_suspension(job, status, now)
    waits = [wait for wait in (moves.wait, _deadline_in(job, status, now)) if wait is not None]
    return JobPlan(
        status=status,
        create=moves.create,
        release=books.release,
        give_up=moves.give_up,
        wait=min(waits, default=None),
        because=moves.because,
    )


def _end(job: Job, pods: Sequence[Pod], census: Census, verdict: Verdict, now: datetime.datetime) -> JobPlan:
    books = keep_books(job, census, final=True)
    if census.active or census.given_up or census.terminating:
        moves = _Moves(delete=census.active, give_up=census.given_up)
        status = _status(job, census, books, moves, now)
        _tell(status, verdict, now, finished=False)
        return JobPlan(
            status=status,
            release=books.release,
            delete=census.active,
            give_up=census.given_up,
            because=f"ends ({verdict.reason}) when its pods have",
        )
    status = _ended_status(job, books)
    _tell(status, verdict, now, finished=True)
    return JobPlan(status=status, release=[pod for pod in pods if is_tracked(pod)], because=f"ends: {verdict.reason}")


# ---------------------------------------------------------------- is it decided?


def _judge(job: Job, pods: Iterable[Pod], census: Census, books: Books, now: datetime.datetime) -> Verdict | None:
    spec = job.spec
    for type_, succeeded in ((SUCCESS_CRITERIA_MET, True), (FAILURE_TARGET, False)):
        known = get_condition(job.status.conditions, type_)
        if known is not None and known.status == TRUE:
            return Verdict(succeeded=succeeded, reason=known.reason, message=known.message)
    if books.judgement is not None:
        return _failure("PodFailurePolicy", books.judgement.because)
    if books.all_failed > spec.backoff_limit or _restarts_exceed(job, pods):
        return _failure("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    remaining = _deadline_in(job, job.status, now)
    if remaining is not None and remaining <= 0:
        return _failure("DeadlineExceeded", "Job was active longer than specified deadline")
    if is_indexed(spec) and (verdict := _judge_indexes(job, books)) is not None:
        return verdict
    return _COMPLETE if _is_complete(job, census, books) else None


def _judge_indexes(job: Job, books: Books) -> Verdict | None:
    spec, lost = job.spec, len(books.failed_indexes)
    if spec.HasField("max_failed_indexes") and lost > spec.max_failed_indexes:
        return _failure("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes")
    if lost and lost + len(books.completed) >= spec.completions:
        return _failure("FailedIndexes", "Job has failed indexes")
    rule = met_rule(spec, books.completed)
    if rule is not None:
        return Verdict(succeeded=True, reason="SuccessPolicy", message=f"Matched rules at index {rule}")
    return None


_COMPLETE = Verdict(succeeded=True, reason="CompletionsReached", message="Reached expected number of succeeded pods")


def _failure(reason: str, message: str) -> Verdict:
    return Verdict(succeeded=False, reason=reason, message=message)


def _restarts_exceed(job: Job, pods: Iterable[Pod]) -> bool:
    """Restarts of containers in pods that restart count like failed pods."""
    if job.spec.template.spec.restart_policy != "OnFailure":
        return False
    restarts = sum(
        status.restart_count
        for pod in pods
        if pod.status.phase in (PENDING, RUNNING)
        for status in (*pod.status.init_container_statuses, *pod.status.container_statuses)
    )
    return restarts > 0 and restarts >= job.spec.backoff_limit


def _deadline_in(job: Job, status: JobStatus, now: datetime.datetime) -> float | None:
    """Seconds left; None without a deadline, and while startTime is not that of the present run."""
    if not job.spec.HasField("active_deadline_seconds") or not status.HasField("start_time"):
        return None
    if job.spec.suspend or is_true(status.conditions, SUSPENDED):
        return None
    return job.spec.active_deadline_seconds - seconds_since(status.start_time, now)


def _is_complete(job: Job, census: Census, books: Books) -> bool:
    if census.active:
        return False
    if not job.spec.HasField("completions"):
        return books.all_succeeded > 0
    return books.all_succeeded >= job.spec.completions


# ---------------------------------------------------------------- how many pods


def _suspend(census: Census) -> _Moves:
    return _Moves(give_up=[*census.active, *census.given_up], because="is suspended")


def _steer(
    job: Job, pods: Sequence[Pod], census: Census, books: Books, now: datetime.datetime, backoff: Backoff
) -> _Moves:
    wanted, active = _wanted(job, census, books), len(census.active)
    surplus = _surplus(job, census, active - wanted)
    if surplus or census.given_up:
        return _Moves(give_up=[*surplus, *census.given_up], because=f"{active} pods run where {wanted} should")
    held_up = len(census.terminating) if replaces_only_failed(job.spec) else 0
    missing = min(wanted - active - held_up, MOST_CREATED)
    if missing <= 0:
        return _Moves(because=f"{active} pods run")
    because = f"{active} of {wanted} pods run"
    if job.spec.HasField("backoff_limit_per_index"):
        create, wait = _retried(job, census, books, missing, now, backoff)
        return _Moves(create=create, wait=wait, because=because)
    pause = failure_pause(pods, now, backoff)
    if pause > 0:
        return _Moves(wait=pause, because=f"{because}; waits after failures")
    if not is_indexed(job.spec):
        return _Moves(create=[NewPod()] * missing, because=because)
    return _Moves(create=[NewPod(index=i) for i in islice(_pending(job, census, books), missing)], because=because)


def _wanted(job: Job, census: Census, books: Books) -> int:
    if not job.spec.HasField("completions"):
        return len(census.active) if books.all_succeeded > 0 else job.spec.parallelism
    remaining = job.spec.completions - books.all_succeeded - len(books.failed_indexes)
    return max(0, min(remaining, job.spec.parallelism))


def _surplus(job: Job, census: Census, count: int) -> list[Pod]:
    """Pods too many: first those whose index is none of the Job's, or is worked on twice."""
    misplaced: list[Pod] = []
    placed = census.active
    if is_indexed(job.spec):
        taken: dict[int, Pod] = {}
        for pod in deletion_order(census.active, census.active)[::-1]:
            index = index_of(pod)
            if index is None or index >= job.spec.completions or index in taken:
                misplaced.append(pod)
            else:
                taken[index] = pod
        placed = list(taken.values())
    more = max(0, count - len(misplaced))
    return misplaced + (deletion_order(placed, placed)[:more] if more else [])


def _pending(job: Job, census: Census, books: Books) -> Iterator[int]:
    """Indexes that nothing works on, ascending."""
    busy = {index_of(pod) for pod in census.active}
    if replaces_only_failed(job.spec):
        busy |= {index_of(pod) for pod in census.terminating}
    over = books.completed.with_indexes(list(books.failed_indexes))
    return (index for index in over.missing(job.spec.completions) if index not in busy)


def _retried(
    job: Job, census: Census, books: Books, missing: int, now: datetime.datetime, backoff: Backoff
) -> tuple[list[NewPod], float | None]:
    """Pods for pending indexes, each index after its own back-off; and when the next of those left out is due."""
    create: list[NewPod] = []
    waits: list[float] = []
    for index in _pending(job, census, books):
        if len(create) == missing:
            break
        held = books.held.get(index)
        pause = _index_pause(held, now, backoff) if held is not None else 0
        if pause > 0:
            waits.append(pause)
        else:
            failures, ignored = (held.failures, held.ignored) if held is not None else (0, 0)
            create.append(NewPod(index=index, failures=failures, ignored=ignored))
    return create, min(waits, default=None)


def _index_pause(held: Held, now: datetime.datetime, backoff: Backoff) -> float:
    if held.pod.status.phase != POD_FAILED or was_given_up(held.pod):
        return 0  # it was deleted, which says nothing about the program
    return ended_at(held.pod) + backoff.delay(max(1, held.failures + held.ignored)) - now.timestamp()


def failure_pause(pods: Iterable[Pod], now: datetime.datetime, backoff: Backoff) -> float:
    """Seconds that failures since the last success have earned, doubling with each.

    Pods that were deleted do not count: they were moved away, and their program may be sound.
    """
    failed: list[float] = []
    success = 0.0
    for pod in pods:
        if pod.status.phase == SUCCEEDED:
            success = max(success, ended_at(pod))
        elif pod.status.phase == POD_FAILED and not is_terminating(pod):
            failed.append(ended_at(pod))
    since = [moment for moment in failed if moment > success]
    return max(since) + backoff.delay(len(since)) - now.timestamp() if since else 0.0


def ended_at(pod: Pod) -> float:
    """When a pod that is over ended, in seconds since the epoch, as well as is known."""
    ends = [
        s.state.terminated.finished_at.seconds for s in pod.status.container_statuses if s.state.HasField("terminated")
    ]
    if any(ends):
        return max(ends)
    moved = max((c.last_transition_time.seconds for c in pod.status.conditions), default=0)
    return moved or pod.metadata.creation_timestamp.seconds


# ---------------------------------------------------------------- status


def _status(job: Job, census: Census, books: Books, moves: _Moves, now: datetime.datetime) -> JobStatus:
    status = JobStatus()
    status.conditions.extend(job.status.conditions)
    if job.status.HasField("start_time"):
        status.start_time.CopyFrom(job.status.start_time)
    elif not job.spec.suspend:
        status.start_time.CopyFrom(timestamp(now))
    ending = {pod.metadata.uid for pod in (*moves.delete, *moves.give_up)}
    status.active = sum(pod.metadata.uid not in ending for pod in census.active)
    status.ready = min(census.ready, status.active)
    status.terminating = len(census.terminating)
    status.succeeded, status.failed = books.succeeded, books.failed
    status.uncounted_terminated_pods.succeeded.extend(books.uncounted_succeeded)
    status.uncounted_terminated_pods.failed.extend(books.uncounted_failed)
    _write_indexes(job, books, status)
    return status


def _ended_status(job: Job, books: Books) -> JobStatus:
    """The last status: everything is counted, and a finished Job counts no more."""
    status = JobStatus(active=0, ready=0, terminating=0)
    status.conditions.extend(job.status.conditions)
    if job.status.HasField("start_time"):
        status.start_time.CopyFrom(job.status.start_time)
    status.succeeded, status.failed = books.all_succeeded, books.all_failed
    status.uncounted_terminated_pods.SetInParent()
    _write_indexes(job, books, status)
    return status


def _write_indexes(job: Job, books: Books, status: JobStatus) -> None:
    if is_indexed(job.spec):
        status.completed_indexes = str(books.completed)
    if job.spec.HasField("backoff_limit_per_index"):
        status.failed_indexes = str(books.failed_indexes)


def _tell(status: JobStatus, verdict: Verdict, now: datetime.datetime, *, finished: bool) -> None:
    interim, final = (SUCCESS_CRITERIA_MET, COMPLETE) if verdict.succeeded else (FAILURE_TARGET, FAILED)
    for type_ in (interim, final) if finished else (interim,):
        set_condition(status.conditions, type_, TRUE, now=now, reason=verdict.reason, message=verdict.message)
    if finished and verdict.succeeded:
        status.completion_time.CopyFrom(timestamp(now))


def _tell_suspension(job: Job, status: JobStatus, now: datetime.datetime) -> None:
    if job.spec.suspend:
        set_condition(status.conditions, SUSPENDED, TRUE, now=now, reason="JobSuspended", message="Job suspended")
    elif is_true(status.conditions, SUSPENDED):
        set_condition(status.conditions, SUSPENDED, FALSE, now=now, reason="JobResumed", message="Job resumed")
        status.start_time.CopyFrom(timestamp(now))
