"""BlueGreen, Canary and automatic rollback over a running control plane, its end in the middle of a step included."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Callable

import pytest

from podium.objects import promotion
from podium.objects.conditions import get_condition
from podium.objects.revisions import ROLE, hash_of, revision_of
from podium.objects.service import SERVICE_LABEL
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.core_pb2 import Event
from podium.v1.networking_pb2 import EndpointSlice, Service
from tests.support.control_plane import ME, ControlPlane, control_plane
from tests.support.waiting import until
from tests.support.workloads import deployment


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with control_plane() as running:
        yield running


def _blue_green(*, delay: int = 30, auto: bool = True) -> Deployment:
    made = deployment(replicas=3, image="busybox:1")
    made.spec.strategy.Clear()
    made.spec.strategy.type = "BlueGreen"
    made.spec.strategy.blue_green.scale_down_delay_seconds = delay
    made.spec.strategy.blue_green.auto_promotion = auto
    return made


def _canary(*, replicas: int = 5, rollback: bool = False) -> Deployment:
    made = deployment(replicas=replicas, image="busybox:1")
    made.spec.strategy.Clear()
    made.spec.strategy.type = "Canary"
    made.spec.strategy.canary.max_surge.int_value = 1
    made.spec.strategy.canary.max_unavailable.int_value = 0
    if rollback:
        made.spec.strategy.rollback.on_failure = "Automatic"
    return made


async def _run(plane: ControlPlane, made: Deployment) -> None:
    await plane.writer.create(made, by=ME)
    await until(lambda: _reason(plane) == "NewReplicaSetAvailable")


def _reason(plane: ControlPlane) -> str:
    d = plane.deployment()
    told = get_condition(d.status.conditions, "Progressing")
    return told.reason if told is not None and d.status.observed_generation == d.metadata.generation else ""


def _set(plane: ControlPlane, revision: int) -> ReplicaSet:
    return next(rs for rs in plane.replica_sets() if revision_of(rs) == revision)


def _sizes(plane: ControlPlane) -> dict[int, int]:
    return {revision_of(rs): rs.spec.replicas for rs in plane.replica_sets()}


async def _say(plane: ControlPlane, word: Callable[[Deployment], None]) -> None:
    await plane.writer.mutate(Deployment, "default", "web", word, by=ME, subresource="status")


def _promote(plane: ControlPlane, *, full: bool = False) -> Callable[[Deployment], None]:
    now = datetime.datetime.now(datetime.UTC)
    return lambda obj: promotion.promote(obj, plane.replica_sets(), full=full, now=now)


def _events(plane: ControlPlane) -> set[str]:
    return {e.reason for e in plane.reader.list(Event, "default") if e.involved_object.kind == "Deployment"}


# ---------------------------------------------------------------- blue/green


async def test_blue_green_switches_at_once_and_returns_without_starting_a_pod(plane: ControlPlane) -> None:
    await _run(plane, _blue_green())
    blue = plane.deployment().status.blue_green.active_hash
    await plane.set_image("busybox:2")
    await until(lambda: plane.deployment().status.blue_green.active_revision == 2)
    assert _sizes(plane) == {1: 3, 2: 3}
    await until(lambda: {p.metadata.labels[ROLE] for p in plane.pods("busybox:2")} == {"active"})
    await until(lambda: {p.metadata.labels[ROLE] for p in plane.pods("busybox:1")} == {"previous"})
    before = {p.metadata.uid for p in plane.pods()}
    await plane.set_image("busybox:1")
    await until(lambda: plane.deployment().status.blue_green.active_hash == blue)
    assert {p.metadata.uid for p in plane.pods()} == before, "both revisions stand, as they stood"
    await until(lambda: "Promoted" in _events(plane))


async def test_a_preview_waits_for_its_promotion_over_a_restart(plane: ControlPlane) -> None:
    await _run(plane, _blue_green(auto=False, delay=0))
    await plane.set_image("busybox:2")
    await until(lambda: _reason(plane) == "RolloutPaused")
    assert plane.deployment().status.blue_green.active_revision == 1
    assert {p.metadata.labels[ROLE] for p in plane.pods("busybox:2")} == {"preview"}
    await plane.restart()
    await until(lambda: plane.runtime.idle)
    assert plane.deployment().status.blue_green.active_revision == 1
    await _say(plane, _promote(plane))
    await until(lambda: plane.is_rolled_out() and len(plane.pods()) == 3)
    assert plane.deployment().status.blue_green.active_revision == 2


async def test_a_preview_that_is_aborted_goes_and_the_active_one_never_moves(plane: ControlPlane) -> None:
    await _run(plane, _blue_green(auto=False))
    served = {p.metadata.uid for p in plane.pods()}
    await plane.set_image("busybox:2")
    await until(lambda: _reason(plane) == "RolloutPaused")
    now = datetime.datetime.now(datetime.UTC)
    await _say(plane, lambda obj: promotion.abort(obj, plane.replica_sets(), user="ada", now=now))
    await until(lambda: _sizes(plane) == {1: 3, 2: 0} and len(plane.pods()) == 3)
    assert {p.metadata.uid for p in plane.pods()} == served
    assert plane.deployment().spec.template.spec.containers[0].image == "busybox:2", "the spec is its owner's"
    await until(lambda: _reason(plane) == "RolloutAborted")
    await _say(plane, lambda obj: promotion.retry(obj, plane.replica_sets()))
    await until(lambda: _sizes(plane) == {1: 3, 2: 3})


async def test_services_lead_to_the_active_revision_alone(plane: ControlPlane) -> None:
    made = _blue_green(auto=False)
    for name, more in (("web", {}), ("preview", {ROLE: "preview"})):
        service = Service()
        service.metadata.namespace, service.metadata.name = "default", name
        service.spec.selector.update({**made.spec.selector.match_labels, **more})
        service.spec.ports.add(port=80)
        await plane.writer.create(service, by=ME)
    await _run(plane, made)

    def led(service: str) -> list[str]:
        slices = [s for s in plane.reader.list(EndpointSlice, "default") if s.metadata.labels[SERVICE_LABEL] == service]
        names = [e.target_ref.name for s in slices for e in s.endpoints if e.conditions.ready]
        return sorted(p.spec.containers[0].image for p in plane.pods() if p.metadata.name in names)

    await until(lambda: led("web") == ["busybox:1"] * 3)
    await plane.set_image("busybox:2")
    await until(lambda: _reason(plane) == "RolloutPaused")
    await until(lambda: led("preview") == ["busybox:2"] * 3)
    assert led("web") == ["busybox:1"] * 3
    await _say(plane, _promote(plane))
    await until(lambda: led("web") == ["busybox:2"] * 3 and led("preview") == [])
    await plane.set_image("busybox:1")
    await until(lambda: led("web") == ["busybox:1"] * 3)


# ---------------------------------------------------------------- canary


async def test_a_canary_goes_step_by_step_and_a_restart_neither_skips_nor_repeats_one(plane: ControlPlane) -> None:
    made = _canary()
    steps = made.spec.strategy.canary.steps
    steps.add(set_weight=20)
    steps.add().pause.SetInParent()
    steps.add(set_weight=60)
    steps.add().pause.duration = "1s"
    await _run(plane, made)
    await plane.set_image("busybox:2")
    await until(lambda: _reason(plane) == "RolloutPaused")
    assert (_sizes(plane), plane.deployment().status.canary.weight) == ({1: 4, 2: 1}, 20)
    await plane.restart()
    await until(lambda: plane.runtime.idle)
    assert (_sizes(plane), plane.deployment().status.canary.current_step_index) == ({1: 4, 2: 1}, 1)
    assert {p.metadata.labels[ROLE] for p in plane.pods("busybox:2")} == {"canary"}
    await _say(plane, _promote(plane))
    await until(lambda: plane.deployment().status.canary.current_step_index == 3)
    assert _sizes(plane) == {1: 2, 2: 3}
    await plane.restart()
    await until(lambda: plane.is_rolled_out() and _reason(plane) == "NewReplicaSetAvailable")
    await until(lambda: plane.deployment().status.canary.stable_revision == 2)
    await until(lambda: {p.metadata.labels[ROLE] for p in plane.pods()} == {"stable"})


async def test_services_share_by_weight_while_a_canary_is_under_way(plane: ControlPlane) -> None:
    made = _canary(replicas=4)
    steps = made.spec.strategy.canary.steps
    for weight in (10, 60):
        steps.add(set_weight=weight)
        steps.add().pause.SetInParent()
    service = Service()
    service.metadata.namespace, service.metadata.name = "default", "web"
    service.spec.selector.update(made.spec.selector.match_labels)
    service.spec.ports.add(port=80)
    await plane.writer.create(service, by=ME)
    await _run(plane, made)

    def splits() -> list[tuple[bool, int] | None]:
        endpoints = [e for s in plane.reader.list(EndpointSlice, "default") for e in s.endpoints if e.conditions.ready]
        said = [(e.split.canary, e.split.weight) if e.HasField("split") else None for e in endpoints]
        return sorted(said, key=str)

    await until(lambda: splits() == [None] * 4)
    await plane.set_image("busybox:2")
    await until(lambda: _reason(plane) == "RolloutPaused")
    await until(lambda: splits() == [(False, 10)] * 3 + [(True, 10)])
    await _say(plane, _promote(plane))
    await until(lambda: plane.deployment().status.canary.reached_weight == 60)
    await until(lambda: splits() == [(False, 60)] * 2 + [(True, 60)] * 2)
    await _say(plane, _promote(plane))
    await until(lambda: plane.is_rolled_out() and _reason(plane) == "NewReplicaSetAvailable")
    await until(lambda: splits() == [None] * 4)


async def test_a_canary_that_is_taken_back_needs_no_steps(plane: ControlPlane) -> None:
    made = _canary()
    made.spec.strategy.canary.steps.add(set_weight=40)
    made.spec.strategy.canary.steps.add().pause.SetInParent()
    await _run(plane, made)
    await plane.set_image("busybox:2")
    await until(lambda: _reason(plane) == "RolloutPaused")
    await plane.set_image("busybox:1")
    await until(lambda: plane.is_rolled_out() and _reason(plane) == "NewReplicaSetAvailable")
    assert not plane.deployment().status.canary.canary_hash


async def test_an_analysis_that_fails_rolls_back_by_itself_and_does_not_flap(plane: ControlPlane) -> None:
    made = _canary(rollback=True)
    steps = made.spec.strategy.canary.steps
    steps.add(set_weight=20)
    metric = steps.add().analysis.metrics.add(name="errors", interval="1s", count=3, success_condition="< 0.05")
    metric.prometheus.query = 'errors{hash="$(HASH)"}'
    await _run(plane, made)
    plane.prometheus.values["errors"] = 0.2
    await plane.set_image("busybox:2")
    await until(lambda: plane.deployment().status.HasField("aborted"))
    await until(lambda: _sizes(plane) == {1: 5, 2: 0} and len(plane.pods("busybox:1")) == 5)
    d = plane.deployment()
    assert d.status.aborted.reason == "AnalysisFailed"
    assert "errors: 0.2 is not good" in d.status.aborted.message
    assert plane.prometheus.asked == [f'errors{{hash="{hash_of(_set(plane, 2))}"}}']
    await plane.change(lambda obj: setattr(obj.spec, "replicas", 6))
    await until(lambda: _sizes(plane) == {1: 6, 2: 0} and len(plane.pods("busybox:1")) == 6)
    await plane.restart()
    await until(lambda: plane.runtime.idle and "RolledBack" in _events(plane))
    assert (_sizes(plane), len(plane.prometheus.asked)) == ({1: 6, 2: 0}, 1), "the failed template is remembered"
    plane.prometheus.values["errors"] = 0.0
    await plane.set_image("busybox:3")
    await until(lambda: plane.deployment().status.canary.stable_revision == 3)
    assert not plane.deployment().status.HasField("aborted")


async def test_measurements_are_counted_over_a_restart(plane: ControlPlane) -> None:
    made = _canary(replicas=2)
    steps = made.spec.strategy.canary.steps
    steps.add(set_weight=50)
    metric = steps.add().analysis.metrics.add(name="errors", interval="1s", count=3, success_condition="< 0.05")
    metric.prometheus.query = "errors"
    await _run(plane, made)
    plane.prometheus.values["errors"] = 0.01
    await plane.set_image("busybox:2")
    await until(lambda: len(plane.prometheus.asked) == 1)
    await until(lambda: bool(plane.deployment().status.canary.analysis.metrics))
    await plane.restart()
    await until(lambda: plane.deployment().status.canary.stable_revision == 2)
    assert len(plane.prometheus.asked) == 3


async def test_crashing_canaries_are_seen_without_any_prometheus(plane: ControlPlane) -> None:
    made = _canary(rollback=True)
    canary = made.spec.strategy.canary
    canary.analysis.metrics.add(name="restarts", interval="1s", failure_condition="> 2").pods.fact = "Restarts"
    canary.steps.add(set_weight=20)
    canary.steps.add().pause.SetInParent()
    await _run(plane, made)
    await plane.set_image("crash")
    await until(lambda: plane.deployment().status.HasField("aborted"))
    assert "CrashLoopBackOff, exit code 7" in plane.deployment().status.aborted.problems[0]
    await until(lambda: len(plane.pods("busybox:1")) == 5 and not plane.pods("crash"))


async def test_roles_go_with_the_strategy_that_gave_them(plane: ControlPlane) -> None:
    await _run(plane, _canary(replicas=2))
    await until(lambda: {p.metadata.labels.get(ROLE) for p in plane.pods()} == {"stable"})

    def to_rolling(obj: Deployment) -> None:
        obj.spec.strategy.Clear()

    await plane.change(to_rolling)
    await until(lambda: not any(ROLE in p.metadata.labels for p in plane.pods()))
    await until(lambda: not plane.deployment().status.HasField("canary"))
    assert not any(ROLE in rs.metadata.labels for rs in plane.replica_sets())


# ---------------------------------------------------------------- rollback of a rolling update


async def test_a_rolling_update_past_its_deadline_returns_to_what_worked(plane: ControlPlane) -> None:
    made = deployment(replicas=3, image="busybox:1", deadline=1)
    made.spec.strategy.rollback.on_failure = "Automatic"
    await _run(plane, made)
    await plane.set_image("crash")
    await until(lambda: plane.deployment().status.HasField("aborted"))
    await until(lambda: len(plane.pods("busybox:1")) == 3 and not plane.pods("crash"))
    await until(lambda: get_condition(plane.deployment().status.conditions, "RolledBack") is not None)
    d = plane.deployment()
    assert d.status.aborted.reason == _reason(plane) == "ProgressDeadlineExceeded"
    await until(lambda: plane.runtime.idle)
    assert _sizes(plane) == {1: 3, 2: 0}
    await plane.set_image("busybox:3")
    await until(plane.is_rolled_out)
    assert get_condition(plane.deployment().status.conditions, "RolledBack") is None
