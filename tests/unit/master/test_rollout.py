"""Surge arithmetic: known cases by table, and what must never happen as properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.controllers.rollout import Limits, Size, grow_new, proportional, resolve, shrink_old
from podium.errors import BadRequest
from podium.v1.meta_pb2 import IntOrString


def _value(value: int | str) -> IntOrString:
    return IntOrString(int_value=value) if isinstance(value, int) else IntOrString(str_value=value)


@pytest.mark.parametrize(
    ("surge", "unavailable", "desired", "expected"),
    [
        ("25%", "25%", 10, (3, 2)),
        ("25%", "25%", 3, (1, 0)),
        ("25%", "25%", 1, (1, 0)),
        (0, "10%", 5, (0, 1)),  # both would be 0: one may go
        (1, 0, 4, (1, 0)),
        (0, 9, 4, (0, 4)),  # no more than there are
        ("100%", "50%", 5, (5, 2)),
        ("25%", "25%", 0, (0, 0)),
    ],
)
def test_resolve_rounds_surge_up_and_unavailable_down(
    surge: int | str, unavailable: int | str, desired: int, expected: tuple[int, int]
) -> None:
    limits = resolve(_value(surge), _value(unavailable), desired)
    assert (limits.surge, limits.unavailable) == expected


def test_absent_values_are_a_quarter() -> None:
    assert resolve(IntOrString(), IntOrString(), 8) == Limits(desired=8, surge=2, unavailable=2)


def test_resolve_refuses_what_is_no_percentage() -> None:
    with pytest.raises(BadRequest, match="percentage"):
        resolve(_value("many"), _value(0), 3)


def test_new_set_grows_into_the_room_that_surge_leaves() -> None:
    limits = Limits(desired=10, surge=3, unavailable=2)
    assert grow_new(Size(name="new", wanted=0), [Size(name="old", wanted=10, available=10)], limits) == 3
    assert grow_new(Size(name="new", wanted=3), [Size(name="old", wanted=8, available=8)], limits) == 5
    assert grow_new(Size(name="new", wanted=9), [], limits) == 10
    assert grow_new(Size(name="new", wanted=12), [], limits) == 10


def test_old_sets_shrink_as_far_as_availability_allows() -> None:
    limits = Limits(desired=10, surge=3, unavailable=2)
    old = [Size(name="old", wanted=10, available=10)]
    assert shrink_old(Size(name="new", wanted=3, available=0), old, limits) == {"old": 8}
    assert shrink_old(Size(name="new", wanted=3, available=3), old, limits) == {"old": 5}


def test_unavailable_old_replicas_go_first_and_wherever_they_are() -> None:
    limits = Limits(desired=10, surge=3, unavailable=2)
    old = [Size(name="a", wanted=4, available=4), Size(name="b", wanted=6, available=0)]
    # 4 available where 8 should be: none of the good ones may go, all that is spare of the broken ones does.
    assert shrink_old(Size(name="new", wanted=3), old, limits) == {"b": 4}


def test_scaling_in_the_middle_of_a_rollout_shares_the_change_out() -> None:
    limits = Limits(desired=15, surge=3, unavailable=2)
    sets = [
        Size(name="old", wanted=8, planned_most=13),
        Size(name="new", wanted=5, planned_most=13),
    ]
    assert proportional(sets, limits) == {"old": 11, "new": 7}  # the example of the Kubernetes documentation


_counts = st.integers(0, 30)


@st.composite
def _rollouts(draw: st.DrawFn) -> tuple[Size, list[Size], Limits]:
    desired = draw(_counts)
    surge = draw(_counts)
    limits = Limits(
        desired=desired, surge=surge, unavailable=draw(st.integers(0 if surge else min(1, desired), desired))
    )
    sizes = [
        Size(name=str(n), wanted=w, available=draw(_counts)) for n, w in enumerate(draw(st.lists(_counts, max_size=5)))
    ]
    return Size(name="new", wanted=draw(_counts), available=draw(_counts)), sizes, limits


@given(_rollouts())
def test_growing_never_passes_desired_plus_surge(rollout: tuple[Size, list[Size], Limits]) -> None:
    new, old, limits = rollout
    before = new.wanted + sum(s.wanted for s in old)
    grown = grow_new(new, old, limits)
    after = grown + sum(s.wanted for s in old)
    assert after <= max(limits.most, before)
    assert grown <= max(new.wanted, limits.desired)


@given(_rollouts())
def test_shrinking_never_takes_what_must_stay_available(rollout: tuple[Size, list[Size], Limits]) -> None:
    new, old, limits = rollout
    before = new.surely_available + sum(s.surely_available for s in old)
    sizes = shrink_old(new, old, limits)
    after = new.surely_available + sum(min(s.available, sizes.get(s.name, s.wanted)) for s in old)
    assert after >= min(before, limits.least_available)
    assert all(0 <= size < next(s.wanted for s in old if s.name == name) for name, size in sizes.items())


@given(_rollouts())
def test_a_rollout_whose_pods_become_available_ends(rollout: tuple[Size, list[Size], Limits]) -> None:
    new, old, limits = rollout
    for _ in range(200):
        wanted = grow_new(new, old, limits)
        new = Size(name="new", wanted=wanted, available=min(new.available, wanted))
        sizes = shrink_old(new, old, limits)
        old = [Size(name=s.name, wanted=(w := sizes.get(s.name, s.wanted)), available=min(s.available, w)) for s in old]
        new = Size(name="new", wanted=wanted, available=wanted)
    assert new.wanted == limits.desired
    assert all(s.wanted == 0 for s in old)


@given(_rollouts())
def test_proportional_scaling_reaches_the_goal_and_never_goes_negative(
    rollout: tuple[Size, list[Size], Limits],
) -> None:
    _, sets, limits = rollout
    sizes = proportional(sets, limits)
    assert all(size >= 0 for size in sizes.values())
    assert sum(sizes.values()) == (limits.most if limits.desired and sets else 0)
