"""Statuses as tables: the same observations that the planner sees, and what is told of them."""

from __future__ import annotations

import datetime

import pytest

from nodelet.pods.blueprint import blueprint
from nodelet.pods.observed import Fault, Observed, Verdict
from nodelet.pods.status import pod_status
from nodelet.runtime.protocol import State
from podium.v1.core_pb2 import ContainerState, Pod, PodStatus
from tests.support.kept_pods import NODE, container, make_pod, sidecar
from tests.unit.nodelet.test_plan import NOW, WALL, box, ended, run, seen

APP, B, INIT, LOG = container("app"), container("b"), container("init"), sidecar("log")
LATER = WALL + datetime.timedelta(minutes=5)


def told(pod: Pod, what: Observed, previous: PodStatus | None = None, now: float = NOW,
         wall: datetime.datetime = WALL) -> PodStatus:  # fmt: skip
    return pod_status(blueprint(pod), what, previous or PodStatus(), now=now, wall=wall, node=NODE)


def conditions(status: PodStatus) -> dict[str, str]:
    return {c.type: c.status for c in status.conditions}


def waiting(state: ContainerState) -> str:
    return state.waiting.reason


# ---------------------------------------------------------------- phase


@pytest.mark.parametrize(
    ("policy", "codes", "phase"),
    [
        ("Always", (None, None), "Running"),
        ("Always", (0, 0), "Running"),
        ("Always", (1, None), "Running"),
        ("OnFailure", (0, 0), "Succeeded"),
        ("OnFailure", (0, 1), "Running"),
        ("OnFailure", (0, None), "Running"),
        ("Never", (0, 0), "Succeeded"),
        ("Never", (0, 3), "Failed"),
        ("Never", (3, None), "Running"),
    ],
)
def test_phase_by_policy_and_how_containers_ended(policy: str, codes: tuple[int | None, ...], phase: str) -> None:
    runs = [run(c) if code is None else ended(c, exit_code=code) for c, code in zip((APP, B), codes, strict=True)]
    assert told(make_pod(APP, B, policy=policy), seen(*runs)).phase == phase


def test_a_pod_is_pending_until_every_main_container_has_begun() -> None:
    assert told(make_pod(APP, B), Observed()).phase == "Pending"
    assert told(make_pod(APP, B), seen(run(APP))).phase == "Pending"
    assert told(make_pod(APP, B), seen(run(APP), run(B))).phase == "Running"


def test_a_pod_is_pending_while_it_initialises() -> None:
    pod = make_pod(APP, init=(LOG, INIT))
    assert told(pod, seen(run(LOG), run(INIT))).phase == "Pending"
    assert told(pod, seen(run(LOG), ended(INIT, exit_code=1))).phase == "Pending"
    assert told(pod, seen(run(LOG), ended(INIT), run(APP))).phase == "Running"


def test_a_terminal_phase_waits_for_the_sidecars() -> None:
    pod = make_pod(APP, init=(LOG,), policy="Never")
    assert told(pod, seen(run(LOG), ended(APP))).phase == "Running"
    assert told(pod, seen(ended(LOG, exit_code=143), ended(APP))).phase == "Succeeded"


def test_a_deleted_pod_comes_to_a_terminal_phase_whatever_its_policy() -> None:
    assert told(make_pod(), seen(run(APP), removal_deadline=NOW)).phase == "Running"
    assert told(make_pod(), seen(ended(APP, exit_code=143), removal_deadline=NOW)).phase == "Failed"
    assert told(make_pod(), seen(ended(APP), removal_deadline=NOW)).phase == "Succeeded"


def test_an_evicted_pod_says_why() -> None:
    verdict = Verdict(reason="Evicted", message="low on memory", deadline=NOW)
    status = told(make_pod(), seen(ended(APP, exit_code=137), verdict=verdict))
    assert (status.phase, status.reason, status.message) == ("Failed", "Evicted", "low on memory")
    [disrupted] = [c for c in status.conditions if c.type == "DisruptionTarget"]
    assert (disrupted.status, disrupted.reason) == ("True", "TerminationByKubelet")


