"""Which nodes are given up, and what becomes of their pods."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.controllers.fleet import NOBODY, Fleet, FleetSettings, assess
from master.controllers.node_lifecycle import NodePlan, plan_node
from podium.objects.meta import timestamp
from podium.objects.pod import CONTAINERS_READY, READY
from podium.objects.taints import NODE_SHUTDOWN, NOT_READY, UNREACHABLE, UNSCHEDULABLE, leaves_at, tolerates
from podium.v1.core_pb2 import Node, Pod, Taint, Toleration
from podium.v1.meta_pb2 import Condition
from tests.support.workloads import T0, at, node, pod, stateful_set

S = FleetSettings()
NOW = 1000.0


def _assess(
    silence: Mapping[str, float | None], *, started: float = 0.0, before: Fleet = NOBODY, now: float = NOW
) -> Fleet:
    heard = {name: None if seconds is None else now - seconds for name, seconds in silence.items()}
    return assess(heard, started=started, now=now, before=before, settings=S)


def _nodes(count: int, silence: float) -> dict[str, float | None]:
    return {f"n{i}": silence for i in range(count)}


# ---------------------------------------------------------------- the fleet


def test_silence_beyond_the_lease_is_a_lapse() -> None:
    fleet = _assess({"a": 4.0, "b": 3.9, "c": 0.1})
    assert fleet.lapsed == {"a"}
    assert not fleet.held
    assert fleet.recheck == pytest.approx(0.1)


def test_two_of_three_may_be_given_up() -> None:
    assert not _assess({"a": 5, "b": 5, "c": 0.5}).held


def test_most_of_a_fleet_falling_silent_together_is_held() -> None:
    fleet = _assess(_nodes(6, 5) | {"x": 0.1, "y": 0.1})
    assert len(fleet.held) == 6


def test_the_first_of_a_partition_is_held_before_the_last_has_lapsed() -> None:
    fleet = _assess({"a": 4.0, "b": 3.5, "c": 3.2, "d": 3.1, "x": 0.1})
    assert fleet.lapsed == fleet.held == {"a"}


def test_all_nodes_silent_are_held_however_few() -> None:
    assert _assess({"a": 5}).held == {"a"}
    assert _assess({"a": 5, "b": 5}).held == {"a", "b"}


def test_nodes_that_were_lost_long_ago_do_not_hold_up_a_fresh_loss() -> None:
    fleet = _assess({"old1": 900, "old2": 700, "old3": 500, "old4": 300, "fresh": 5, "x": 0, "y": 0, "z": 0})
    assert "fresh" in fleet.lapsed
    assert "fresh" not in fleet.held


def test_after_a_start_unheard_nodes_have_time_to_come_back() -> None:
    assert not _assess({"a": None, "b": 0.1}, started=NOW - 13.9).lapsed
    assert _assess({"a": None, "b": 0.1}, started=NOW - 14.1).lapsed == {"a"}


def test_a_hold_outlasts_its_reason_and_then_ends() -> None:
    held = _assess(_nodes(4, 5))
    healed: dict[str, float | None] = {"n0": 6, "n1": 0, "n2": 0, "n3": 0}
    just_after = _assess(healed, before=held, now=NOW + 1)
    assert just_after.held == {"n0"}
    assert just_after.recheck is not None
    later = _assess(healed, before=just_after, now=NOW + 11)
    assert later.lapsed == {"n0"}
    assert not later.held


def _given_up(fleet: Fleet) -> frozenset[str]:
    return fleet.lapsed - fleet.waiting


@pytest.mark.parametrize(("nodes", "lost", "at_once"), [(3, 1, 1), (3, 2, 2), (10, 5, 5), (100, 20, 5), (1000, 20, 10)])
def test_a_few_are_given_up_at_once_and_the_others_in_turn(nodes: int, lost: int, at_once: int) -> None:
    silence = _nodes(nodes - lost, 0) | {f"lost{i:02}": 6 - i / 100 for i in range(lost)}
    first = _assess(silence)
    assert not first.held
    assert sorted(_given_up(first)) == [f"lost{i:02}" for i in range(at_once)]
    assert _given_up(_assess(silence, before=first, now=NOW + S.window - 1)) == _given_up(first)
    assert len(_given_up(_assess(silence, before=first, now=NOW + S.window))) == min(lost, 2 * at_once)


def test_a_node_that_comes_back_leaves_the_queue() -> None:
    silence = _nodes(90, 0) | {f"lost{i}": 5 for i in range(7)}
    first = _assess(silence)
    assert first.waiting == {"lost5", "lost6"}
    later = _assess(silence | {"lost5": 0, "lost0": 0}, before=first, now=NOW + 1)
    assert later.waiting == {"lost6"}
    assert _given_up(later) == {f"lost{i}" for i in range(1, 5)}


@pytest.mark.parametrize("minutes", [1, 2])
def test_a_partition_that_nodes_notice_one_by_one_is_held_in_time(minutes: int) -> None:
    """Every node of 1,000 is heard for the last time at some moment of these minutes."""
    fleet, ends = NOBODY, {f"n{i:03}": NOW + i * 60 * minutes / 1000 for i in range(1000)}
    for second in range(1, 60 * minutes + 60, 2):
        now = NOW + second
        heard = {name: min(end, now) for name, end in ends.items()}
        fleet = assess(heard, started=0, now=now, before=fleet, settings=S)
    assert len(fleet.lapsed) == 1000
    assert len(_given_up(fleet)) <= 60 * minutes


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(0, 100), max_size=30))
def test_never_are_most_given_up_together(silence: dict[str, float]) -> None:
    fleet = _assess(dict(silence))
    given_up = [s for n, s in silence.items() if n in fleet.lapsed - fleet.waiting]
    assert fleet.held <= fleet.lapsed
    for moment in given_up:
        group = [s for s in given_up if abs(s - moment) <= S.together / 2]
        alive = [s for s in silence.values() if s <= moment + S.together]
        assert len(group) <= S.hold_more_than or len(group) <= S.hold_share * len(alive)


# ---------------------------------------------------------------- one node


def _plan(n: Node, *pods: Pod, lapsed: bool = False, held: bool = False, seconds: float = 0) -> NodePlan:
    return plan_node(n, pods, lapsed=lapsed, held=held, now=at(seconds), settings=S)


def _taints(plan: NodePlan) -> set[tuple[str, str]]:
    return {(t.key.rpartition("/")[2], t.effect) for t in plan.taints}


def _for(seconds: int | None, key: str = UNREACHABLE) -> Toleration:
    toleration = Toleration(key=key, operator="Exists", effect="NoExecute")
    if seconds is not None:
        toleration.toleration_seconds = seconds
    return toleration


def test_a_lapsed_node_is_unknown_tainted_and_left_when_tolerations_end() -> None:
    tolerant = pod("tolerant", node="n1", ready=True, tolerations=(_for(1),))
    plan = _plan(node("n1"), tolerant, lapsed=True)
    assert plan.unknown
    assert _taints(plan) == {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}
    assert (list(plan.evict), plan.recheck) == ([], 1)
    assert [p.metadata.name for p in plan.lost] == ["tolerant"]
    tainted = node("n1", ready="Unknown", taints=tuple(plan.taints))
    later = _plan(tainted, tolerant, lapsed=True, seconds=1)
    assert [p.metadata.name for p in later.evict] == ["tolerant"]
    assert not later.unknown
    assert list(later.taints) == list(plan.taints), "the moment they came is kept"


def test_who_tolerates_without_end_stays_and_who_does_not_at_all_goes_at_once() -> None:
    plan = _plan(node("n1"), pod("stays", node="n1", tolerations=(_for(None),)), pod("goes", node="n1"), lapsed=True)
    assert [p.metadata.name for p in plan.evict] == ["goes"]
    assert plan.recheck is None


def test_a_held_node_is_not_scheduled_to_and_not_left() -> None:
    plan = _plan(node("n1"), pod("p", node="n1"), lapsed=True, held=True)
    assert _taints(plan) == {("unreachable", "NoSchedule")}
    assert not plan.evict


def test_a_node_that_returns_loses_our_taints_only_and_its_pods_are_ready_again() -> None:
    foreign = Taint(key="example.com/gpu", effect="NoSchedule")
    ours = Taint(key=UNREACHABLE, effect="NoExecute", time_added=timestamp(T0))
    lost = pod("p", node="n1", phase="Running")
    lost.status.conditions.append(Condition(type=READY, status="False", reason="NodeLost"))
    lost.status.conditions.append(Condition(type=CONTAINERS_READY, status="True"))
    plan = _plan(node("n1", taints=(foreign, ours)), lost)
    assert list(plan.taints) == [foreign]
    assert [p.metadata.name for p in plan.found] == ["p"]


def test_a_node_that_says_it_is_not_ready_keeps_its_pods_for_a_while() -> None:
    plan = _plan(node("n1", ready="False"), pod("p", node="n1"), seconds=1)
    assert _taints(plan) == {("not-ready", "NoSchedule")}
    assert (list(plan.evict), plan.recheck) == ([], 29)
    plan = _plan(node("n1", ready="False"), pod("p", node="n1"), seconds=30)
    assert (NOT_READY, "NoExecute") in {(t.key, t.effect) for t in plan.taints}
    assert len(plan.evict) == 1


def test_a_node_that_shuts_down_loses_its_pods_at_once_and_critical_ones_by_itself() -> None:
    shutting = node("n1", ready="False")
    shutting.status.conditions[0].reason = NODE_SHUTDOWN
    critical = pod("critical", node="n1")
    critical.spec.priority = 2_000_000_000
    plan = _plan(shutting, pod("p", node="n1"), critical, seconds=1)
    assert _taints(plan) == {("not-ready", "NoSchedule"), ("not-ready", "NoExecute")}
    assert [p.metadata.name for p in plan.evict] == ["p"]


def test_cordon_and_pressure_are_taints() -> None:
    n = node("n1")
    n.spec.unschedulable = True
    n.status.conditions.append(Condition(type="DiskPressure", status="True"))
    assert _taints(_plan(n)) == {("unschedulable", "NoSchedule"), ("disk-pressure", "NoSchedule")}
    assert UNSCHEDULABLE in {t.key for t in _plan(n).taints}


def test_pods_that_are_over_or_going_already_are_left_alone() -> None:
    plan = _plan(
        node("n1"), pod("over", node="n1", phase="Failed"), pod("going", node="n1", terminating=True), lapsed=True
    )
    assert not plan.evict


# ---------------------------------------------------------------- taints


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        (Toleration(operator="Exists"), True),
        (Toleration(key="k", operator="Exists"), True),
        (Toleration(key="k", value="v"), True),
        (Toleration(key="k", operator="Equal", value="v", effect="NoExecute"), True),
        (Toleration(key="k", value="other"), False),
        (Toleration(key="k", operator="Exists", effect="NoSchedule"), False),
        (Toleration(key="other", operator="Exists"), False),
        (Toleration(), False),
    ],
)
def test_tolerating(toleration: Toleration, expected: bool) -> None:
    assert tolerates(toleration, Taint(key="k", value="v", effect="NoExecute")) is expected


def test_a_pod_leaves_for_the_first_taint_that_it_must_leave_for() -> None:
    taints = [
        Taint(key="a", effect="NoExecute", time_added=timestamp(at(0))),
        Taint(key="b", effect="NoExecute", time_added=timestamp(at(5))),
        Taint(key="c", effect="NoSchedule"),
    ]
    assert leaves_at([_for(60, "a"), _for(10, "b")], taints) == at(15).timestamp()
    assert leaves_at([_for(60, "a"), _for(None, "b")], taints) == at(60).timestamp()
    assert leaves_at([_for(None, "a")], taints) == at(5).timestamp()
    assert leaves_at([], [taints[2]]) is None


# ---------------------------------------------------------------- pods that must not run twice


def _exclusive(*, terminating: bool = True) -> Pod:
    return pod("db-0", node="n1", owner=stateful_set(), terminating=terminating, ready=True)


@pytest.mark.parametrize(
    ("lapsed", "held", "fenced_in", "released"),
    [(True, False, 0.0, True), (True, False, 3.0, False), (True, True, None, False), (False, False, None, False)],
)
def test_a_pod_that_must_not_run_twice_is_released_when_its_node_has_stopped_it(
    lapsed: bool, held: bool, fenced_in: float | None, released: bool
) -> None:
    both = [_exclusive(), pod("web", node="n1", terminating=True)]
    plan = plan_node(node("n1"), both, lapsed=lapsed, held=held, now=T0, settings=S, fenced_in=fenced_in)
    assert [p.metadata.name for p in plan.release] == (["db-0"] if released else [])
    if fenced_in:
        assert plan.recheck == fenced_in


def test_a_pod_that_stays_on_a_silent_node_is_not_released() -> None:
    staying = _exclusive(terminating=False)
    staying.spec.tolerations.add(operator="Exists")
    plan = plan_node(node("n1"), [staying], lapsed=True, held=False, now=T0, settings=S, fenced_in=0.0)
    assert not plan.release
    assert not plan.evict
