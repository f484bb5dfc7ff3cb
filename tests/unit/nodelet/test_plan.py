"""The plan as a table: an observation in, the very actions out."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

import pytest

from nodelet.pods.actions import (
    AttachNetwork,
    CreateSandbox,
    DetachNetwork,
    HastenStop,
    KillContainer,
    Plan,
    PullImage,
    RemoveContainer,
    RemoveSandbox,
    ResizeContainer,
    RunPostStart,
    SetUpVolumes,
    StartContainer,
    StopContainer,
    TearDownVolumes,
)
from nodelet.pods.blueprint import blueprint
from nodelet.pods.observed import Ending, Fault, Observed, Run, Unhealthy, Verdict
from nodelet.pods.plan import plan
from nodelet.runtime.protocol import ContainerRecord, PodIdentity, Sandbox, State
from podium.v1.core_pb2 import Container, Lifecycle, LifecycleHandler, Pod, SleepAction, Volume
from tests.support.kept_pods import container, make_pod, sidecar

WALL = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
NOW = 1000.0
IDENTITY = PodIdentity(namespace="ns", name="p-u1", uid="u1")
HOOK = Lifecycle(post_start=LifecycleHandler(sleep=SleepAction(seconds=1)))


def box(attempt: int = 0, state: State = State.RUNNING) -> Sandbox:
    return Sandbox(id=f"box{attempt}", pod=IDENTITY, attempt=attempt, state=state, created_at=WALL)


def run(of: Container, attempt: int = 0, *, state: State = State.RUNNING, exit_code: int = 0, lasted: float = 5,
        **fields: Any) -> Run:  # fmt: skip
    """A run of a container, in the sandbox 0 unless said otherwise; an ended one ended now."""
    over = state is State.EXITED or "error" in fields
    record = ContainerRecord(
        id=f"{of.name}{attempt}", pod=IDENTITY, name=of.name, attempt=attempt, state=state, image="app:1",
        image_id="sha256:app", config_hash=blueprint(make_pod(of)).units[0].config_hash, created_at=WALL,
        started_at=WALL, finished_at=WALL + datetime.timedelta(seconds=lasted) if over else None, exit_code=exit_code,
    )  # fmt: skip
    fields.setdefault("ended", NOW if over else None)
    return Run(record=record, generation=fields.pop("generation", 0), **fields)


def ended(of: Container, attempt: int = 0, exit_code: int = 0, **fields: Any) -> Run:
    return run(of, attempt, state=State.EXITED, exit_code=exit_code, **fields)


def seen(*runs: Run, **fields: Any) -> Observed:
    """A pod with its sandbox and address, and all images there."""
    by_name: dict[str, list[Run]] = {}
    for each in runs:
        by_name.setdefault(each.name, []).append(each)
    fields.setdefault("sandboxes", (box(),))
    fields.setdefault("address", "10.0.0.2")
    fields.setdefault("attached", True)
    fields.setdefault("pulled", frozenset("abcdimnsx") | {"app", "init", "log", "mesh"})
    fields.setdefault("attempts", {name: max(r.attempt for r in of) + 1 for name, of in by_name.items()})
    ordered = {name: tuple(sorted(of, key=lambda r: -r.attempt)) for name, of in by_name.items()}
    return Observed(runs=ordered, **fields)


def planned(pod: Pod, what: Observed, now: float = NOW) -> Plan:
    return plan(blueprint(pod), what, now)


def actions(pod: Pod, what: Observed, now: float = NOW) -> list[Any]:
    return list(planned(pod, what, now).actions)


def start(name: str, attempt: int = 0, level: int = 0, generation: int = 0) -> StartContainer:
    return StartContainer(name=name, attempt=attempt, level=level, generation=generation)


def stop(of: Run, deadline: float, cause: str) -> StopContainer:
    return StopContainer(name=of.name, id=of.id, deadline=deadline, cause=cause)


APP = container("app")
INIT, INIT2 = container("init"), container("i")
LOG, MESH = sidecar("log"), sidecar("mesh")


# ---------------------------------------------------------------- from nothing to running


def test_nothing_is_concluded_before_the_runtime_was_listed() -> None:
    assert planned(make_pod(), Observed(known=False)) == Plan(because="waiting for the runtime")


def test_a_new_pod_gets_its_images_and_its_sandbox_at_once() -> None:
    assert actions(make_pod(APP, container("b")), Observed()) == [
        PullImage(name="app"),
        PullImage(name="b"),
        CreateSandbox(attempt=0),
    ]


def test_then_its_address() -> None:
    assert actions(make_pod(), seen(address="", attached=None)) == [AttachNetwork(sandbox_id="box0")]


def test_then_all_main_containers_together() -> None:
    assert actions(make_pod(APP, container("b")), seen()) == [start("app"), start("b")]


def test_a_container_waits_for_its_own_image_only() -> None:
    assert actions(make_pod(APP, container("b")), seen(pulled=frozenset("b"))) == [PullImage(name="app"), start("b")]


def test_what_is_in_flight_is_not_asked_for_again() -> None:
    busy = frozenset(("image/app", "sandbox"))
    assert actions(make_pod(), Observed(busy=busy)) == []
    assert actions(make_pod(), seen(busy=frozenset(("container/app",)))) == []


def test_a_running_pod_is_as_it_should_be() -> None:
    assert planned(make_pod(), seen(run(APP))) == Plan(because="as it should be")


def test_a_container_created_but_not_started_is_started_under_its_number() -> None:
    assert actions(make_pod(), seen(run(APP, 3, state=State.CREATED))) == [start("app", 3)]


def test_one_created_for_a_sandbox_that_is_gone_is_removed() -> None:
    what = seen(run(APP, 3, state=State.CREATED), sandboxes=(box(1),))
    assert RemoveContainer(name="app", id="app3") in actions(make_pod(), what)


# ---------------------------------------------------------------- init containers and sidecars


def test_init_containers_run_one_after_the_other() -> None:
    pod = make_pod(APP, init=(INIT, INIT2))
    assert actions(pod, seen()) == [start("init")]
    assert actions(pod, seen(run(INIT))) == []
    assert actions(pod, seen(ended(INIT))) == [start("i")]
    assert actions(pod, seen(ended(INIT), ended(INIT2))) == [start("app")]


def test_a_failed_init_container_runs_again_after_its_back_off() -> None:
    pod = make_pod(APP, init=(INIT,))
    failed = seen(ended(INIT, exit_code=1))
    assert planned(pod, failed).recheck_at == NOW + 1
    assert actions(pod, failed) == []
    assert actions(pod, failed, NOW + 1) == [start("init", 1, level=1)]


def test_a_failed_init_container_of_a_pod_that_never_restarts_ends_the_pod() -> None:
    pod = make_pod(APP, init=(LOG, INIT), policy="Never")
    log = run(LOG)
    assert actions(pod, seen(log, ended(INIT, exit_code=1))) == [stop(log, NOW + 30, "pod failed")]


def test_a_pod_stays_as_it_is_until_it_has_drained() -> None:
    app = run(APP)
    what = seen(app, removal_deadline=NOW + 30, drained_at=NOW + 1)
    draining = planned(make_pod(), what)
    assert (draining.actions, draining.recheck_at) == ((), NOW + 1)
    assert actions(make_pod(), what, NOW + 1) == [stop(app, NOW + 30, "pod is being deleted")]
    hurried = seen(app, removal_deadline=NOW, drained_at=NOW + 1)
    assert actions(make_pod(), hurried) == [stop(app, NOW, "pod is being deleted")]
    verdict = Verdict(reason="Fenced", message="", deadline=NOW + 3)
    fenced = seen(app, removal_deadline=NOW + 30, drained_at=NOW + 8, verdict=verdict)
    assert actions(make_pod(), fenced) == [stop(app, NOW + 3, "pod is being deleted")]


def test_nothing_drains_where_nothing_answers_any_more() -> None:
    drained_at, deadline = NOW + 1, NOW + 30
    over = seen(ended(APP), removal_deadline=deadline, drained_at=drained_at)
    assert RemoveSandbox(id="box0") in actions(make_pod(), over)
    log = run(LOG)
    ending = run(APP, ending=Ending(deadline=NOW, cause="x"))
    pod = make_pod(APP, init=(LOG,))
    assert actions(pod, seen(log, ending, removal_deadline=deadline, drained_at=drained_at)) == [
        KillContainer(name="app", id="app0")
    ]


def test_a_sidecar_must_have_started_before_the_next() -> None:
    pod = make_pod(APP, init=(LOG, INIT))
    assert actions(pod, seen()) == [start("log")]
    assert actions(pod, seen(run(LOG, started=False))) == []
    assert actions(pod, seen(run(LOG))) == [start("init")]


def test_a_crashed_sidecar_does_not_hold_up_main_containers_that_have_begun() -> None:
    pod = make_pod(APP, container("b"), init=(LOG,))
    what = seen(ended(LOG, exit_code=1), run(APP))
    assert actions(pod, what) == [start("b")]
    assert actions(pod, what, NOW + 1) == [start("log", 1, level=1), start("b")]


def test_a_sidecar_that_ends_well_is_restarted_even_in_a_pod_that_never_restarts() -> None:
    pod = make_pod(APP, init=(LOG,), policy="Never")
    assert actions(pod, seen(ended(LOG), run(APP)), NOW + 1) == [start("log", 1, level=1)]


def test_sidecars_end_after_the_main_containers_last_to_first() -> None:
    pod = make_pod(APP, init=(LOG, MESH), policy="Never")
    log, mesh, app = run(LOG), run(MESH), ended(APP)
    assert actions(pod, seen(log, mesh, app)) == [stop(mesh, NOW + 30, "pod succeeded")]
    assert actions(pod, seen(log, ended(MESH), app)) == [stop(log, NOW + 30, "pod succeeded")]
    assert actions(pod, seen(ended(LOG), ended(MESH), app)) == [RemoveSandbox(id="box0")]


def test_init_containers_run_again_in_a_new_sandbox() -> None:
    pod = make_pod(APP, init=(INIT,))
    what = seen(ended(INIT), ended(APP, exit_code=137), sandboxes=(box(1),))
    assert actions(pod, what, NOW + 9) == [start("init", 1, generation=1)]
    what = seen(ended(INIT), ended(INIT, 1, generation=1), ended(APP, exit_code=137), sandboxes=(box(1),))
    assert actions(pod, what, NOW + 9) == [start("app", 1, level=1, generation=1)]


# ---------------------------------------------------------------- restarts


@pytest.mark.parametrize(
    ("policy", "exit_code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_restart_policy(policy: str, exit_code: int, again: bool) -> None:
    pod = make_pod(APP, container("b"), policy=policy)
    what = seen(ended(APP, exit_code=exit_code), run(container("b")))
    assert actions(pod, what, NOW + 1) == ([start("app", 1, level=1)] if again else [])


@pytest.mark.parametrize(("level", "delay"), [(0, 1), (1, 2), (2, 4), (7, 128), (8, 256), (9, 300), (40, 300)])
def test_the_delay_doubles_up_to_five_minutes(level: int, delay: float) -> None:
    what = seen(ended(APP, level=level, exit_code=1))
    assert planned(make_pod(), what) == Plan(recheck_at=NOW + delay, because="as it should be")
    assert actions(make_pod(), what, NOW + delay) == [start("app", 1, level=level + 1)]


def test_a_run_of_ten_minutes_is_forgiven_all_before_it() -> None:
    what = seen(ended(APP, level=9, exit_code=1, lasted=600))
    assert actions(make_pod(), what, NOW + 1) == [start("app", 1, level=1)]


def test_a_pod_may_tune_its_back_off() -> None:
    pod = make_pod()
    pod.spec.crash_loop_back_off.initial_delay, pod.spec.crash_loop_back_off.max_delay = "200ms", "3s"
    assert planned(pod, seen(ended(APP, exit_code=1))).recheck_at == NOW + 0.2
    assert planned(pod, seen(ended(APP, level=20, exit_code=1))).recheck_at == NOW + 3


def test_a_new_image_replaces_only_its_container_and_at_once() -> None:
    b = container("b")
    pod = make_pod(container("app", image="app:2"), b)
    old = run(APP, level=4)
    assert actions(pod, seen(old, run(b))) == [stop(old, NOW + 30, "definition changed, will be restarted")]
    gone = ended(APP, level=4, exit_code=143, ending=Ending(deadline=NOW + 30, cause="definition changed"))
    assert actions(pod, seen(gone, run(b))) == [start("app", 1)]


def test_a_changed_configuration_cuts_a_back_off_short() -> None:
    pod = make_pod(container("app", image="app:2"))
    assert actions(pod, seen(ended(APP, level=9, exit_code=1))) == [start("app", 1)]


def test_a_container_that_answers_our_stop_with_zero_is_still_replaced() -> None:
    pod = make_pod(policy="OnFailure")
    stopped = ended(APP, exit_code=0, ending=Ending(deadline=NOW, cause="failed liveness probe, will be restarted"))
    assert actions(pod, seen(stopped), NOW + 1) == [start("app", 1, level=1)]


def test_only_the_run_before_is_kept_for_its_logs() -> None:
    what = seen(run(APP, 3), ended(APP, 2), ended(APP, 1), ended(APP, 0))
    assert actions(make_pod(), what) == [RemoveContainer(name="app", id="app1"), RemoveContainer(name="app", id="app0")]


def test_a_failed_action_waits_for_its_retry() -> None:
    fault = Fault(reason="ErrImagePull", message="no", count=1, retry_at=NOW + 2)
    what = Observed(sandboxes=(box(),), address="10.0.0.2", faults={"image/app": fault})
    assert planned(make_pod(), what).recheck_at == NOW + 2
    assert actions(make_pod(), what) == []
    assert actions(make_pod(), what, NOW + 2) == [PullImage(name="app")]


# ---------------------------------------------------------------- hooks and probes


def test_a_post_start_hook_runs_once_and_holds_back_the_next_container() -> None:
    hooked = container("app", lifecycle=HOOK)
    pod = make_pod(hooked, container("b"))
    assert actions(pod, seen()) == [start("app")]
    assert actions(pod, seen(run(hooked, hook_over=False))) == [RunPostStart(name="app", id="app0")]
    assert actions(pod, seen(run(hooked))) == [start("b")]


def test_an_unhealthy_container_is_stopped_with_the_probes_own_grace() -> None:
    sick = run(APP, unhealthy=Unhealthy(probe="liveness", grace=5))
    assert actions(make_pod(), seen(sick)) == [stop(sick, NOW + 5, "failed liveness probe, will be restarted")]
    sick = run(APP, unhealthy=Unhealthy(probe="startup"))
    assert actions(make_pod(), seen(sick)) == [stop(sick, NOW + 30, "failed startup probe, will be restarted")]


def test_past_the_deadline_comes_sigkill_again_and_again() -> None:
    def stopping(killed_at: float | None = None) -> Observed:
        return seen(run(APP, ending=Ending(deadline=NOW + 5, cause="failed", killed_at=killed_at)))

    assert planned(make_pod(), stopping()) == Plan(recheck_at=NOW + 5, because="as it should be")
    kill = KillContainer(name="app", id="app0")
    assert actions(make_pod(), stopping(), NOW + 5) == [kill]
    assert planned(make_pod(), stopping(NOW + 5), NOW + 6).recheck_at == NOW + 15
    assert actions(make_pod(), stopping(NOW + 5), NOW + 15) == [kill]


# ---------------------------------------------------------------- a lost sandbox


def test_a_lost_sandbox_stops_its_containers_then_is_made_anew() -> None:
    lost = box(state=State.EXITED)
    app = run(APP)
    assert actions(make_pod(), seen(app, sandboxes=(lost,))) == [
        stop(app, NOW + 30, "lost its pod sandbox, will be restarted")
    ]
    what = seen(ended(APP, exit_code=137), sandboxes=(lost,))
    assert actions(make_pod(), what) == [CreateSandbox(attempt=1)]
    what = seen(ended(APP, exit_code=137), sandboxes=(box(1), lost))
    assert actions(make_pod(), what, NOW + 1) == [RemoveSandbox(id="box0"), start("app", 1, level=1, generation=1)]


def test_a_sandbox_that_vanished_altogether_is_made_under_a_new_number() -> None:
    assert actions(make_pod(), seen(ended(APP, exit_code=137), sandboxes=())) == [CreateSandbox(attempt=1)]


def test_a_sandbox_created_but_not_started_is_started() -> None:
    assert actions(make_pod(), seen(sandboxes=(box(2, State.CREATED),))) == [CreateSandbox(attempt=2)]


def test_a_pod_that_is_over_needs_no_sandbox() -> None:
    pod = make_pod(policy="Never")
    assert actions(pod, seen(ended(APP), sandboxes=(), attached=False)) == []


# ---------------------------------------------------------------- over


def test_a_pod_that_is_over_gives_up_its_sandbox_and_address_and_keeps_its_containers() -> None:
    pod = make_pod(policy="Never")
    assert actions(pod, seen(ended(APP, exit_code=3))) == [RemoveSandbox(id="box0")]
    assert actions(pod, seen(ended(APP, exit_code=3), sandboxes=())) == [DetachNetwork()]
    assert actions(pod, seen(ended(APP, exit_code=3), sandboxes=(), attached=False)) == []


def test_a_terminal_phase_once_reported_is_never_left() -> None:
    assert actions(make_pod(policy="Always"), seen(sandboxes=(), attached=False, terminal="Failed")) == []


def test_a_pod_past_its_active_deadline_is_condemned_and_until_then_looked_at_again() -> None:
    app = run(APP)
    before = planned(make_pod(), seen(app, active_until=NOW + 2))
    assert (before.condemned, before.recheck_at) == (None, NOW + 2)
    late = planned(make_pod(), seen(app, active_until=NOW))
    assert late.condemned is not None
    assert late.condemned.reason == "DeadlineExceeded"
    assert late.actions == ()


def test_a_pod_that_is_over_or_going_has_no_deadline_any_more() -> None:
    done = make_pod(APP, policy="Never")
    assert planned(done, seen(ended(APP), active_until=NOW)).condemned is None
    assert planned(make_pod(), seen(run(APP), active_until=NOW, removal_deadline=NOW + 9)).condemned is None


def test_an_evicted_pod_is_stopped_by_the_verdicts_deadline() -> None:
    app = run(APP)
    verdict = Verdict(reason="Evicted", message="memory", deadline=NOW + 3)
    assert actions(make_pod(), seen(app, verdict=verdict)) == [stop(app, NOW + 3, "Evicted")]


# ---------------------------------------------------------------- removal


def test_a_removed_pod_is_stopped_then_taken_away_then_gone() -> None:
    app, pod = run(APP), make_pod()
    assert actions(pod, seen(app, removal_deadline=NOW + 30)) == [stop(app, NOW + 30, "pod is being deleted")]
    assert actions(pod, seen(ended(APP), removal_deadline=NOW + 30)) == [
        RemoveContainer(name="app", id="app0"),
        RemoveSandbox(id="box0"),
    ]
    assert actions(pod, seen(sandboxes=(), removal_deadline=NOW + 30)) == [DetachNetwork()]
    assert planned(pod, seen(sandboxes=(), attached=False, removal_deadline=NOW + 30)).gone


def test_a_removed_pod_is_not_gone_while_something_is_being_made() -> None:
    def at(slot: str) -> Plan:
        busy = frozenset((slot,))
        return planned(make_pod(), seen(sandboxes=(), attached=False, removal_deadline=NOW, busy=busy))

    assert not at("container/app").gone
    assert not at("sandbox").gone
    assert at("image/app").gone


def test_nothing_is_removed_under_a_container_that_is_being_started() -> None:
    what = seen(removal_deadline=NOW, busy=frozenset(("container/app",)))
    assert actions(make_pod(), what) == []


def test_a_shorter_grace_hastens_a_stop_under_way_and_a_longer_one_changes_nothing() -> None:
    stopping = run(APP, ending=Ending(deadline=NOW + 30, cause="x"))
    assert actions(make_pod(), seen(stopping, removal_deadline=NOW + 5)) == [
        HastenStop(name="app", id="app0", deadline=NOW + 5)
    ]
    assert actions(make_pod(), seen(stopping, removal_deadline=NOW + 60)) == []


def test_sidecars_of_a_removed_pod_get_what_is_left_and_a_little_more() -> None:
    pod = make_pod(APP, init=(LOG,))
    log = run(LOG)
    late = NOW + 29.5
    assert actions(pod, seen(log, ended(APP), removal_deadline=NOW + 30), late) == [
        stop(log, late + 2, "pod is being deleted")
    ]


def test_a_pod_deleted_with_no_grace_is_killed_sidecars_too() -> None:
    pod = make_pod(APP, init=(LOG,), grace=0)
    log = run(LOG)
    assert actions(pod, seen(log, ended(APP), removal_deadline=NOW)) == [stop(log, NOW, "pod is being deleted")]


def test_what_is_not_of_the_pod_any_more_is_stopped_and_removed() -> None:
    stray = run(container("x"))
    assert actions(make_pod(), seen(run(APP), stray)) == [stop(stray, NOW + 30, "is no longer part of the pod")]
    assert actions(make_pod(), seen(run(APP), ended(container("x")))) == [RemoveContainer(name="x", id="x0")]


# ---------------------------------------------------------------- volumes


def with_volume() -> Pod:
    pod = make_pod(APP)
    pod.spec.volumes.append(Volume(name="data"))
    return pod


def test_volumes_are_set_up_beside_image_and_sandbox() -> None:
    what = Observed(mounted=None, volumes_due=True)
    assert actions(with_volume(), what) == [PullImage(name="app"), SetUpVolumes(), CreateSandbox(attempt=0)]


@pytest.mark.parametrize("mounted", [None, False])
def test_no_container_starts_before_the_volumes_are_there(mounted: bool | None) -> None:
    assert actions(with_volume(), seen(mounted=mounted, volumes_due=True)) == [SetUpVolumes()]
    assert actions(with_volume(), seen(mounted=mounted, volumes_due=True, busy=frozenset({"volumes"}))) == []


def test_changed_volumes_are_set_up_again_and_hold_nothing_up() -> None:
    assert actions(with_volume(), seen(run(APP), mounted=True, volumes_due=True)) == [SetUpVolumes()]
    assert actions(with_volume(), seen(mounted=True, volumes_due=True)) == [SetUpVolumes(), start("app")]
    assert actions(with_volume(), seen(run(APP), mounted=True)) == []


def test_volumes_go_after_the_sandbox_and_before_the_pod() -> None:
    gone = seen(mounted=True, removal_deadline=NOW)
    assert TearDownVolumes() not in actions(with_volume(), gone)
    left = seen(sandboxes=(), attached=False, mounted=True, removal_deadline=NOW)
    assert actions(with_volume(), left) == [TearDownVolumes()]
    assert not planned(with_volume(), left).gone
    busy = seen(sandboxes=(), attached=False, mounted=False, removal_deadline=NOW, busy=frozenset({"volumes"}))
    assert not planned(with_volume(), busy).gone
    assert planned(with_volume(), seen(sandboxes=(), attached=False, mounted=False, removal_deadline=NOW)).gone


def test_a_pod_that_is_over_lets_its_volumes_go() -> None:
    what = seen(ended(APP), sandboxes=(), attached=False, mounted=True, terminal="Succeeded")
    assert actions(with_volume(), what) == [TearDownVolumes()]


# ---------------------------------------------------------------- ephemeral containers


def with_debugger(*main: Container, target: str = "", **fields: Any) -> Pod:
    pod = make_pod(*main, **fields)
    pod.spec.ephemeral_containers.add(name="d", image="app:1", target_container_name=target)
    return pod


D = container("d", image_pull_policy="")


def test_an_ephemeral_container_starts_beside_what_runs() -> None:
    assert actions(with_debugger(APP), seen(run(APP))) == [start("d")]


def test_an_ephemeral_container_waits_for_no_init_container() -> None:
    assert start("d") in actions(with_debugger(APP, init=(INIT,)), seen())


def test_an_ephemeral_container_waits_for_its_target() -> None:
    pod = with_debugger(APP, target="app")
    assert start("d") not in actions(pod, seen())
    assert start("d") not in actions(pod, seen(ended(APP)))
    assert start("d") in actions(pod, seen(run(APP)))


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
@pytest.mark.parametrize("exit_code", [0, 1])
def test_an_ephemeral_container_is_never_started_again(policy: str, exit_code: int) -> None:
    pod = with_debugger(APP, policy=policy)
    assert actions(pod, seen(run(APP), ended(D, exit_code=exit_code))) == []
    assert actions(pod, seen(run(APP), ended(D, exit_code=exit_code), pulled=frozenset())) == []


def test_an_ephemeral_container_that_vanished_stays_so() -> None:
    assert actions(with_debugger(APP), seen(run(APP), attempts={"app": 1, "d": 1})) == []


def test_an_ephemeral_container_that_was_made_and_not_started_is_started() -> None:
    assert actions(with_debugger(APP), seen(run(APP), run(D, state=State.CREATED))) == [start("d")]


def test_an_ephemeral_container_ends_with_its_pod() -> None:
    pod = with_debugger(APP, policy="Never")
    assert actions(pod, seen(ended(APP), run(D))) == [stop(run(D), NOW + 30, "pod succeeded")]


# ---------------------------------------------------------------- resources in place


def sized(cpu: str, memory: str = "64Mi", policies: Mapping[str, str] | None = None) -> Container:
    of = container("app")
    of.resources.requests.update({"cpu": cpu, "memory": memory})
    for resource, policy in (policies or {}).items():
        of.resize_policy.add(resource_name=resource, restart_policy=policy)
    return of


def run_with(of: Container, *, then: Run | None = None, **fields: Any) -> Run:
    """A run that has what the container asks for."""
    made = then or run(of, **fields)
    record = dataclasses.replace(made.record, allowance=blueprint(make_pod(of)).units[0].allowance)
    return dataclasses.replace(made, record=record)


def test_resources_change_in_place() -> None:
    small, big = sized("100m"), sized("200m")
    share = blueprint(make_pod(big)).units[0].allowance
    assert actions(make_pod(small), seen(run_with(small))) == []
    assert actions(make_pod(big), seen(run_with(small))) == [ResizeContainer(name="app", id="app0", allowance=share)]
    assert actions(make_pod(big), seen(run(big))) == []  # a runtime that can't tell is left alone


def test_a_resize_that_failed_waits_for_its_turn() -> None:
    fault = Fault(reason="Error", message="busy", count=1, retry_at=NOW + 2)
    made = planned(make_pod(sized("2")), seen(run_with(sized("1")), faults={"resize/app0": fault}))
    assert (made.actions, made.recheck_at) == ((), NOW + 2)


@pytest.mark.parametrize(
    ("cpu", "memory", "restarted"), [("200m", "64Mi", False), ("100m", "65Mi", True), ("200m", "65Mi", True)]
)
def test_a_policy_may_ask_for_a_restart(cpu: str, memory: str, restarted: bool) -> None:
    before, after = sized("100m"), sized(cpu, memory, {"memory": "RestartContainer", "cpu": "NotRequired"})
    (action,) = actions(make_pod(after), seen(run_with(before)))
    assert isinstance(action, StopContainer) is restarted


def test_what_was_stopped_for_its_resources_starts_at_once() -> None:
    before, after = sized("100m"), sized("100m", "65Mi", {"memory": "RestartContainer"})
    over = ended(before, 3, exit_code=0, level=5, ending=Ending(deadline=NOW, cause="resources changed"))
    assert actions(make_pod(after), seen(run_with(before, then=over))) == [start("app", attempt=4)]
