"""Topology spread constraints: by table, and against a plain implementation."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from master.scheduler.engine import Engine
from master.scheduler.explain import verdicts
from master.scheduler.ledger import PodKey
from podium.codec.json import object_from_dict
from podium.v1.core_pb2 import Node, Pod, Taint
from tests.support.placement_reference import World
from tests.support.scheduling import bound, engine, node, refused, see, turns

ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
TAINT = Taint(key="team", value="db", effect="NoSchedule")
Constraint = dict[str, Any]


def even(key: str = ZONE, skew: int = 1, *, hard: bool = True, app: str | None = "web", **more: Any) -> Constraint:
    selector = {"labelSelector": {"matchLabels": {"app": app}}} if app is not None else {}
    when = "DoNotSchedule" if hard else "ScheduleAnyway"
    return {"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": when} | selector | more


def pod(
    name: str = "p", app: str = "web", *constraints: Constraint, on: str = "", leaving: bool = False,
    labels: dict[str, str] | None = None, namespace: str = "default", **spec: Any,
) -> Pod:  # fmt: skip
    meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": {"app": app} | (labels or {})}
    body = {"containers": [{"name": "c", "image": "i"}], "topologySpreadConstraints": list(constraints), "nodeName": on}
    made = object_from_dict({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body | spec})
    assert isinstance(made, Pod)
    if leaving:
        made.metadata.deletion_timestamp.seconds = 1
    return made


def zoned(*zones: str) -> list[Node]:
    """Nodes n1, n2, … in these zones; an empty one is none."""
    return [node(f"n{i}", labels={ZONE: zone} if zone else {}) for i, zone in enumerate(zones, 1)]


def admitted(made: Engine, wanted: Pod) -> set[str]:
    shape = made.shape_of(wanted)
    return {made.cluster.name(int(row)) for row in np.flatnonzero(made.profile.room(shape, made.cluster))}


def over_zones(made: Engine, placed: dict[str, str]) -> dict[str, int]:
    rows = [row for row in map(made.cluster.row, placed.values()) if row is not None]
    return dict(Counter(made.cluster.facts(row).labels.get(ZONE, "") for row in rows))


# ---------------------------------------------------------------- who may go where

THREE = [pod("a", on="n1"), pod("b", on="n1"), pod("c", on="n3")]


@pytest.mark.parametrize(
    ("wanted", "there", "expected"),
    [
        (pod("p", "web", even()), [], {"n1", "n2", "n3", "n4"}),
        (pod("p", "web", even()), [pod("a", on="n1")], {"n3", "n4"}),
        (pod("p", "web", even()), THREE, {"n3", "n4"}),
        (pod("p", "web", even(skew=2)), THREE, {"n1", "n2", "n3", "n4"}),
        (pod("p", "web", even(HOST)), THREE, {"n2", "n4", "n5"}),
        (pod("p", "web", even(), even(HOST)), THREE, {"n4"}),
        (pod("p", "web", even(app="db")), THREE, {"n1", "n2", "n3", "n4"}),
        (pod("p", "web", even(app=None)), THREE, {"n1", "n2", "n3", "n4"}),
        (pod("p", "db", even()), [pod("a", on="n1")], {"n1", "n2", "n3", "n4"}),
        (pod("p", "db", even()), [pod("a", on="n1"), pod("b", on="n1")], {"n3", "n4"}),
        (pod("p", "web", even(), namespace="other"), THREE, {"n1", "n2", "n3", "n4"}),
        (pod("p", "web", even()), [pod("a", on="n1", leaving=True)], {"n1", "n2", "n3", "n4"}),
        (pod("p", "web", even(hard=False)), THREE, {"n1", "n2", "n3", "n4", "n5"}),
        # minDomains
        (pod("p", "web", even(minDomains=2)), [pod("a", on="n1"), pod("b", on="n3")], {"n1", "n2", "n3", "n4"}),
        (pod("p", "web", even(minDomains=3)), [pod("a", on="n1"), pod("b", on="n3")], set()),
        (pod("p", "web", even(minDomains=3)), [pod("a", on="n1")], {"n3", "n4"}),
        # which nodes count
        (pod("p", "web", even(), nodeSelector={ZONE: "a"}), [pod("a", on="n1")], {"n1", "n2"}),
        (pod("p", "web", even(nodeAffinityPolicy="Ignore"), nodeSelector={ZONE: "a"}), [pod("a", on="n1")], set()),
        (pod("p", "web", even("rack")), [], set()),
        # the pod's own values of labels
        (pod("p", "web", even(matchLabelKeys=["hash"]), labels={"hash": "2"}), [pod("a", on="n1", labels={"hash": "1"})], {"n1", "n2", "n3", "n4"}),
        (pod("p", "web", even(matchLabelKeys=["hash"]), labels={"hash": "1"}), [pod("a", on="n1", labels={"hash": "1"})], {"n3", "n4"}),
    ],
)  # fmt: skip
def test_who_may_go_where(wanted: Pod, there: list[Pod], expected: set[str]) -> None:
    assert admitted(engine(*zoned("a", "a", "b", "b", ""), *there), wanted) == expected


@pytest.mark.parametrize(("policy", "expected"), [("Ignore", set[str]()), ("Honor", {"n1"})])
def test_a_domain_of_tainted_nodes_counts_unless_taints_are_honoured(policy: str, expected: set[str]) -> None:
    nodes = [node("n1", labels={ZONE: "a"}), node("n2", labels={ZONE: "b"}, taints=[TAINT])]
    assert admitted(engine(*nodes, pod("a", on="n1")), pod("p", "web", even(nodeTaintsPolicy=policy))) == expected


# ---------------------------------------------------------------- batches


def test_a_batch_is_spread_over_zones_of_different_size() -> None:
    made = engine(*zoned("a", "a", "a", "a", "b", "c"), *(pod(f"p{i}", "web", even()) for i in range(9)))
    assert over_zones(made, bound(turns(made))) == {"a": 3, "b": 3, "c": 3}


def test_a_full_zone_holds_up_the_others() -> None:
    nodes = [node("n1", labels={ZONE: "a"}, pods="1"), node("n2", labels={ZONE: "b"})]
    made = engine(*nodes, *(pod(f"p{i}", "web", even()) for i in range(5)))
    taken = turns(made)
    assert over_zones(made, bound(taken)) == {"a": 1, "b": 2}
    assert "1 Too many pods, 1 node(s) didn't match pod topology spread constraints" in next(
        iter(refused(taken).values())
    )


def test_pods_that_would_rather_be_spread_are_and_go_on() -> None:
    nodes = [node("n1", labels={ZONE: "a"}, pods="1"), node("n2", labels={ZONE: "b"}), node("n3", labels={ZONE: "b"})]
    made = engine(*nodes, *(pod(f"p{i}", "web", even(hard=False)) for i in range(5)))
    assert over_zones(made, bound(turns(made))) == {"a": 1, "b": 4}


def test_soft_constraints_prefer_the_emptier_zone_over_the_emptier_node() -> None:
    there = [pod("a", on="n1"), pod("b", on="n1"), pod("c", "db", on="n3")]
    made = engine(*zoned("a", "a", "b"), *there, pod("p", "web", even(hard=False)))
    assert bound(turns(made)) == {"p": "n3"}


# ---------------------------------------------------------------- waking


def test_a_zone_that_catches_up_lets_the_others_go_on() -> None:
    made = engine(*zoned("a", "b"), pod("a", on="n1"), pod("p", "web", even(), nodeSelector={HOST: "n1"}))
    see(made, pod("q", "web", even(nodeAffinityPolicy="Ignore"), nodeSelector={HOST: "n1"}))
    assert bound(turns(made)) == {"p": "n1"}  # alone in the nodes that it may use
    see(made, pod("r", on="n2"))
    assert bound(turns(made)) == {}
    see(made, pod("s", on="n2"))
    assert bound(turns(made)) == {"q": "n1"}


def test_a_pod_that_is_being_deleted_counts_no_longer_and_wakes() -> None:
    made = engine(
        *zoned("a", "b"),
        pod("a", on="n1"),
        pod("p", "web", even(nodeAffinityPolicy="Ignore"), nodeSelector={ZONE: "a"}),
    )
    assert refused(turns(made))
    see(made, pod("a", on="n1", leaving=True))
    assert bound(turns(made)) == {"p": "n1"}


def test_the_last_node_of_an_empty_zone_that_goes_wakes() -> None:
    made = engine(
        *zoned("a", "b"),
        pod("a", on="n1"),
        pod("p", "web", even(nodeAffinityPolicy="Ignore"), nodeSelector={ZONE: "a"}),
    )
    assert refused(turns(made))
    made.node_gone("n2")
    assert bound(turns(made)) == {"p": "n1"}


# ---------------------------------------------------------------- preemption and explaining


def test_one_of_the_crowd_that_matters_less_is_evicted_where_it_is_in_the_way() -> None:
    low = pod("low", on="n1")
    made = engine(
        *zoned("a", "b"),
        low,
        pod("high", "web", even(nodeAffinityPolicy="Ignore"), nodeSelector={ZONE: "a"}, priority=10),
    )
    (making,) = (making for turn in turns(made) for making in turn.evictions)
    assert [victim.key.name for victim in making.eviction.victims] == ["low"]


def test_the_constraint_the_domain_and_the_counts_are_named() -> None:
    made = engine(*zoned("a", "b", ""), pod("a", on="n1"), pod("b", on="n1"))
    shape = made.shape_of(pod("p", "web", even()))
    first, second, third = verdicts(made.profile, shape, made.cluster)
    assert list(first.reasons) == [
        f"node(s) didn't match pod topology spread constraints: {ZONE}=a has 2 of the pods matching app=web in namespace "
        "default, the fewest is 0, maxSkew is 1"
    ]
    assert second.fits
    assert third.reasons[0] == f"node(s) didn't match pod topology spread constraints (missing required label): {ZONE}"
    assert made.profile.recount(shape, made.cluster) == [
        f"topology spread over {ZONE}, pods matching app=web in namespace default, maxSkew 1: a 2, b 0; the fewest is 0"
    ]


def test_too_few_domains_are_told() -> None:
    made = engine(*zoned("a"), pod("a", on="n1"))
    (sentence,) = made.profile.recount(made.shape_of(pod("p", "web", even(minDomains=2))), made.cluster)
    assert sentence.endswith("a 1; the fewest is 0, as there are fewer than minDomains 2")


# ---------------------------------------------------------------- against the plain implementation


@st.composite
def kinds(draw: st.DrawFn) -> dict[str, Any]:
    keys = draw(st.sampled_from([[], [ZONE], [HOST], [ZONE, HOST]]))
    constraints = [
        even(
            key,
            draw(st.integers(1, 2)),
            app=draw(st.sampled_from(["web", "web", "db", None])),
            nodeAffinityPolicy=draw(st.sampled_from(["Honor", "Ignore"])),
            nodeTaintsPolicy=draw(st.sampled_from(["Honor", "Ignore"])),
            matchLabelKeys=draw(st.sampled_from([[], ["hash"]])),
        )
        | draw(st.sampled_from([{}, {}, {"minDomains": 2}]))
        for key in keys
    ]
    tolerations = draw(st.sampled_from([[], [{"key": "team", "operator": "Exists"}]]))
    return {
        "app": draw(st.sampled_from(["web", "db"])),
        "constraints": constraints,
        "labels": draw(st.sampled_from([{}, {"hash": "1"}])),
        "namespace": draw(st.sampled_from(["default", "default", "other"])),
        "nodeSelector": draw(st.sampled_from([{}, {}, {ZONE: "a"}])),
        "tolerations": tolerations,
    }


def made_of(kind: dict[str, Any], name: str, on: str = "", leaving: bool = False) -> Pod:
    rest = {key: value for key, value in kind.items() if key not in ("app", "constraints")}
    return pod(name, kind["app"], *kind["constraints"], on=on, leaving=leaving, **rest)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Node], list[Pod]]:
    zones = draw(st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=6))
    nodes = zoned(*zones)
    for tainted in draw(st.lists(st.sampled_from(nodes), max_size=2)):
        tainted.spec.taints.append(TAINT)
    there = [
        made_of(
            draw(kinds()), f"there{i}", draw(st.sampled_from([n.metadata.name for n in nodes])), draw(st.booleans())
        )
        for i in range(draw(st.integers(0, 8)))
    ]
    return nodes, there


def world(nodes: list[Node], there: list[Pod]) -> World:
    return World({n.metadata.name: n for n in nodes}, [(p, p.spec.node_name) for p in there])


@given(worlds(), kinds())
@settings(max_examples=200, deadline=None)
def test_the_arrays_say_what_the_plain_implementation_says(
    made: tuple[list[Node], list[Pod]], kind: dict[str, Any]
) -> None:
    nodes, there = made
    wanted = made_of(kind, "wanted")
    assert admitted(engine(*nodes, *there), wanted) == world(nodes, there).fits(wanted)


@given(worlds(), kinds(), st.integers(1, 8))
@settings(max_examples=80, deadline=None)
def test_every_pod_of_a_batch_goes_where_it_may_and_none_is_left_that_could(
    made: tuple[list[Node], list[Pod]], kind: dict[str, Any], count: int
) -> None:
    nodes, there = made
    batch = {f"p{i}": made_of(kind, f"p{i}") for i in range(count)}
    scheduler, plain = engine(*nodes, *there, *batch.values()), world(nodes, there)
    placed = bound(turns(scheduler))
    for name, on in placed.items():
        assert on in plain.fits(batch[name])
        plain.placed.append((batch[name], on))
    assert all(not plain.fits(p) for name, p in batch.items() if name not in placed)


@given(worlds(), kinds(), st.integers(1, 8), st.booleans())
@settings(max_examples=80, deadline=None)
def test_what_follows_a_batch_is_what_counting_anew_for_each_pod_would_be(
    made: tuple[list[Node], list[Pod]], kind: dict[str, Any], count: int, hard: bool
) -> None:
    nodes, there = made
    for constraint in kind["constraints"] if not hard else []:
        constraint["whenUnsatisfiable"] = "ScheduleAnyway"
        constraint.pop("minDomains", None)
    batch = [made_of(kind, f"p{i}") for i in range(count)]
    at_once, in_turn = engine(*nodes, *there, *batch), engine(*nodes, *there, *batch)
    if at_once.profile.follow(at_once.shape_of(batch[0]), at_once.cluster) is None:
        return  # placed in one step: see test_scheduler_place
    assert bound(turns(at_once)) == bound(turns(in_turn, limit=1))


@given(worlds(), st.lists(kinds(), min_size=1, max_size=3), st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_leaves_nobody_who_could_go_on_waits(
    made: tuple[list[Node], list[Pod]], waiting: list[dict[str, Any]], data: st.DataObject
) -> None:
    nodes, there = made
    pods = [made_of(kind, f"p{i}") for i, kind in enumerate(waiting)]
    scheduler = engine(*nodes, *there, *pods)
    turns(scheduler)
    for gone in data.draw(st.lists(st.sampled_from(there), unique_by=id)) if there else []:
        scheduler.pod_gone(PodKey(gone.metadata.namespace, gone.metadata.name), gone.metadata.uid)
        turns(scheduler)
        for line in scheduler.queue.lines():
            assert not scheduler.profile.room(line.shape, scheduler.cluster).any()
