"""The census: whatever comes, goes and is asked in whatever order, its arrays are what counting anew would give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from master.scheduler import census as census_module
from master.scheduler.census import Census
from master.scheduler.crowd import Crowd, Held, Kin, Term
from podium.objects.selectors import everything, nothing, parse_selector
from tests.support.scheduling import engine, node, pod, turns

CAPACITY = 4
KINS = [
    Kin(namespace, labels, leaving)
    for namespace in ("default", "other")
    for labels in ((), (("app", "web"),), (("app", "db"), ("tier", "1")))
    for leaving in (False, True)
]
HERE = frozenset(("default",))
CROWDS = [
    (Crowd(parse_selector("app=web"), HERE),),
    (Crowd(parse_selector("app in (web,db)"), HERE, staying=True),),
    (Crowd(parse_selector("app!=web"), HERE),),
    (Crowd(parse_selector("tier"), frozenset(), everything()),),
    (Crowd(parse_selector("app=db"), HERE, parse_selector("team=x")),),
    (Crowd(everything(), HERE), Crowd(parse_selector("tier=1"), HERE)),
    (Crowd(nothing(), HERE),),
]
HELD = [Held(Term(crowds[0], "zone"), pull) for crowds in CROWDS for pull in (0, 5)]
STEP = st.one_of(
    st.tuples(st.just("come"), st.integers(0, CAPACITY - 1), st.sampled_from(KINS), st.sampled_from(HELD)),
    st.tuples(st.just("go"), st.integers(0, 99)),
    st.tuples(st.just("ask"), st.sampled_from(CROWDS)),
    st.tuples(st.just("node gone"), st.integers(0, CAPACITY - 1)),
    st.tuples(st.just("namespace"), st.sampled_from([None, {}, {"team": "x"}, {"team": "y"}])),
)


class _Plain:
    """A list of who is where."""

    def __init__(self, census: Census) -> None:
        self.census = census
        self.there: list[tuple[int, Kin, Held]] = []

    def count(self, matching: Any) -> list[int]:
        rows = [row for row, kin, held in self.there if matching(kin, held)]
        return [rows.count(row) for row in range(CAPACITY)]

    def check(self) -> None:
        for crowds in CROWDS:
            expected = self.count(lambda kin, _, crowds=crowds: self.census.includes(crowds, kin))
            assert self.census.of(crowds).tolist() == expected
        for kin in KINS:
            named = {h: rows.tolist() for h, rows in self.census.held_against(kin)}
            held = {h for _, _, h in self.there if self.census.includes((h.term.crowd,), kin)}
            assert named == {h: self.count(lambda _, other, h=h: other == h) for h in held}


@given(st.lists(STEP, max_size=30))
@settings(max_examples=150, deadline=None)
def test_the_arrays_are_what_counting_anew_gives(steps: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(census_module, "_MOST_CROWDS", 2)
        census = Census(CAPACITY)
        plain = _Plain(census)
        for step in steps:
            match step:
                case "come", row, kin, held:
                    plain.there.append((row, kin, held))
                    census.count(row, kin, 1)
                    census.hold(row, (held,), 1)
                case "go", which if plain.there:
                    row, kin, held = plain.there.pop(which % len(plain.there))
                    census.count(row, kin, -1)
                    census.hold(row, (held,), -1)
                case "ask", crowds:
                    census.of(crowds)
                case "node gone", row:
                    plain.there = [entry for entry in plain.there if entry[0] != row]
                    census.forget(row)
                case "namespace", labels:
                    census.set_namespace("other", labels)
        plain.check()


def test_when_all_have_gone_nothing_is_left() -> None:
    census = Census(CAPACITY)
    for change in (1, -1):
        for kin in KINS:
            census.count(1, kin, change)
            census.hold(1, HELD, change)
    assert census.content() == {}


def test_arrays_grow_with_the_nodes() -> None:
    census = Census(CAPACITY)
    census.count(1, KINS[2], 3)
    assert census.of(CROWDS[0]).tolist() == [0, 3, 0, 0]
    census.grow(8)
    census.count(7, KINS[2], 1)
    assert np.flatnonzero(census.of(CROWDS[0])).tolist() == [1, 7]


def test_labels_that_nobody_asks_about_do_not_split_shapes_and_those_that_somebody_does_are_looked_at() -> None:
    made = engine(node(), pod("there", app="web", apart=("web", "kubernetes.io/hostname"), on="n1"))
    first, second, other = pod("a", app="db"), pod("b", app="db"), pod("c", app="web")
    first.metadata.labels["index"], second.metadata.labels["index"] = "1", "2"
    assert made.shape_of(first) is made.shape_of(second)
    assert made.shape_of(first) is not made.shape_of(other)
    assert turns(made) == []


def test_a_cluster_without_terms_counts_nothing() -> None:
    made = engine(node(), *(pod(f"p{i}", app=f"app{i}") for i in range(3)))
    turns(made)
    assert made.cluster.census.content() == {}
