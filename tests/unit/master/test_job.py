"""The Job's plan as a table: what it creates, gives up and ends, and what it says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from master.controllers.job_plan import failure_pause, plan_job
from podium.aio.backoff import Backoff
from podium.objects.job import COMPLETION_INDEX, FAILURE_COUNT, TRACKING_FINALIZER
from podium.v1.batch_pb2 import Job
from podium.v1.core_pb2 import Pod
from tests.support.jobs import World, ended, job
from tests.support.workloads import at, pod


def world(now: float = 0, **spec: Any) -> World:
    made = World(job(**spec), now=now)
    made.settle()
    return made


def indexed(completions: int, parallelism: int | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "completion_mode": "Indexed",
        "completions": completions,
        "parallelism": completions if parallelism is None else parallelism,
        **spec,
    }


def indexes(of: World) -> list[str]:
    return sorted(p.metadata.annotations[COMPLETION_INDEX] for p in of.active())


# ---------------------------------------------------------------- how many


@pytest.mark.parametrize(
    ("spec", "created"),
    [
        ({}, 1),
        ({"completions": 5}, 1),
        ({"completions": 5, "parallelism": 3}, 3),
        ({"completions": 2, "parallelism": 5}, 2),
        ({"parallelism": 4}, 4),
        ({"parallelism": 0}, 0),
        ({"parallelism": 900, "completions": 900}, 500),
        ({"suspend": True}, 0),
    ],
)
def test_as_many_pods_as_run_at_once_and_are_needed(spec: dict[str, Any], created: int) -> None:
    assert len(plan_job(job(**spec), [], at(0)).create) == created


def test_what_succeeded_is_not_run_again() -> None:
    w = world(completions=3, parallelism=3)
    w.end(w.active()[0], "Succeeded")
    w.settle()
    assert len(w.active()) == 2
    assert (w.status.active, w.status.succeeded) == (2, 1)
    for p in w.active():
        w.end(p, "Succeeded")
    w.settle()
    assert (w.status.active, w.status.succeeded, w.status.failed) == (0, 3, 0)
    assert w.conditions() == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    assert w.status.HasField("completion_time")
    assert all(TRACKING_FINALIZER not in p.metadata.finalizers for p in w.pods.values())


def test_the_last_pods_are_counted_by_the_very_write_that_finishes_the_job() -> None:
    w = world()
    w.end(w.active()[0], "Succeeded")
    plan = w.plan()
    assert plan.status.succeeded == 1
    assert {c.type for c in plan.status.conditions} == {"SuccessCriteriaMet", "Complete"}
    assert len(plan.release) == 1


def test_a_work_queue_is_done_when_one_has_succeeded_and_the_others_have_ended() -> None:
    w = world(parallelism=3)
    first, second, third = w.active()
    w.end(first, "Succeeded")
    w.settle()
    assert len(w.active()) == 2, "the others may finish, and none is started"
    w.end(second, "Failed")
    w.settle()
    assert "Complete" not in w.conditions()
    w.end(third, "Succeeded")
    w.settle()
    assert "Complete" in w.conditions()
    assert (w.status.succeeded, w.status.failed) == (2, 1)


def test_less_parallelism_gives_pods_up_uncounted() -> None:
    w = world(completions=9, parallelism=4)
    w.job.spec.parallelism = 1
    w.settle()
    assert len(w.active()) == 1
    for p in [p for p in w.pods.values() if p.metadata.HasField("deletion_timestamp")]:
        w.confirm(p)
    w.settle()
    assert (w.status.failed, w.status.active, len(w.pods)) == (0, 1, 1)


def test_a_pod_that_lost_its_finalizer_is_given_up_for_the_write_that_was_missed() -> None:
    w = world(completions=2, parallelism=2)
    w.active()[0].metadata.finalizers.remove(TRACKING_FINALIZER)
    plan = w.plan()
    assert len(plan.give_up) == 1
    assert not plan.create


# ---------------------------------------------------------------- indexes


def test_each_index_runs_once_lowest_first() -> None:
    w = world(**indexed(5, 2))
    assert indexes(w) == ["0", "1"]
    w.end(w.active()[0], "Succeeded")
    w.settle()
    assert indexes(w) == ["1", "2"]
    assert w.status.completed_indexes == "0"


def test_a_pod_knows_its_index() -> None:
    w = world(**indexed(1))
    (p,) = w.active()
    assert p.spec.hostname == "work-0"
    assert p.metadata.generate_name == "work-0-"
    assert p.metadata.labels[COMPLETION_INDEX] == "0"
    assert [(e.name, e.value) for e in p.spec.containers[0].env] == [("JOB_COMPLETION_INDEX", "0")]


def test_a_variable_of_that_name_in_the_template_stays() -> None:
    made = job(**indexed(1))
    made.spec.template.spec.containers[0].env.add(name="JOB_COMPLETION_INDEX", value="mine")
    w = World(made)
    w.settle()
    assert [e.value for e in w.active()[0].spec.containers[0].env] == ["mine"]


def test_an_index_that_is_worked_on_twice_or_is_none_of_the_jobs_is_given_up() -> None:
    w = world(**indexed(3, 3))
    p = w.active()[2]
    p.metadata.annotations[COMPLETION_INDEX] = "1"
    assert len(w.plan().give_up) == 1
    p.metadata.annotations[COMPLETION_INDEX] = "7"
    assert w.plan().give_up == [p]


def test_an_elastic_job_drops_indexes() -> None:
    w = world(**indexed(4))
    for p in w.active()[2:]:
        w.end(p, "Succeeded")
    w.settle()
    assert w.status.completed_indexes == "2,3"
    w.job.spec.completions = w.job.spec.parallelism = 3
    w.settle()
    assert (w.status.completed_indexes, w.status.succeeded) == ("2", 1)


# ---------------------------------------------------------------- failures


def test_a_failed_pod_is_replaced_after_ten_seconds_then_twenty() -> None:
    w = world()
    w.end(w.active()[0], "Failed")
    w.settle()
    assert (w.active(), w.plan().wait) == ([], 10)
    w.now = 10
    w.settle()
    assert len(w.active()) == 1
    w.end(w.active()[0], "Failed")
    w.settle()
    assert w.plan().wait == 20
    assert w.status.failed == 2


def test_the_back_off_counts_failures_since_the_last_success_and_no_deleted_pods() -> None:
    backoff = Backoff(initial=10, maximum=600)
    ok, bad, worse = ended(pod("a"), "Succeeded", 5), ended(pod("b"), "Failed", 4), ended(pod("c"), "Failed", 7)
    moved = ended(pod("d", terminating=True), "Failed", 9)
    assert failure_pause([bad, ok, moved], at(9), backoff) == 0
    assert failure_pause([bad, ok, worse, moved], at(9), backoff) == 8
    assert failure_pause([bad, worse], at(9), backoff) == 18


def test_beyond_the_limit_the_job_fails_and_what_runs_is_ended_and_counted() -> None:
    w = world(backoff_limit=1, parallelism=3, completions=3)
    first, second, third = w.active()
    w.end(first, "Failed")
    w.end(second, "Failed")
    w.step()
    assert w.conditions() == {"FailureTarget": "BackoffLimitExceeded"}
    assert third.metadata.HasField("deletion_timestamp")
    w.settle()
    assert "Failed" not in w.conditions(), "while a pod runs, the Job has not ended"
    w.confirm(third)
    w.settle()
    assert w.conditions() == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert (w.status.failed, w.status.active, w.status.terminating) == (3, 0, 0)
    assert not w.status.HasField("completion_time")


@pytest.mark.parametrize(("limit", "restarts", "fails"), [(2, 1, False), (2, 2, True), (0, 0, False), (0, 1, True)])
def test_restarts_count_like_failures(limit: int, restarts: int, fails: bool) -> None:
    w = world(policy="OnFailure", backoff_limit=limit)
    (p,) = w.active()
    p.status.phase = "Running"
    p.status.container_statuses.add(name="c", restart_count=restarts)
    w.step()
    assert ("FailureTarget" in w.conditions()) == fails


def test_past_its_deadline_the_job_fails() -> None:
    w = world(active_deadline_seconds=30)
    assert w.plan().wait == 30
    w.now = 30
    w.step()
    assert w.conditions() == {"FailureTarget": "DeadlineExceeded"}


def test_a_deleted_pod_is_replaced_at_once_and_counts_as_failed() -> None:
    w = world(completions=2, parallelism=2)
    w.delete(w.active()[0])
    w.settle()
    assert len(w.active()) == 2
    assert (w.status.failed, w.status.terminating) == (1, 1)


def test_a_deleted_pod_that_succeeds_while_it_is_being_counted_as_failed_is_counted_once() -> None:
    w = world(completions=2, parallelism=2)
    p = w.active()[0]
    w.delete(p)
    while p.metadata.uid not in w.status.uncounted_terminated_pods.failed:
        _ = w.step(writes=1)
    w.end(p, "Succeeded")
    w.settle()
    assert (w.status.succeeded, w.status.failed) == (0, 1)


def test_with_replacement_policy_failed_a_deleted_pod_is_replaced_when_it_is_over() -> None:
    w = world(pod_replacement_policy="Failed", **indexed(2))
    gone = w.active()[0]
    w.delete(gone)
    w.settle()
    assert len(w.active()) == 1
    assert (w.status.failed, w.status.terminating) == (0, 1)
    w.confirm(gone)
    w.settle()
    assert indexes(w) == ["0", "1"]
    assert (w.status.failed, w.status.terminating) == (1, 0)


# ---------------------------------------------------------------- policies


def rule(of: Job, action: str, *codes: int, operator: str = "In", container: str = "", condition: str = "") -> None:
    made = of.spec.pod_failure_policy.rules.add(action=action)
    if condition:
        made.on_pod_conditions.add(type=condition, status="True")
    else:
        made.on_exit_codes.operator, made.on_exit_codes.container_name = operator, container
        made.on_exit_codes.values.extend(codes)


def failing(exit_code: int, *rules: Any, **spec: Any) -> World:
    made = job(pod_replacement_policy="Failed", **spec)
    for each in rules:
        rule(made, **each) if isinstance(each, dict) else rule(made, *each)
    w = World(made)
    w.settle()
    w.end(w.active()[0], "Failed", exit_code)
    return w


def test_a_failure_can_fail_the_job_and_says_which() -> None:
    w = failing(42, ("Ignore", 1), ("FailJob", 42))
    name = w.active()[0].metadata.name if w.active() else next(iter(w.pods.values())).metadata.name
    w.settle()
    assert w.conditions()["Failed"] == "PodFailurePolicy"
    message = next(c.message for c in w.status.conditions if c.type == "Failed")
    assert message == f"Container c for pod default/{name} failed with exit code 42 matching FailJob rule at index 1"
    assert w.status.failed == 1


def test_a_failure_can_be_ignored() -> None:
    w = failing(42, ("Ignore", 42), backoff_limit=0)
    w.settle()
    assert (w.status.failed, w.conditions()) == (0, {})
    w.now = 10
    w.settle()
    assert len(w.active()) == 1


@pytest.mark.parametrize(
    ("exit_code", "what", "matches"),
    [
        (3, {"action": "FailJob", "codes": (1, 3)}, True),
        (2, {"action": "FailJob", "codes": (1, 3)}, False),
        (2, {"action": "FailJob", "codes": (1, 3), "operator": "NotIn"}, True),
        (3, {"action": "FailJob", "codes": (1, 3), "operator": "NotIn"}, False),
        (3, {"action": "FailJob", "codes": (3,), "container": "c"}, True),
        (3, {"action": "FailJob", "codes": (3,), "container": "other"}, False),
    ],
)
def test_exit_codes(exit_code: int, what: dict[str, Any], matches: bool) -> None:
    made = job(pod_replacement_policy="Failed")
    codes = what.pop("codes")
    rule(made, what.pop("action"), *codes, **what)
    w = World(made)
    w.settle()
    w.end(w.active()[0], "Failed", exit_code)
    w.step()
    assert ("FailureTarget" in w.conditions()) == matches


def test_a_condition_of_the_pod_can_be_matched() -> None:
    made = job(pod_replacement_policy="Failed", backoff_limit=0)
    rule(made, "Ignore", condition="DisruptionTarget")
    w = World(made)
    w.settle()
    (p,) = w.active()
    p.status.conditions.add(type="DisruptionTarget", status="True")
    w.end(p, "Failed", 137)
    w.settle()
    assert w.conditions() == {}


@pytest.mark.parametrize(
    ("rules", "done", "met"),
    [
        ([("0", None)], {0}, 0),
        ([("0-1", None)], {0}, None),
        ([("0-2", 2)], {0, 2}, 0),
        ([("", 2)], {1, 3}, 0),
        ([("3", None), ("", 1)], {0}, 1),
    ],
)
def test_success_policy(rules: list[tuple[str, int | None]], done: set[int], met: int | None) -> None:
    made = job(**indexed(4))
    for named, count in rules:
        added = made.spec.success_policy.rules.add(succeeded_indexes=named)
        if count is not None:
            added.succeeded_count = count
    w = World(made)
    w.settle()
    for p in w.active():
        if int(p.metadata.annotations[COMPLETION_INDEX]) in done:
            w.end(p, "Succeeded")
    w.step()
    assert w.conditions() == ({} if met is None else {"SuccessCriteriaMet": "SuccessPolicy"})
    if met is not None:
        assert w.status.conditions[0].message == f"Matched rules at index {met}"
        assert w.active() == [], "what still runs is ended"
        for p in list(w.pods.values()):
            if p.metadata.HasField("deletion_timestamp"):
                w.confirm(p)
        w.settle()
        assert w.conditions()["Complete"] == "SuccessPolicy"


# ---------------------------------------------------------------- a limit for each index


def per_index(completions: int, limit: int, **spec: Any) -> dict[str, Any]:
    return indexed(completions, backoff_limit_per_index=limit, **spec)


def of_index(w: World, index: int) -> Pod:
    return next(p for p in w.active() if p.metadata.annotations[COMPLETION_INDEX] == str(index))


def test_an_index_is_tried_again_as_often_as_its_limit_says_and_after_its_own_back_off() -> None:
    w = world(**per_index(2, 1))
    w.end(of_index(w, 0), "Failed")
    w.settle()
    assert indexes(w) == ["1"]
    assert w.plan().wait == 10
    w.now = 10
    w.settle()
    assert of_index(w, 0).metadata.annotations[FAILURE_COUNT] == "1"
    assert w.status.failed == 1
    w.end(of_index(w, 0), "Failed")
    w.settle()
    assert w.status.failed_indexes == "0"
    assert indexes(w) == ["1"], "the other goes on"
    w.end(of_index(w, 1), "Succeeded")
    w.settle()
    assert w.conditions()["Failed"] == "FailedIndexes"
    assert (w.status.failed, w.status.succeeded, w.status.completed_indexes) == (2, 1, "1")


def test_an_index_that_is_given_up_keeps_the_count_of_its_failures() -> None:
    w = world(**per_index(1, 1))
    w.end(of_index(w, 0), "Failed")
    w.settle()
    w.now = 10
    w.settle()
    second = of_index(w, 0)
    w.job.spec.suspend = True
    w.settle()
    w.end(second, "Failed", 143)  # as whoever is told to end
    w.delete(second)
    w.settle()
    assert (w.active(), w.status.failed) == ([], 1)
    w.job.spec.suspend = False
    w.settle()
    assert of_index(w, 0).metadata.annotations[FAILURE_COUNT] == "1", "at once, with what is known of it"
    assert second.metadata.uid not in w.pods
    w.end(of_index(w, 0), "Failed")
    w.settle()
    assert w.status.failed_indexes == "0"
    assert w.status.failed == 2


def test_too_many_failed_indexes_fail_the_job_at_once() -> None:
    w = world(**per_index(4, 0, max_failed_indexes=1))
    w.end(of_index(w, 0), "Failed")
    w.settle()
    assert w.conditions() == {}
    w.end(of_index(w, 1), "Failed")
    w.step()
    assert w.conditions() == {"FailureTarget": "MaxFailedIndexesExceeded"}


def test_a_failure_can_fail_its_index() -> None:
    w = failing(42, ("FailIndex", 42), **per_index(2, 5))
    w.settle()
    assert w.status.failed_indexes == "0"


def test_an_ignored_failure_does_not_use_up_the_index() -> None:
    w = failing(42, ("Ignore", 42), **per_index(1, 0))
    w.settle()
    w.now = 10
    w.settle()
    p = of_index(w, 0)
    assert p.metadata.annotations[FAILURE_COUNT] == "0"
    assert p.metadata.annotations["batch.kubernetes.io/job-index-ignored-failure-count"] == "1"
    assert w.status.failed == 0


# ---------------------------------------------------------------- suspended, deleted, finished


def test_a_suspended_job_runs_nothing_and_its_clock_starts_anew() -> None:
    w = world(completions=3, parallelism=2, active_deadline_seconds=60)
    w.end(w.active()[0], "Succeeded")
    w.settle()
    w.now, w.job.spec.suspend = 50, True
    w.settle()
    assert w.active() == []
    assert w.conditions() == {"Suspended": "JobSuspended"}
    assert (w.status.succeeded, w.status.failed) == (1, 0)
    w.now = 1000
    assert w.plan().wait is None, "a suspended Job has no deadline"
    w.job.spec.suspend = False
    w.settle()
    assert w.status.start_time.seconds == int(at(1000).timestamp())
    assert len(w.active()) == 2
    assert w.conditions() == {}


def test_a_job_that_is_created_suspended_has_not_started() -> None:
    w = world(suspend=True)
    assert not w.status.HasField("start_time")
    assert w.conditions() == {"Suspended": "JobSuspended"}


def test_a_job_that_is_deleted_lets_its_pods_go() -> None:
    w = world(completions=2, parallelism=2)
    w.job.metadata.deletion_timestamp.CopyFrom(w.job.metadata.creation_timestamp)
    w.delete(w.active()[0])
    plan = w.plan()
    assert (plan.create, plan.delete, len(plan.release)) == ((), (), 2)


def test_a_finished_job_counts_no_more() -> None:
    w = world()
    w.end(w.active()[0], "Succeeded")
    w.step(writes=1)  # the status, and nothing after it
    before = w.status.SerializeToString()
    w.settle()
    assert w.status.SerializeToString() == before
    assert w.status.succeeded == 1
    assert all(TRACKING_FINALIZER not in p.metadata.finalizers for p in w.pods.values())


def test_many_ends_at_once_are_counted_in_bounded_writes() -> None:
    w = world(completions=2000, parallelism=700)
    for p in w.active():
        w.end(p, "Succeeded")
    plan = w.step()
    assert len(plan.status.uncounted_terminated_pods.succeeded) == 500
    w.settle()
    assert (w.status.succeeded, len(w.active())) == (700, 700)
