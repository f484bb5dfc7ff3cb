"""What a person is told of a rollout."""

from __future__ import annotations

import pytest

from master.api.rollout_view import history, rollout_status
from podium.objects.problems import pod_problems
from podium.objects.revisions import CHANGE_CAUSE, CHANGED_BY, FAILED, SUCCEEDED
from podium.v1.apps_pb2 import Deployment
from podium.v1.core_pb2 import ContainerStatus, Event, Pod
from podium.v1.meta_pb2 import Condition
from podium.v1.rollouts_service_pb2 import PodProblem, RolloutStatus
from tests.support.workloads import deployment, pod, replica_set


def _observed(d: Deployment, *, total: int, updated: int, available: int) -> Deployment:
    d.status.observed_generation = d.metadata.generation
    d.status.replicas, d.status.updated_replicas = total, updated
    d.status.available_replicas = d.status.ready_replicas = available
    return d


def _status(d: Deployment, *pods: Pod) -> RolloutStatus:
    return rollout_status(d, [replica_set("web-1", owner=d, revision=1)], pods, {})


@pytest.mark.parametrize(
    ("total", "updated", "available", "phase", "says"),
    [
        (3, 1, 3, RolloutStatus.PROGRESSING, "1 of 3 replicas are of the new revision"),
        (4, 3, 4, RolloutStatus.PROGRESSING, "1 old replicas are yet to end"),
        (3, 3, 2, RolloutStatus.PROGRESSING, "2 of 3 new replicas are available"),
        (3, 3, 3, RolloutStatus.COMPLETE, "is rolled out: 3 of 3"),
    ],
)
def test_the_phase_follows_the_counts(
    total: int, updated: int, available: int, phase: RolloutStatus.Phase.ValueType, says: str
) -> None:
    status = _status(_observed(deployment(), total=total, updated=updated, available=available))
    assert status.phase == phase
    assert says in status.message


def test_a_change_that_nobody_has_seen_yet_is_progressing() -> None:
    d = _observed(deployment(), total=3, updated=3, available=3)
    d.metadata.generation = 2
    assert _status(d).phase == RolloutStatus.PROGRESSING


def test_paused_and_failed_are_told() -> None:
    paused = _observed(deployment(paused=True), total=3, updated=1, available=3)
    assert _status(paused).phase == RolloutStatus.PAUSED
    failed = _observed(deployment(), total=3, updated=1, available=3)
    failed.status.conditions.append(Condition(type="Progressing", status="False", reason="ProgressDeadlineExceeded"))
    assert _status(failed).phase == RolloutStatus.FAILED


def test_a_stuck_rollout_says_what_changed_since_it_last_worked() -> None:
    d = _observed(deployment(image="new"), total=4, updated=1, available=3)
    good = replica_set("web-1", owner=d, revision=1, image="good")
    good.metadata.annotations[SUCCEEDED] = "true"
    bad = replica_set("web-2", owner=d, revision=2, image="bad")
    new = replica_set("web-3", owner=d, revision=3, image="new")
    status = rollout_status(d, [good, bad, new], [], {})
    assert status.revision == 3
    assert list(status.changes) == ["spec.containers[c].image: good -> new"]


def _waiting(reason: str, *, last: str = "", code: int = 0) -> Pod:
    made = pod("p", node="n1", phase="Running")
    status = ContainerStatus(name="c", restart_count=4)
    status.state.waiting.reason, status.state.waiting.message = reason, "the engine says no"
    if last:
        status.last_state.terminated.reason, status.last_state.terminated.exit_code = last, code
    made.status.container_statuses.append(status)
    return made


def test_problems_name_pod_container_reason_code_restarts_and_node() -> None:
    (problem,) = pod_problems(_waiting("CrashLoopBackOff", last="Error", code=7))
    assert problem == PodProblem(
        pod="p",
        container="c",
        reason="CrashLoopBackOff",
        message="the engine says no",
        exit_code=7,
        restart_count=4,
        node="n1",
    )
    assert pod_problems(_waiting("ImagePullBackOff"))[0].reason == "ImagePullBackOff"
    assert pod_problems(_waiting("CrashLoopBackOff", last="OOMKilled", code=137))[0].reason == "OOMKilled"
    assert not pod_problems(_waiting("ContainerCreating"))


def test_an_unschedulable_pod_says_why() -> None:
    made = pod("p")
    made.status.conditions.append(
        Condition(type="PodScheduled", status="False", reason="Unschedulable", message="0/3 nodes fit")
    )
    (problem,) = pod_problems(made)
    assert (problem.reason, problem.message) == ("Unschedulable", "0/3 nodes fit")


