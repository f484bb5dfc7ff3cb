"""Preemption: only for a higher priority, only where it helps, and at the least cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from master.scheduler.engine import Engine, Turn
from master.scheduler.explain import diagnose
from master.scheduler.ledger import Entry, PodKey
from master.scheduler.plugins import default_profile
from master.scheduler.preempt import plan_eviction
from podium.v1.core_pb2 import Node, Pod, Taint
from tests.support.scheduling import bound, engine, node, pod, refused, see, state, turns


def evicted(taken: list[Turn]) -> dict[str, tuple[str, list[str]]]:
    """Node and victims by the pod that room is made for."""
    return {
        making.pod.key.name: (making.eviction.node, sorted(v.key.name for v in making.eviction.victims))
        for turn in taken
        for making in turn.evictions
    }


def gone(made: Engine, name: str) -> None:
    made.pod_gone(PodKey("default", name), f"uid-{name}")


def test_a_lower_priority_makes_room_and_the_pod_follows() -> None:
    made = engine(node(), pod("low", cpu="3", on="n1"), pod("high", cpu="2", priority=10))
    assert evicted(turns(made)) == {"high": ("n1", ["low"])}
    assert made.ledger.entries[PodKey("default", "high")].claim == "n1"
    gone(made, "low")
    assert bound(turns(made)) == {"high": "n1"}
    assert not state(made.cluster).keys() & {"claimed cpu"}


def test_an_equal_priority_stays() -> None:
    made = engine(node(), pod("there", cpu="3", on="n1", priority=10), pod("wants", cpu="2", priority=10))
    taken = turns(made)
    assert not evicted(taken)
    assert "No preemption victims found" in refused(taken)["wants"]


def test_preemption_policy_never() -> None:
    made = engine(node(), pod("low", cpu="3", on="n1"), pod("high", cpu="2", priority=10, never=True))
    taken = turns(made)
    assert not evicted(taken)
    assert refused(taken)["high"].endswith("preemption: not eligible due to preemptionPolicy=Never.")


def test_no_more_victims_than_needed_and_the_least_important() -> None:
    there = (pod(f"p{level}", cpu="1", on="n1", priority=level) for level in range(4))
    made = engine(node(), *there, pod("high", cpu="2", priority=10))
    assert evicted(turns(made)) == {"high": ("n1", ["p0", "p1"])}


def test_the_node_with_the_least_important_victims_is_chosen() -> None:
    made = engine(
        node("n1"), node("n2"),
        pod("a", cpu="4", on="n1", priority=5),
        pod("b", cpu="2", on="n2", priority=1), pod("c", cpu="2", on="n2", priority=1),
        pod("high", cpu="4", priority=10),
    )  # fmt: skip
    assert evicted(turns(made)) == {"high": ("n2", ["b", "c"])}


def test_among_equals_the_youngest_goes() -> None:
    old, young = pod("old", cpu="4", on="n1", created=100), pod("young", cpu="4", on="n2", created=200)
    made = engine(node("n1"), node("n2"), old, young, pod("high", cpu="4", priority=10))
    assert evicted(turns(made)) == {"high": ("n2", ["young"])}


def test_eviction_does_not_help_against_a_taint() -> None:
    tainted = node(taints=[Taint(key="k", effect="NoSchedule")])
    taken = turns(engine(tainted, pod("low", cpu="3", on="n1"), pod("high", cpu="2", priority=10)))
    assert not evicted(taken)
    assert "1 Preemption is not helpful for scheduling." in refused(taken)["high"]


def test_a_held_port_is_freed_by_eviction() -> None:
    made = engine(node(), pod("low", host_port=80, on="n1"), pod("high", host_port=80, priority=10))
    assert evicted(turns(made)) == {"high": ("n1", ["low"])}


def test_promised_room_is_not_given_to_equals_but_to_the_more_important() -> None:
    made = engine(node(), pod("low", cpu="4", on="n1"), pod("high", cpu="4", priority=10))
    turns(made)
    gone(made, "low")
    see(made, pod("equal", cpu="4", priority=10), pod("lower", cpu="1", priority=1))
    see(made, pod("higher", cpu="4", priority=20))
    assert bound(turns(made)) == {"higher": "n1"}


def test_two_pods_do_not_count_on_the_same_victim() -> None:
    low = (pod(f"low{i}", cpu="4", on=f"n{i}") for i in range(2))
    high = (pod(f"high{i}", cpu="4", priority=10) for i in range(2))
    made = engine(node("n0"), node("n1"), *low, *high)
    assert sorted(evicted(turns(made)).values()) == [("n0", ["low0"]), ("n1", ["low1"])]


def test_a_promise_outlives_a_restart() -> None:
    high = pod("high", cpu="4", priority=10)
    high.status.nominated_node_name = "n1"
    made = engine(node(), pod("low", cpu="4", on="n1"), high)
    made.ledger.entries[PodKey("default", "low")].terminating = True
    assert not evicted(turns(made))
    gone(made, "low")
    assert bound(turns(made)) == {"high": "n1"}


def test_a_promise_is_void_when_its_node_goes() -> None:
    made = engine(node(), pod("low", cpu="4", on="n1"), pod("high", cpu="4", priority=10))
    turns(made)
    made.node_gone("n1")
    turns(made)
    see(made, node("n2"))
    assert bound(turns(made)) == {"high": "n2"}


def test_a_promise_keeps_its_port_and_its_distance_from_equals_but_not_from_the_more_important() -> None:
    wanting = pod("high", host_port=80, app="web", apart=("db", "kubernetes.io/hostname"), priority=10)
    made = engine(node(), pod("low", host_port=80, on="n1"), wanting)
    assert evicted(turns(made)) == {"high": ("n1", ["low"])}
    gone(made, "low")
    see(
        made,
        pod("port", host_port=80),
        pod("db", app="db"),
        pod("avoids", app="x", apart=("web", "kubernetes.io/hostname")),
    )
    entry = made.ledger.entries[PodKey("default", "high")]
    for lower, reason in (
        ("port", "free ports"),
        ("db", "existing pods anti-affinity"),
        ("avoids", "pod anti-affinity"),
    ):
        shape = made.ledger.entries[PodKey("default", lower)].shape
        assert shape is not None
        assert reason in str(diagnose(made.profile, shape, made.cluster))
    assert entry.claim == "n1"
    more = made.shape_of(pod("more", host_port=80, priority=20))
    assert made.profile.room(more, made.cluster).any()
    assert bound(turns(made)) == {"high": "n1"}


def test_what_one_decision_takes_from_a_budget_the_next_does_not_have() -> None:
    """One of `web` may go; the first decision's victim is not seen to go yet when the next is made."""

    def violators(entries: Sequence[Entry]) -> set[str]:
        return {entry.uid for entry in [e for e in entries if e.key.name.startswith("web")][1:]}

    made = Engine(default_profile(), violators)
    web = (pod(f"web{i}", cpu="4", on=f"n{i}") for i in range(2))
    see(made, *(node(f"n{i}") for i in range(3)), *web, pod("db", cpu="4", on="n2", priority=5))
    see(made, pod("first", cpu="4", priority=10), pod("second", cpu="4", priority=10))
    assert sorted(victims for _, victims in evicted(turns(made)).values()) == [["db"], ["web0"]]
    assert made._victims.keys() == {PodKey("default", "web0"), PodKey("default", "db")}
    gone(made, "web0")
    assert made._victims.keys() == {PodKey("default", "db")}