def test_a_terminal_phase_reason_and_address_outlive_the_nodelet() -> None:
    previous = PodStatus(phase="Failed", reason="Evicted", message="low on memory", pod_ip="10.0.0.9")
    status = told(make_pod(), Observed(terminal="Failed"), previous)
    assert (status.phase, status.reason, status.message, status.pod_ip) == (
        "Failed", "Evicted", "low on memory", "10.0.0.9",
    )  # fmt: skip


# ---------------------------------------------------------------- containers


def test_what_a_container_waits_for() -> None:
    pod = make_pod(APP, init=(INIT, LOG))
    status = told(pod, seen())
    assert [waiting(s.state) for s in status.init_container_statuses] == ["ContainerCreating", "PodInitializing"]
    assert waiting(status.container_statuses[0].state) == "PodInitializing"
    assert status.container_statuses[0].started is False


def test_faults_are_shown_where_they_hold_things_up() -> None:
    image = Fault(reason="ImagePullBackOff", message='Back-off pulling image "x": denied', count=2, retry_at=NOW + 4)
    (of,) = told(make_pod(), seen(faults={"image/app": image})).container_statuses
    assert (of.state.waiting.reason, of.state.waiting.message) == (image.reason, image.message)
    sandbox = Fault(reason="FailedCreatePodSandBox", message="no address left", count=1, retry_at=NOW)
    (of,) = told(make_pod(), Observed(faults={"network": sandbox})).container_statuses
    assert (of.state.waiting.reason, of.state.waiting.message) == ("ContainerCreating", "no address left")


@pytest.mark.parametrize(
    ("exit_code", "oom", "error", "reason", "signal"),
    [
        (0, False, "", "Completed", 0),
        (1, False, "", "Error", 0),
        (137, False, "", "Error", 9),
        (137, True, "", "OOMKilled", 9),
        (143, False, "", "Error", 15),
        (255, False, "", "Error", 0),
        (128, False, "exec format error", "StartError", 0),
    ],
)
def test_how_a_container_ended(exit_code: int, oom: bool, error: str, reason: str, signal: int) -> None:
    of_run = ended(APP, exit_code=exit_code, error=error)
    if oom:
        object.__setattr__(of_run.record, "oom_killed", True)
    (of,) = told(make_pod(policy="Never"), seen(of_run)).container_statuses
    end = of.state.terminated
    assert (end.exit_code, end.reason, end.signal, end.message) == (exit_code, reason, signal, error)
    assert end.container_id == "app0"


def test_what_a_container_left_is_its_message() -> None:
    of_run = ended(APP, exit_code=3)
    object.__setattr__(of_run.record, "message", "no database")
    (of,) = told(make_pod(policy="Never"), seen(of_run)).container_statuses
    assert of.state.terminated.message == "no database"


def test_a_crash_loop_shows_the_wait_and_the_last_end() -> None:
    what = seen(ended(APP, 4, exit_code=2, level=4), ended(APP, 3, exit_code=1))
    (of,) = told(make_pod(), what).container_statuses
    assert waiting(of.state) == "CrashLoopBackOff"
    assert of.state.waiting.message == "back-off 16s restarting failed container=app pod=p-u1_ns(u1)"
    assert of.last_state.terminated.exit_code == 2
    assert (of.restart_count, of.ready, of.started) == (4, False, False)


def test_a_running_container_shows_the_run_before() -> None:
    (of,) = told(make_pod(), seen(run(APP, 1), ended(APP, exit_code=7))).container_statuses
    assert of.state.running.started_at.seconds == int(WALL.timestamp())
    assert (of.last_state.terminated.exit_code, of.restart_count) == (7, 1)
    assert (of.image, of.image_id, of.container_id) == ("app:1", "sha256:app", "app1")


def test_a_vanished_container_is_named_unknown() -> None:
    lost = ended(APP, exit_code=137, error="could not be located", lost=True)
    (of,) = told(make_pod(), seen(lost)).container_statuses
    assert of.last_state.terminated.reason == "ContainerStatusUnknown"


def test_the_restart_count_never_goes_back() -> None:
    (of,) = told(make_pod(), seen(run(APP, 1), attempts={"app": 5})).container_statuses
    assert of.restart_count == 4


