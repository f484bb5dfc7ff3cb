"""What a person is told of a rollout."""

from __future__ import annotations

import pytest

from master.api.rollout_view import history, rollout_status
from podium.objects.problems import pod_problems
from podium.objects.revisions import CHANGE_CAUSE, CHANGED_BY, SUCCEEDED
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