def test_a_failing_probe_is_told_by_its_event_and_mere_slowness_only_in_the_end() -> None:
    made = pod("p", node="n1", phase="Running")
    status = ContainerStatus(name="c")
    status.state.running.started_at.seconds = 1
    made.status.container_statuses.append(status)
    assert not pod_problems(made)
    assert pod_problems(made, impatient=True)[0].reason == "Unhealthy"
    (problem,) = pod_problems(made, Event(message="readiness: HTTP 503"))
    assert (problem.reason, problem.container, problem.message) == ("Unhealthy", "c", "readiness: HTTP 503")


def test_history_says_who_why_and_what() -> None:
    d = deployment(image="b")
    first = replica_set("web-1", owner=d, revision=1, image="a")
    second = replica_set("web-2", owner=d, revision=2, image="b")
    second.metadata.annotations.update({CHANGED_BY: "ada", CHANGE_CAUSE: "faster"})
    told = history(d, [second, first])
    assert [(r.revision, r.user, r.change_cause, list(r.changes), r.current) for r in told] == [
        (1, "", "", [], False),
        (2, "ada", "faster", ["spec.containers[c].image: a -> b"], True),
    ]
    assert "pod-template-hash" not in told[0].template.metadata.labels


# ---------------------------------------------------------------- strategies


def _canary_at(step: int, *, reason: str, told: str = "") -> RolloutStatus:
    d = _observed(deployment(replicas=5), total=5, updated=1, available=5)
    d.spec.strategy.type = "Canary"
    d.spec.strategy.canary.steps.add(set_weight=20)
    d.spec.strategy.canary.steps.add().pause.SetInParent()
    d.spec.strategy.canary.analysis.metrics.add(name="errors", success_condition="< 0.1")
    new = replica_set("web-2", owner=d, revision=2, replicas=1, available=1)
    old = replica_set("web-1", owner=d, revision=1, replicas=4, available=4, image="old")
    state = d.status.canary
    state.canary_hash, state.stable_revision, state.current_step_index, state.weight = "web-2", 1, step, 20
    state.background.metrics.add(name="errors", passed=3, last_value="0.02", phase="Running")
    d.status.conditions.append(Condition(type="Progressing", status="Unknown", reason=reason, message=told))
    return rollout_status(d, [old, new], [], {})


def test_a_canary_tells_its_steps_its_weights_and_what_is_measured() -> None:
    status = _canary_at(0, reason="ReplicaSetUpdated")
    assert (status.phase, status.message) == (RolloutStatus.PROGRESSING, "step 1 of 2: weight 20%")
    assert [(s.text, s.state) for s in status.steps] == [("weight 20%", 2), ("pause", 1)]
    assert (status.weight, status.actual_weight, status.serving_revision, status.available) == (20, 20, 1, 1)
    assert status.metrics[0].message == "0.02 (wanted: < 0.1), 3 passed"


def test_a_canary_that_waits_for_a_person_says_what_to_do() -> None:
    status = _canary_at(1, reason="RolloutPaused", told='ReplicaSet "web-2": pause at step 2 of 2: promote goes on')
    assert (status.phase, status.message) == (RolloutStatus.PAUSED, "pause at step 2 of 2: promote goes on")


def test_an_analysis_that_failed_ends_the_watch() -> None:
    status = _canary_at(1, reason="AnalysisFailed", told="errors: 0.2 is not good")
    assert status.phase == RolloutStatus.FAILED
    assert "errors: 0.2 is not good" in status.message


def test_a_return_is_watched_until_it_is_complete() -> None:
    d = _observed(deployment(), total=3, updated=0, available=3)
    good = replica_set("web-1", owner=d, revision=1, image="old", available=3)
    failed = replica_set("web-2", owner=d, revision=2, replicas=0)
    d.status.aborted.hash, d.status.aborted.returned_to_hash = "web-2", "web-1"
    d.status.aborted.revision, d.status.aborted.returned_to_revision = 2, 1
    d.status.aborted.message = "timed out"
    d.status.conditions.append(Condition(type="RolledBack", status="False"))
    returning = rollout_status(d, [good, failed], [], {})
    assert (returning.phase, returning.message) == (RolloutStatus.PROGRESSING, "returning to revision 1: timed out")
    d.status.conditions[0].status = "True"
    back = rollout_status(d, [good, failed], [], {})
    assert (back.phase, back.serving_revision) == (RolloutStatus.FAILED, 1)
    assert "podium rollout retry" in back.message


def test_history_tells_what_worked_and_what_failed() -> None:
    d = deployment()
    good = replica_set("web-1", owner=d, revision=1, image="old")
    bad = replica_set("web-2", owner=d, revision=2)
    good.metadata.annotations[SUCCEEDED] = "true"
    bad.metadata.annotations[FAILED] = "AnalysisFailed: errors"
    assert [r.verdict for r in history(d, [good, bad])] == ["worked", "failed: AnalysisFailed: errors"]