# ---------------------------------------------------------------- conditions


def test_conditions_on_the_way_up() -> None:
    pod = make_pod(APP, init=(INIT,))
    assert conditions(told(pod, Observed())) == {
        "PodReadyToStartContainers": "False", "Initialized": "False", "ContainersReady": "False", "Ready": "False",
    }  # fmt: skip
    status = told(pod, seen(run(INIT)))
    assert conditions(status)["PodReadyToStartContainers"] == "True"
    initialized = next(c for c in status.conditions if c.type == "Initialized")
    assert (initialized.reason, initialized.message) == (
        "ContainersNotInitialized",
        "containers with incomplete status: [init]",
    )
    assert set(conditions(told(pod, seen(ended(INIT), run(APP)))).values()) == {"True"}


def test_ready_needs_every_container_and_sidecar() -> None:
    pod = make_pod(APP, B, init=(LOG,))
    status = told(pod, seen(run(LOG, ready=False), run(APP), run(B, started=False)))
    ready = next(c for c in status.conditions if c.type == "Ready")
    assert (ready.status, ready.reason, ready.message) == (
        "False", "ContainersNotReady", "containers with unready status: [log b]",
    )  # fmt: skip


def test_a_pod_that_is_over_is_not_ready_and_says_so() -> None:
    status = told(make_pod(policy="Never"), seen(ended(APP)))
    ready = next(c for c in status.conditions if c.type == "Ready")
    assert (ready.status, ready.reason) == ("False", "PodCompleted")
    assert conditions(status)["Initialized"] == "True"


def test_others_conditions_are_kept_and_transition_times_stand_still() -> None:
    pod = make_pod()
    pod.status.conditions.add(type="PodScheduled", status="True")
    first = told(pod, seen(run(APP)))
    again = told(pod, seen(run(APP)), first, wall=LATER)
    assert again == first
    assert conditions(again)["PodScheduled"] == "True"
    lost = told(pod, seen(run(APP, ready=False)), first, wall=LATER)
    moved = {c.type for c in lost.conditions if c.last_transition_time.seconds == int(LATER.timestamp())}
    assert moved == {"ContainersReady", "Ready"}


def test_a_lost_sandbox_shows() -> None:
    status = told(make_pod(), seen(run(APP), sandboxes=(box(state=State.EXITED),)))
    assert conditions(status)["PodReadyToStartContainers"] == "False"


def test_the_head_of_a_status() -> None:
    status = told(make_pod(), seen(run(APP)))
    assert (status.host_ip, status.pod_ip, [ip.ip for ip in status.pod_ips]) == ("192.0.2.1", "10.0.0.2", ["10.0.0.2"])
    assert (status.qos_class, status.observed_generation) == ("BestEffort", 1)
    assert status.start_time.seconds == int(WALL.timestamp())


# ---------------------------------------------------------------- ephemeral containers


def test_an_ephemeral_container_counts_for_neither_phase_nor_readiness() -> None:
    pod = make_pod(APP)
    pod.spec.ephemeral_containers.add(name="d", image="tools:1")
    debugger = container("d", image="tools:1", image_pull_policy="")
    for what in (seen(run(APP)), seen(run(APP), run(debugger)), seen(run(APP), ended(debugger, exit_code=3))):
        status = told(pod, what)
        assert status.phase == "Running"
        assert {c.type: c.status for c in status.conditions}["Ready"] == "True"
        (of,) = status.ephemeral_container_statuses
        assert (of.name, of.image, of.ready) == ("d", "tools:1", False)
    (of,) = told(pod, seen(run(APP), ended(debugger, exit_code=3))).ephemeral_container_statuses
    assert of.state.terminated.exit_code == 3


def test_an_ephemeral_container_of_which_nothing_is_left_is_unknown() -> None:
    pod = make_pod(APP)
    pod.spec.ephemeral_containers.add(name="d", image="tools:1")
    (of,) = told(pod, seen(run(APP), attempts={"app": 1, "d": 1})).ephemeral_container_statuses
    assert (of.state.terminated.exit_code, of.state.terminated.reason) == (137, "ContainerStatusUnknown")
