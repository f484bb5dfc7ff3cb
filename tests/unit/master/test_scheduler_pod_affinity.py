"""Affinity and anti-affinity between pods: by table, and against a plain implementation."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from master.scheduler.engine import Engine
from master.scheduler.explain import diagnose, verdicts
from master.scheduler.inquiry import explain_pod
from master.scheduler.ledger import PodKey
from master.scheduler.plugins.pod_affinity import PodPreference
from podium.codec.json import object_from_dict
from podium.v1.core_pb2 import Node, Pod
from tests.support.placement_reference import World
from tests.support.scheduling import bound, engine, node, refused, see, state, turns

ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
Term = dict[str, Any]


def term(app: str = "web", key: str = HOST, **more: Any) -> Term:
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key} | more


def pod(
    name: str = "p",
    app: str = "web",
    *,
    near: list[Term] | None = None,
    apart: list[Term] | None = None,
    liked: list[tuple[int, Term]] | None = None,
    avoided: list[tuple[int, Term]] | None = None,
    on: str = "",
    labels: Mapping[str, str] | None = None,
    namespace: str = "default",
    **spec: Any,
) -> Pod:
    """A pod with labels and terms."""

    def wishes(required: list[Term] | None, preferred: list[tuple[int, Term]] | None) -> dict[str, Any]:
        return {
            "requiredDuringSchedulingIgnoredDuringExecution": required or [],
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": weight, "podAffinityTerm": wish} for weight, wish in preferred or []
            ],
        }

    affinity = {"podAffinity": wishes(near, liked), "podAntiAffinity": wishes(apart, avoided)}
    meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": {"app": app} | dict(labels or {})}
    body = {"containers": [{"name": "c", "image": "i"}], "affinity": affinity, "nodeName": on} | spec
    made = object_from_dict({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body})
    assert isinstance(made, Pod)
    return made


def zoned(*zones: str) -> list[Node]:
    """Nodes n1, n2, … in these zones; an empty one is none."""
    return [node(f"n{i}", labels={ZONE: zone} if zone else {}) for i, zone in enumerate(zones, 1)]


def admitted(made: Engine, wanted: Pod) -> set[str]:
    shape = made.shape_of(wanted)
    return {made.cluster.name(int(row)) for row in np.flatnonzero(made.profile.room(shape, made.cluster))}


def said(made: Engine, wanted: Pod) -> str:
    return str(diagnose(made.profile, made.shape_of(wanted), made.cluster))


# ---------------------------------------------------------------- who may go where

HASH = {"pod-template-hash": "1"}


@pytest.mark.parametrize(
    ("wanted", "there", "expected"),
    [
        (pod(near=[term("db")]), [pod("a", "db", on="n1")], {"n1"}),
        (pod(near=[term("db", ZONE)]), [pod("a", "db", on="n1")], {"n1", "n2"}),
        (pod(near=[term("db", ZONE)]), [pod("a", "db", on="n4")], set()),
        (pod(near=[term("db")]), [], set()),
        (pod(near=[term("db")]), [pod("a", "db", on="n1", namespace="other")], set()),
        (pod(near=[term("db", namespaces=["other"])]), [pod("a", "db", on="n1", namespace="other")], {"n1"}),
        (pod(near=[term("db", namespaceSelector={})]), [pod("a", "db", on="n1", namespace="other")], {"n1"}),
        (pod(near=[term("db", namespaceSelector={"matchLabels": {"team": "x"}})]), [pod("a", "db", on="n1", namespace="other")], {"n1"}),
        (pod(near=[term("db", namespaceSelector={"matchLabels": {"team": "y"}})]), [pod("a", "db", on="n1", namespace="other")], set()),
        (pod(near=[term("db"), term("api", ZONE)]), [pod("a", "db", on="n1"), pod("b", "api", on="n2")], set()),
        (pod(near=[{"topologyKey": HOST}]), [pod("a", on="n1")], set()),
        (pod(near=[{"topologyKey": HOST, "labelSelector": {}}]), [pod("a", "any", on="n1")], {"n1"}),
        # the first of its group
        (pod(near=[term("web")]), [], {"n1", "n2", "n3", "n4"}),
        (pod(near=[term("web", ZONE)]), [], {"n1", "n2", "n3"}),
        (pod(near=[term("web"), term("db")]), [], set()),
        (pod(near=[term("web", ZONE)]), [pod("a", on="n4")], {"n1", "n2", "n3"}),
        (pod(near=[term("web", ZONE)]), [pod("a", on="n3")], {"n3"}),
        # apart
        (pod(apart=[term("web")]), [pod("a", on="n1")], {"n2", "n3", "n4"}),
        (pod(apart=[term("web", ZONE)]), [pod("a", on="n1")], {"n3", "n4"}),
        (pod(apart=[term("web", ZONE)]), [pod("a", on="n4")], {"n1", "n2", "n3", "n4"}),
        (pod(apart=[term("web"), term("db", ZONE)]), [pod("a", on="n3"), pod("b", "db", on="n1")], {"n4"}),
        # both ways
        (pod(), [pod("a", "db", apart=[term("web")], on="n1")], {"n2", "n3", "n4"}),
        (pod("p", "api"), [pod("a", "db", apart=[term("web")], on="n1")], {"n1", "n2", "n3", "n4"}),
        (pod(namespace="other"), [pod("a", "db", apart=[term("web")], on="n1")], {"n1", "n2", "n3", "n4"}),
        # the pod's own values of labels
        (pod(apart=[term(matchLabelKeys=["pod-template-hash"])], labels=HASH), [pod("a", on="n1", labels=HASH), pod("b", on="n2")], {"n2", "n3", "n4"}),
        (pod(apart=[term(mismatchLabelKeys=["pod-template-hash"])], labels=HASH), [pod("a", on="n1", labels=HASH), pod("b", on="n2")], {"n1", "n3", "n4"}),
        (pod(apart=[term(matchLabelKeys=["absent"])]), [pod("a", on="n1")], {"n2", "n3", "n4"}),
    ],
)  # fmt: skip
def test_who_may_go_where(wanted: Pod, there: list[Pod], expected: set[str]) -> None:
    made = engine(*zoned("a", "a", "b", ""), *there)
    made.see_namespace("other", {"team": "x"})
    assert admitted(made, wanted) == expected


def test_labels_that_matter_later_count_for_pods_that_are_there_already() -> None:
    made = engine(*zoned("a", "b"), pod("a", "db", on="n1"))
    assert bound(turns(made)) == {}
    see(made, pod("b", near=[term("db")]), pod("c", apart=[term("db")]))
    assert bound(turns(made)) == {"b": "n1", "c": "n2"}


def test_a_changed_label_counts_at_once_and_wakes() -> None:
    made = engine(*zoned("a", "b"), pod("a", "web", on="n1"), pod("b", near=[term("db")]))
    assert turns(made)[-1].refused
    see(made, pod("a", "db", on="n1"))
    assert bound(turns(made)) == {"b": "n1"}


# ---------------------------------------------------------------- batches


def test_replicas_that_avoid_each_other_get_a_host_each_and_the_last_waits() -> None:
    made = engine(*zoned("a", "b", "c"), *(pod(f"p{i}", apart=[term()]) for i in range(4)))
    taken = turns(made)
    assert sorted(bound(taken).values()) == ["n1", "n2", "n3"]
    (message,) = refused(taken).values()
    assert message.startswith("0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules. preemption: ")


def test_replicas_that_avoid_each_other_get_a_zone_each() -> None:
    made = engine(*zoned("a", "a", "b", "b", "c"), *(pod(f"p{i}", apart=[term(key=ZONE)]) for i in range(5)))
    assert len(set(bound(turns(made)).values())) == 3
    zones = {made.cluster.facts(int(r)).labels[ZONE] for r in map(made.cluster.row, bound_nodes(made)) if r is not None}
    assert zones == {"a", "b", "c"}


def bound_nodes(made: Engine) -> list[str]:
    return [entry.node for entry in made.ledger.entries.values() if entry.node]


def test_a_group_follows_its_first_pod() -> None:
    made = engine(*zoned("a", "a", "b", "b"), *(pod(f"p{i}", near=[term(key=ZONE)]) for i in range(6)))
    nodes = set(bound(turns(made)).values())
    assert len(bound_nodes(made)) == 6
    assert nodes <= {"n1", "n2"} or nodes <= {"n3", "n4"}


def test_a_group_near_itself_on_one_host_stops_when_the_host_is_full() -> None:
    small = [node(f"n{i}", pods="2") for i in range(3)]
    made = engine(*small, *(pod(f"p{i}", near=[term()]) for i in range(3)))
    taken = turns(made)
    assert len(set(bound(taken).values())) == 1
    assert len(bound(taken)) == 2
    (message,) = refused(taken).values()
    assert "1 Too many pods, 2 node(s) didn't match pod affinity rules" in message


# ---------------------------------------------------------------- waking


def test_the_pod_that_is_wanted_wakes_those_that_wait_for_it() -> None:
    made = engine(*zoned("a", "a", "b"), pod("p", near=[term("db", ZONE)]))
    assert refused(turns(made))
    see(made, pod("db", "db", on="n1"))
    assert set(bound(turns(made)).values()) <= {"n1", "n2"}
    assert bound_nodes(made)


def test_a_line_is_not_asked_about_pods_that_it_does_not_count() -> None:
    made = engine(*zoned("a", "b"), pod("p", near=[term("db")]), pod("q", near=[term("api")]))
    turns(made)
    see(made, pod("y", "other", on="n1"))
    rows = [made._changes.rows_for(line, made.profile, made.cluster).size for line in made.queue.lines()]
    assert rows == [0, 0]
    see(made, pod("z", "api", on="n1"))
    rows = [made._changes.rows_for(line, made.profile, made.cluster).size for line in made.queue.lines()]
    assert rows == [0, 2]


def test_a_pod_that_is_placed_wakes_those_that_wait_for_it() -> None:
    made = engine(*zoned("a", "b"), pod("p", near=[term("db")]))
    turns(made)
    see(made, pod("db", "db"))
    placed = bound(turns(made))
    assert placed["p"] == placed["db"]


def test_one_that_leaves_opens_the_rest_of_its_zone() -> None:
    made = engine(*zoned("a", "a"), pod("a", on="n1"), pod("p", apart=[term(key=ZONE)], nodeSelector={HOST: "n2"}))
    assert refused(turns(made))
    made.pod_gone(PodKey("default", "a"), "uid-a")
    assert bound(turns(made)) == {"p": "n2"}


def test_one_that_kept_others_away_lets_them_in_when_it_leaves() -> None:
    made = engine(*zoned("a", "a"), pod("a", "db", apart=[term("web", ZONE)], on="n1"), pod("p"))
    assert refused(turns(made))["p"].startswith(
        "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-af"
    )
    made.pod_gone(PodKey("default", "a"), "uid-a")
    assert bound(turns(made))


def test_a_namespace_that_is_labelled_wakes() -> None:
    wanted = pod("p", near=[term("db", namespaceSelector={"matchLabels": {"team": "x"}})])
    made = engine(*zoned("a"), pod("a", "db", namespace="other", on="n1"), wanted)
    assert refused(turns(made))
    made.see_namespace("other", {"team": "x"})
    assert bound(turns(made)) == {"p": "n1"}


def test_a_node_that_changes_its_zone_wakes() -> None:
    made = engine(
        *zoned("a", "b"), pod("a", "db", on="n1"), pod("p", near=[term("db", ZONE)], nodeSelector={HOST: "n2"})
    )
    assert refused(turns(made))
    see(made, node("n1", labels={ZONE: "b"}))
    assert bound(turns(made)) == {"p": "n2"}


# ---------------------------------------------------------------- preferences


@pytest.mark.parametrize(
    ("wanted", "there", "expected"),
    [
        (pod(liked=[(1, term("db"))]), [pod("a", "db", on="n2")], "n2"),
        (pod(liked=[(1, term("db")), (50, term("api"))]), [pod("a", "db", on="n2"), pod("b", "api", on="n3")], "n3"),
        (pod(avoided=[(1, term("db", ZONE))]), [pod("a", "db", on="n1")], "n3"),
        (pod(), [pod("a", "db", liked=[(10, term("web"))], on="n2")], "n2"),
        (pod(), [pod("a", "db", avoided=[(10, term("web", ZONE))], on="n1")], "n3"),
        (pod(), [pod("z", "web", on="n2"), pod("a", "db", near=[term("web")], on="n2")], "n2"),
    ],
)
def test_preferences_attract_and_repel_both_ways(wanted: Pod, there: list[Pod], expected: str) -> None:
    assert bound(turns(engine(*zoned("a", "a", "b"), *there, wanted)))["p"] == expected


def test_replicas_that_prefer_to_be_apart_are_and_then_share() -> None:
    made = engine(*zoned("a", "b", "c"), *(pod(f"p{i}", avoided=[(100, term())]) for i in range(6)))
    nodes = list(bound(turns(made)).values())
    assert sorted(nodes.count(name) for name in set(nodes)) == [2, 2, 2]


# ---------------------------------------------------------------- preemption


def test_a_less_important_pod_in_the_way_is_evicted() -> None:
    made = engine(*zoned("a"), pod("low", on="n1"), pod("high", apart=[term()], priority=10))
    (making,) = (making for turn in turns(made) for making in turn.evictions)
    assert [victim.key.name for victim in making.eviction.victims] == ["low"]


def test_eviction_does_not_help_against_affinity_nor_against_pods_elsewhere_in_the_domain() -> None:
    missing = engine(*zoned("a"), pod("low", "x", on="n1"), pod("high", near=[term("db")], priority=10))
    assert "1 Preemption is not helpful for scheduling" in refused(turns(missing))["high"]
    wanted = pod("high", apart=[term(key=ZONE)], priority=10, nodeSelector={HOST: "n2"})
    elsewhere = engine(*zoned("a", "a"), pod("low", on="n1"), wanted)
    taken = turns(elsewhere)
    assert not any(turn.evictions for turn in taken)
    assert "No preemption victims found" in refused(taken)["high"]


# ---------------------------------------------------------------- explaining


def test_node_by_node_the_term_the_domain_and_the_count_are_named() -> None:
    there = [pod("a", on="n1"), pod("b", on="n1"), pod("d", "db", apart=[term("web", ZONE)], on="n2")]
    made = engine(*zoned("a", "b", ""), *there)
    shape = made.shapes.shape(pod(near=[term("db", ZONE)], apart=[term()]))
    first, second, third = verdicts(made.profile, shape, made.cluster)
    assert list(first.reasons) == [
        f"node(s) didn't match pod affinity rules: none of the pods matching app=db in namespace default in {ZONE}=a",
        f"node(s) didn't match pod anti-affinity rules: 2 of the pods matching app=web in namespace default in {HOST}=n1",
    ]
    assert list(second.reasons) == [
        "node(s) didn't satisfy existing pods anti-affinity rules: 1 with anti-affinity to pods matching app=web in "
        f"namespace default in {ZONE}=b"
    ]
    assert list(third.reasons) == [f"node(s) didn't match pod affinity rules: it has no label {ZONE}"]


def test_each_constraint_is_told_with_its_counts() -> None:
    there = [pod("a", on="n1"), pod("b", on="n1"), pod("c", on="n2")]
    wanted = pod(near=[term("db", ZONE)], apart=[term()])
    made = engine(*zoned("a", "b"), *there, wanted)
    turns(made)
    assert list(explain_pod(made, wanted, False).constraints) == [
        f"pod affinity over {ZONE}, pods matching app=db in namespace default: there are none",
        f"pod anti-affinity over {HOST}, pods matching app=web in namespace default: there are n1 2, n2 1",
    ]


# ---------------------------------------------------------------- against the plain implementation

APPS = ("web", "db")
NAMESPACES: dict[str, dict[str, str]] = {"default": {}, "other": {"team": "x"}}


@st.composite
def terms(draw: st.DrawFn) -> list[Term]:
    selector: st.SearchStrategy[dict[str, Any] | None] = st.one_of(
        st.none(),
        st.just({}),
        st.sampled_from(APPS).map(lambda app: {"matchLabels": {"app": app}}),
        st.sampled_from(APPS).map(
            lambda app: {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": [app]}]}
        ),
        st.just({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}),
    )
    return [
        {
            "labelSelector": draw(selector),
            "topologyKey": draw(st.sampled_from([ZONE, ZONE, HOST])),
            "namespaces": draw(st.sampled_from([[], [], ["other"], ["default", "other"]])),
            "namespaceSelector": draw(st.sampled_from([None, None, {}, {"matchLabels": {"team": "x"}}])),
            "matchLabelKeys": draw(st.sampled_from([[], [], ["tier"]])),
            "mismatchLabelKeys": draw(st.sampled_from([[], [], ["hash"]])),
        }
        for _ in range(draw(st.integers(0, 2)))
    ]


@st.composite
def kinds(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "app": draw(st.sampled_from(APPS)),
        "labels": draw(st.sampled_from([{}, {"tier": "1"}, {"tier": "2", "hash": "1"}, {"hash": "1"}])),
        "namespace": draw(st.sampled_from(sorted(NAMESPACES))),
        "near": draw(terms()),
        "apart": draw(terms()),
        "liked": [(draw(st.integers(1, 100)), wish) for wish in draw(terms())],
        "avoided": [(draw(st.integers(1, 100)), wish) for wish in draw(terms())],
    }


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Node], list[Pod]]:
    nodes = zoned(*draw(st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=6)))
    places = [n.metadata.name for n in nodes] + ["unknown"]
    there = [
        pod(f"there{i}", on=draw(st.sampled_from(places)), **draw(kinds())) for i in range(draw(st.integers(0, 6)))
    ]
    return nodes, there


def world(nodes: list[Node], there: list[Pod]) -> World:
    named = {n.metadata.name: n for n in nodes}
    return World(named, [(p, p.spec.node_name) for p in there], NAMESPACES)


def told(nodes: list[Node], *pods: Pod) -> Engine:
    made = engine(*nodes)
    for name, labels in NAMESPACES.items():
        made.see_namespace(name, labels)
    see(made, *pods)
    return made


@given(worlds(), kinds())
@settings(max_examples=200, deadline=None)
def test_the_arrays_say_what_the_plain_implementation_says(
    made: tuple[list[Node], list[Pod]], kind: dict[str, Any]
) -> None:
    nodes, there = made
    wanted = pod("wanted", **kind)
    assert admitted(told(nodes, *there), wanted) == world(nodes, there).fits(wanted)


@given(worlds(), kinds(), st.integers(1, 6))
@settings(max_examples=80, deadline=None)
def test_every_pod_of_a_batch_goes_where_it_may_and_none_is_left_that_could(
    made: tuple[list[Node], list[Pod]], kind: dict[str, Any], count: int
) -> None:
    nodes, there = made
    batch = {f"p{i}": pod(f"p{i}", **kind) for i in range(count)}
    scheduler, plain = told(nodes, *there, *batch.values()), world(nodes, there)
    for name, on in bound(turns(scheduler)).items():
        assert on in plain.fits(batch[name])
        plain.placed.append((batch[name], on))
    left = [p for name, p in batch.items() if name not in bound_names(scheduler)]
    assert all(not plain.fits(p) for p in left)


@given(worlds(), kinds(), st.integers(1, 6))
@settings(max_examples=80, deadline=None)
def test_what_follows_a_batch_is_what_counting_anew_for_each_pod_would_be(
    made: tuple[list[Node], list[Pod]], kind: dict[str, Any], count: int
) -> None:
    nodes, there = made
    batch = [pod(f"p{i}", **kind) for i in range(count)]
    at_once, in_turn = told(nodes, *there, *batch), told(nodes, *there, *batch)
    if at_once.profile.follow(at_once.shape_of(batch[0]), at_once.cluster) is None:
        return  # placed in one step: see test_scheduler_place
    assert bound(turns(at_once)) == bound(turns(in_turn, limit=1))


@given(worlds(), kinds())
@settings(max_examples=80, deadline=None)
def test_nodes_are_as_attractive_as_the_plain_implementation_says(
    made: tuple[list[Node], list[Pod]], kind: dict[str, Any]
) -> None:
    nodes, there = made
    wanted = pod("wanted", **kind)
    scheduler = told(nodes, *there, wanted)
    plugin, rows = PodPreference(), scheduler.cluster.rows()
    need = plugin.sign(wanted, scheduler.shape_of(wanted).footprint)
    if need is None:
        return
    scores = dict(
        zip(
            map(scheduler.cluster.name, rows.tolist()),
            plugin.score(need, scheduler.cluster, rows, 1)[:, 0],
            strict=True,
        )
    )
    plain = {name: world(nodes, there).attraction(wanted, name) for name in scores}
    low, high = min(plain.values()), max(plain.values())
    expected = {name: 100.0 * (value - low) / (high - low) if high > low else 100.0 for name, value in plain.items()}
    assert scores == pytest.approx(expected)


def bound_names(made: Engine) -> set[str]:
    return {entry.key.name for entry in made.ledger.entries.values() if entry.node}


@given(worlds(), st.lists(kinds(), max_size=3))
@settings(max_examples=60, deadline=None)
def test_whoever_comes_and_goes_leaves_no_trace(made: tuple[list[Node], list[Pod]], more: list[dict[str, Any]]) -> None:
    nodes, there = made
    scheduler = told(nodes, *there)
    passing = [pod(f"q{i}", **kind) for i, kind in enumerate(more)]
    for one in passing:  # what its terms look at stays looked at
        scheduler.shape_of(one)
    before = state(scheduler.cluster)
    see(scheduler, *passing)
    turns(scheduler)
    for one in passing:
        scheduler.pod_gone(PodKey(one.metadata.namespace, one.metadata.name), one.metadata.uid)
    assert state(scheduler.cluster) == before
