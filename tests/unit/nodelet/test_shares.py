"""How a draw is cut: exactly by weight between revisions, evenly within them, and untouched for everybody else."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodelet.network.shares import WHOLE, Draw, Side, draw


def _parts(made: Draw) -> dict[int, Fraction]:
    """What each endpoint gets of all."""
    numbers = Counter[int]()
    for place, first, last in made.ranges:
        numbers[place] += last - first + 1
    return {place: Fraction(count, made.below) for place, count in numbers.items()}


def _sides(stable: int, canary: int, weight: int, others: int = 0) -> list[Side]:
    return [
        *[Side("web", False, weight)] * stable,
        *[Side("web", True, weight)] * canary,
        *[WHOLE] * others,
    ]


@pytest.mark.parametrize(
    ("stable", "canary", "weight"), [(3, 1, 10), (3, 1, 25), (1, 3, 10), (7, 3, 33), (1, 1, 1), (999, 1, 1), (2, 5, 99)]
)
def test_a_canary_gets_its_weight_exactly(stable: int, canary: int, weight: int) -> None:
    made = draw(_sides(stable, canary, weight))
    assert made is not None
    parts = _parts(made)
    assert sum(parts[place] for place in range(stable, stable + canary)) == Fraction(weight, 100)
    assert sum(parts.values()) == 1
    for places in (range(stable), range(stable, stable + canary)):
        of_side = [parts[place] for place in places]
        assert max(of_side) - min(of_side) <= Fraction(1, made.below)


@pytest.mark.parametrize(("weight", "nobody"), [(0, 3), (100, 0)])
def test_who_is_to_get_nothing_is_not_there(weight: int, nobody: int) -> None:
    made = draw(_sides(3, 1, weight))
    assert made is not None
    assert nobody not in _parts(made)
    assert sum(_parts(made).values()) == 1


@pytest.mark.parametrize("sides", [[WHOLE] * 3, _sides(3, 0, 10), _sides(0, 2, 10), [], _sides(2, 0, 10, others=4)])
def test_without_both_revisions_all_get_the_same(sides: list[Side]) -> None:
    assert draw(sides) is None


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 100), st.integers(0, 30))
def test_others_of_the_service_get_what_they_got_anyway(stable: int, canary: int, weight: int, others: int) -> None:
    made = draw(_sides(stable, canary, weight, others))
    assert made is not None
    parts, all_of_them = _parts(made), stable + canary + others
    for place in range(stable + canary, all_of_them):
        assert abs(parts[place] - Fraction(1, all_of_them)) <= Fraction(1, made.below)
    new = sum(parts.get(place, Fraction(0)) for place in range(stable, stable + canary))
    assert new == Fraction(stable + canary, all_of_them) * Fraction(weight, 100)


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.booleans()), max_size=40))
def test_ranges_follow_each_other_and_leave_no_number_out(found: list[tuple[str, bool]]) -> None:
    made = draw([Side(name, canary, 30) if name else WHOLE for name, canary in found])
    if made is None:
        return
    assert 0 < made.below < 2**32
    after = 0
    for _, first, last in made.ranges:
        assert first == after
        assert last >= first
        after = last + 1
    assert after == made.below


def test_a_great_many_endpoints_can_be_drawn_from() -> None:
    made = draw(_sides(40_000, 2_000, 1))
    assert made is not None
    assert made.below < 2**32
    assert sum(part for place, part in _parts(made).items() if place >= 40_000) == Fraction(1, 100)
