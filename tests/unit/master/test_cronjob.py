"""The CronJob's plan: which firing is served, by the clock of its zone, over absences of the master."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from master.admission import apply_defaults
from master.controllers.cronjob_plan import CronPlan, cron_job_of, job_name, plan_cronjob, reference_to
from podium.objects.cron import UTC
from podium.objects.meta import timestamp
from podium.objects.owners import owner_reference
from podium.v1.batch_pb2 import CronJob, Job
from tests.support.workloads import uid

T = datetime.datetime(2026, 1, 1, 12, tzinfo=UTC)


def minutes(number: float) -> datetime.datetime:
    return T + datetime.timedelta(minutes=number)


def cron(schedule: str = "*/10 * * * *", last: float | None = None, **spec: Any) -> CronJob:
    made = CronJob()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = "tick", "default", uid()
    made.metadata.creation_timestamp.CopyFrom(timestamp(T))
    made.spec.schedule = schedule
    made.spec.job_template.spec.template.spec.containers.add(name="c", image="busybox")
    made.spec.job_template.spec.template.spec.restart_policy = "Never"
    for name, value in spec.items():
        setattr(made.spec, name, value)
    apply_defaults(made)
    if last is not None:
        made.status.last_schedule_time.CopyFrom(timestamp(minutes(last)))
    return made


def job(of: CronJob, name: str = "", ended: str = "", start: float = 0, active: bool = False) -> Job:
    made = Job()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = name or f"j{start:g}", "default", uid()
    made.metadata.owner_references.append(owner_reference(of))
    made.status.start_time.CopyFrom(timestamp(minutes(start)))
    if ended:
        made.status.conditions.add(type=ended, status="True")
        made.status.completion_time.CopyFrom(timestamp(minutes(start + 1)))
    if active:
        of.status.active.append(reference_to(made))
    return made


def plan(of: CronJob, now: float, *jobs: Job) -> CronPlan:
    return plan_cronjob(of, jobs, minutes(now))


def reasons(of: CronPlan) -> list[str]:
    return [note.reason for note in of.notes]


# ---------------------------------------------------------------- which firing


@pytest.mark.parametrize(
    ("last", "now", "started"),
    [(None, 9.9, None), (None, 10, 10), (None, 10.5, 10), (10, 19.9, None), (10, 20, 20), (10, 45, 40)],
)
def test_the_last_firing_since_the_last_one_served_is_served(
    last: float | None, now: float, started: float | None
) -> None:
    made = plan(cron(last=last), now)
    assert made.start == (None if started is None else minutes(started))
    assert made.wait is not None
    if started is not None:
        assert made.status.last_schedule_time == timestamp(minutes(started))


def test_it_waits_for_the_next_firing_but_not_so_long_that_a_clock_could_be_set_meanwhile() -> None:
    assert plan(cron(last=10), 15).wait == 300
    assert plan(cron("0 0 1 1 *", last=10), 15).wait == 600


@pytest.mark.parametrize(
    ("deadline", "now", "starts"), [(60, 10.9, True), (60, 11.1, False), (0, 10, True), (700, 21, True)]
)
def test_a_firing_that_is_too_late_is_missed(deadline: int, now: float, starts: bool) -> None:
    made = plan(cron(starting_deadline_seconds=deadline), now)
    assert (made.start is not None) == starts
    assert reasons(made) == ([] if starts else ["MissSchedule"])


@pytest.mark.parametrize(("away", "deadline", "told"), [(100, None, False), (101, None, True), (500, 600, False)])
def test_more_than_a_hundred_missed_firings_are_told_and_the_last_is_served(
    away: int, deadline: int | None, told: bool
) -> None:
    spec = {} if deadline is None else {"starting_deadline_seconds": deadline}
    made = plan(cron("* * * * *", last=0, **spec), away)
    assert made.start == minutes(away)
    assert ("TooManyMissedTimes" in reasons(made)) == told


def test_the_schedule_is_of_its_time_zone() -> None:
    made = cron("0 9 * * *", time_zone="Asia/Kolkata")  # 03:30 in UTC
    assert plan(made, 15.4 * 60).start is None
    assert plan(made, 15.6 * 60).start == minutes(15.5 * 60)
    assert cron_job_of(made, minutes(15.5 * 60)).metadata.annotations == {
        "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-01-02T09:00:00+05:30"
    }


def test_a_suspended_one_starts_nothing_and_serves_the_last_firing_when_it_is_resumed() -> None:
    made = cron(suspend=True)
    assert (plan(made, 30).start, plan(made, 30).wait) == (None, None)
    made.spec.suspend = False
    assert plan(made, 34).start == minutes(30)


# ---------------------------------------------------------------- with Jobs


def test_concurrency() -> None:
    for policy, starts, replaced in (("Allow", True, 0), ("Forbid", False, 0), ("Replace", True, 1)):
        made = cron(last=10, concurrency_policy=policy)
        running = job(made, active=True)
        decided = plan(made, 20, running)
        assert (decided.start is not None, len(decided.replace)) == (starts, replaced)
        assert len(decided.status.active) == (0 if replaced else 1)
    forbidding = cron(last=10, concurrency_policy="Forbid")
    assert reasons(plan(forbidding, 20, job(forbidding))) == ["JobAlreadyActive"]
    assert plan(forbidding, 25, job(forbidding, ended="Complete")).start == minutes(20), "as soon as the last has ended"


def test_a_finished_job_leaves_the_active_ones_and_is_told() -> None:
    made = cron(last=10)
    ended, running = job(made, ended="Complete", start=10, active=True), job(made, start=12)
    decided = plan(made, 15, ended, running)
    assert [a.uid for a in decided.status.active] == [running.metadata.uid]
    assert reasons(decided) == ["SawCompletedJob"]
    assert decided.status.last_successful_time == timestamp(minutes(11))


def test_history_keeps_the_newest_of_each_sort() -> None:
    made = cron(last=100, successful_jobs_history_limit=2, failed_jobs_history_limit=0)
    jobs = [job(made, ended="Complete", start=n) for n in (3, 1, 2, 4)] + [job(made, ended="Failed", start=9)]
    assert sorted(j.metadata.name for j in plan(made, 100, *jobs).forget) == ["j1", "j2", "j9"]


def test_a_job_is_named_after_its_firing() -> None:
    made = cron()
    assert job_name(made, minutes(10)) == f"tick-{int(minutes(10).timestamp()) // 60}"
    assert cron_job_of(made, minutes(10)).metadata.name == job_name(made, minutes(10))
    assert cron_job_of(made, minutes(10)).metadata.owner_references[0].controller


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 600), min_size=1, max_size=40),
    st.lists(st.booleans(), min_size=40, max_size=40),
    st.sampled_from(["* * * * *", "*/7 * * * *", "0 * * * *", "30 2,5 * * *"]),
)
def test_no_firing_starts_two_jobs_wherever_the_master_dies(gaps: list[int], dies: list[bool], schedule: str) -> None:
    made, now = cron(schedule), 0.0
    jobs: dict[str, Job] = {}
    for gap, dead in zip(gaps, dies, strict=False):
        now += gap
        decided = plan(made, now, *jobs.values())
        if decided.start is not None:
            name = job_name(made, decided.start)
            if name not in jobs:
                jobs[name] = job(made, name, ended="Complete", start=now)
            assert decided.start <= minutes(now)
        if not dead:
            made.status.CopyFrom(decided.status)
    firings = {int(name.rpartition("-")[2]) for name in jobs}
    assert len(firings) == len(jobs)