def test_a_void_promise_is_taken_back_even_when_the_reason_is_the_same() -> None:
    high = pod("high", cpu="4", priority=10)
    high.status.nominated_node_name = "gone"
    made = engine(node(cpu="1"), high)
    assert refused(turns(made)).keys() == {"high"}
    entry = made.ledger.entries[PodKey("default", "high")]
    assert (entry.claim, entry.nominated) == ("", "")
    assert turns(made) == []


def test_a_promise_that_others_took_is_taken_back() -> None:
    made = engine(node(), pod("low", cpu="4", on="n1"), pod("high", cpu="4", priority=10))
    turns(made)
    see(made, pod("higher", cpu="4", priority=20, on="n1"))
    gone(made, "low")
    taken = turns(made)
    assert "high" in refused(taken)
    assert made.ledger.entries[PodKey("default", "high")].nominated == ""


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(1, 3)), max_size=12),
    st.integers(1, 4),
    st.integers(1, 4),
)
@settings(max_examples=150, deadline=None)
def test_a_plan_suffices_is_minimal_and_leaves_no_trace(
    there: list[tuple[int, int, int]], cpu: int, priority: int
) -> None:
    made = engine(*(node(f"n{i}", cpu="6") for i in range(1, 5)))
    for index, (on, level, size) in enumerate(there):
        see(made, pod(f"p{index}", cpu=str(size), on=f"n{on}", priority=level))
    shape = made.shapes.shape(pod("new", cpu=str(cpu), priority=priority))
    before = state(made.cluster)
    if made.profile.room(shape, made.cluster).any():
        return
    plan = plan_eviction(made.profile, shape, made.ledger)
    assert state(made.cluster) == before
    lower = any(level < priority for _, level, _ in there)
    possible = lower and made.profile.room(shape, made.cluster, evicting=True).any()
    assert bool(plan is not None) == bool(possible)
    if plan is None:
        return
    row = made.cluster.row(plan.node)
    assert row is not None
    here = np.array([row])
    for victim in plan.victims:
        assert victim.footprint.priority < priority
        made.cluster.release(row, victim.footprint)
    assert made.profile.room(shape, made.cluster, here)[0] > 0
    for victim in plan.victims:
        made.cluster.reserve(row, victim.footprint)
        assert made.profile.room(shape, made.cluster, here)[0] == 0
        made.cluster.release(row, victim.footprint)


# ---------------------------------------------------------------- disruption budgets


def guarded(protected: set[str], *objects: Node | Pod) -> Engine:
    """An engine to which the going of some pods (by name) overdraws a budget."""
    made = Engine(default_profile(), lambda entries: {e.uid for e in entries if e.key.name in protected})
    see(made, *objects)
    return made


def test_victims_that_no_budget_protects_go_first() -> None:
    there = (pod(f"p{level}", cpu="1", on="n1", priority=level) for level in range(4))
    made = guarded({"p0"}, node(), *there, pod("high", cpu="2", priority=10))
    assert evicted(turns(made)) == {"high": ("n1", ["p1", "p2"])}


def test_the_node_where_no_budget_is_overdrawn_is_chosen_though_its_victims_are_more_important() -> None:
    made = guarded(
        {"low"}, node("n1"), node("n2"), pod("low", cpu="4", on="n1"), pod("mid", cpu="4", on="n2", priority=5),
        pod("high", cpu="2", priority=10),
    )  # fmt: skip
    assert evicted(turns(made)) == {"high": ("n2", ["mid"])}


def test_a_budget_is_overdrawn_when_nothing_else_helps() -> None:
    made = guarded({"low"}, node(), pod("low", cpu="3", on="n1"), pod("high", cpu="2", priority=10))
    [making] = [making for turn in turns(made) for making in turn.evictions]
    assert (making.eviction.node, len(making.eviction.overdrawing)) == ("n1", 1)
