"""Batches: never over-committed, never where a pod may not be, and no worse than one pod after the other."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from master.scheduler.engine import Engine
from master.scheduler.explain import diagnose, verdicts
from master.scheduler.ledger import State
from podium.objects.pod import HostPort
from podium.v1.core_pb2 import Node, Pod, Taint, Toleration
from tests.support.scheduling import bound, engine, node, pod, see, state, turns

ZONES = ("a", "b")
TAINT = Taint(key="team", value="db", effect="NoSchedule")
TOLERATION = Toleration(key="team", operator="Exists")


@st.composite
def nodes(draw: st.DrawFn) -> list[Node]:
    return [
        node(
            f"n{index}",
            cpu=f"{draw(st.integers(0, 4000))}m",
            memory=f"{draw(st.integers(0, 4096))}Mi",
            pods=str(draw(st.integers(0, 8))),
            labels={"zone": draw(st.sampled_from(ZONES))},
            taints=[TAINT] if draw(st.booleans()) else [],
            ready=draw(st.sampled_from(["True", "True", "True", "False"])),
            cordoned=draw(st.sampled_from([False, False, True])),
        )
        for index in range(draw(st.integers(0, 6)))
    ]


@st.composite
def kinds_of_pods(draw: st.DrawFn) -> list[dict[str, object]]:
    kind = st.fixed_dictionaries(
        {
            "cpu": st.sampled_from(["", "1m", "300m", "1", "3"]),
            "memory": st.sampled_from(["", "1Mi", "500Mi", "2Gi"]),
            "group": st.sampled_from(["", "web", "db"]),
            "priority": st.sampled_from([0, 0, 10, 20]),
            "selector": st.sampled_from([{}, {}, {"zone": "a"}]),
            "tolerations": st.sampled_from([[], [TOLERATION]]),
            "host_port": st.sampled_from([0, 0, 0, 80]),
        }
    )
    return draw(st.lists(kind, max_size=4))


@st.composite
def pods(draw: st.DrawFn) -> list[Pod]:
    kinds = draw(kinds_of_pods())
    return [
        pod(f"p{at}-{replica}", **kind)  # type: ignore[arg-type]
        for at, kind in enumerate(kinds)
        for replica in range(draw(st.integers(1, 8)))
    ]


def check_invariants(made: Engine, by_name: dict[str, Pod]) -> None:
    """Nothing over-committed, nothing misplaced, arrays equal to a recount."""
    recount = engine(*(made_node for made_node in _NODES))
    for entry in made.ledger.entries.values():
        if entry.node and (row := made.cluster.row(entry.node)) is not None:
            other = recount.cluster.row(entry.node)
            assert other is not None
            recount.cluster.reserve(other, entry.footprint)
            _check_node(made, row, by_name[entry.key.name])
    assert _by_name(made) == _by_name(recount)
    for row in made.cluster.rows():
        _check_capacity(made, int(row))


_NODES: list[Node] = []


def _by_name(made: Engine) -> dict[str, tuple[int, ...]]:
    cluster = made.cluster
    return {
        cluster.name(int(row)): tuple(int(cluster.resource(r).used[row]) for r in ("cpu", "memory", "pods"))
        for row in cluster.rows()
    }


def _check_capacity(made: Engine, row: int) -> None:
    for resource in ("cpu", "memory", "pods"):
        column = made.cluster.resource(resource)
        assert column.used[row] <= column.allocatable[row], resource
    taken: list[HostPort] = [port for e in made.ledger.on(made.cluster.name(row)) for port in e.footprint.ports]
    assert len(taken) == len(set(taken))


def _check_node(made: Engine, row: int, placed: Pod) -> None:
    facts = made.cluster.facts(row)
    assert all(facts.labels.get(k) == v for k, v in placed.spec.node_selector.items())
    tolerated = {t.key for t in placed.spec.tolerations}
    assert all(taint.key in tolerated for taint in facts.taints if taint.hard)


@given(nodes(), pods(), st.integers(1, 10))
@settings(max_examples=150, deadline=None)
def test_no_batch_breaks_a_limit(some_nodes: list[Node], some_pods: list[Pod], limit: int) -> None:
    _NODES[:] = some_nodes
    made = engine(*some_nodes, *some_pods)
    turns(made, limit)
    check_invariants(made, {p.metadata.name: p for p in some_pods})


@given(nodes(), kinds_of_pods(), st.integers(1, 20))
@settings(max_examples=100, deadline=None)
def test_a_batch_places_as_many_as_one_after_the_other(
    some_nodes: list[Node], kinds: list[dict[str, object]], replicas: int
) -> None:
    for kind in kinds[:1]:
        batch = [pod(f"p{i}", **kind) for i in range(replicas)]  # type: ignore[arg-type]
        at_once, in_turn = engine(*some_nodes, *batch), engine(*some_nodes, *batch)
        assert len(bound(turns(at_once))) == len(bound(turns(in_turn, limit=1)))


@given(st.integers(1, 40), st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_a_batch_is_the_greedy_choice_exactly(replicas: int, count: int) -> None:
    """Loads are proportional to size here, so that no score rises while a node fills."""
    some_nodes = [node(f"n{i}", cpu=f"{4 + i}", memory=f"{4 + i}Gi") for i in range(count)]
    batch = [pod(f"p{i}", cpu="100m", memory="100Mi", group="web") for i in range(replicas)]
    at_once, in_turn = engine(*some_nodes, *batch), engine(*some_nodes, *batch)
    together, single = bound(turns(at_once)), bound(turns(in_turn, limit=1))
    assert sorted(together.values()) == sorted(single.values())


@given(nodes(), pods())
@settings(max_examples=100, deadline=None)
def test_undoing_every_binding_restores_the_snapshot(some_nodes: list[Node], some_pods: list[Pod]) -> None:
    made = engine(*some_nodes, *[p for p in some_pods if p.spec.priority == 0])
    before = state(made.cluster)
    placed = [entry for turn in turns(made) for entry in turn.bound]
    for entry in placed:
        assert made.undo(entry)
        assert entry.state is State.WAITING
    assert state(made.cluster) == before


@given(nodes(), pods(), kinds_of_pods())
@settings(max_examples=100, deadline=None)
def test_explained_counts_are_the_nodes_that_refuse(
    some_nodes: list[Node], some_pods: list[Pod], kinds: list[dict[str, object]]
) -> None:
    made = engine(*some_nodes, *some_pods)
    turns(made)
    for kind in kinds:
        shape = made.shapes.shape(pod(**kind))  # type: ignore[arg-type]
        diagnosis = diagnose(made.profile, shape, made.cluster)
        answers = verdicts(made.profile, shape, made.cluster)
        short = {"Insufficient cpu", "Insufficient memory", "Too many pods"}
        twice = sum(max(0, len(short & set(v.reasons)) - 1) for v in answers if short >= set(v.reasons))
        assert diagnosis.fitting == sum(v.fits for v in answers)
        assert diagnosis.fitting + diagnosis.reasons.total() == diagnosis.total + twice
        assert all(v.fits != bool(v.reasons) for v in answers)
        assert diagnosis.fitting == int((made.profile.room(shape, made.cluster) > 0).sum())


def test_priority_goes_first_then_age() -> None:
    made = engine(node(pods="2"), pod("old"), pod("young", cpu="1m"), pod("urgent", cpu="2m", priority=5))
    order = [entry.key.name for turn in turns(made) for entry in turn.bound]
    assert order == ["urgent", "old"]


def test_one_shape_has_one_evaluation_however_the_pods_differ_elsewhere() -> None:
    made = engine()
    first, second = pod("a", cpu="1"), pod("b", cpu="1000m")
    second.spec.containers[0].command.append("other")
    assert made.shapes.shape(first) is made.shapes.shape(second)
    assert made.shapes.shape(first) is not made.shapes.shape(pod("c", cpu="1", priority=1))


def test_a_row_that_is_used_again_starts_empty() -> None:
    made = engine(
        node("n1", labels={"zone": "a"}, taints=[TAINT]), pod("a", cpu="4", on="n1", host_port=80, group="web")
    )
    made.node_gone("n1")
    see(made, node("n2"), pod("b", cpu="4", host_port=80, selector={"kubernetes.io/hostname": "n2"}))
    assert bound(turns(made)) == {"b": "n2"}


def test_pods_of_a_node_that_appears_later_count() -> None:
    made = engine(pod("a", cpu="4", on="n1"), node("n1"), pod("b", cpu="1"))
    assert bound(turns(made)) == {}
    made.node_gone("n1")
    see(made, node("n1"))
    assert bound(turns(made)) == {}


def test_more_nodes_than_the_first_arrays_hold() -> None:
    made = engine(*(node(f"n{i}", pods="1") for i in range(100)), *(pod(f"p{i}", group="web") for i in range(120)))
    assert len(set(bound(turns(made)).values())) == 100
    assert np.count_nonzero(made.cluster.live) == 100
