"""What the past allows: windows, and limits by period."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.autoscaler.behavior import LONGEST_WINDOW, History, Scaled, Wanted, down_limit, stabilize, up_limit
from podium.v1.autoscaling_pb2 import HPAScalingPolicy, HPAScalingRules

NOW = 10_000.0


def rules(*policies: tuple[str, int, int], select: str = "Max") -> HPAScalingRules:
    made = [HPAScalingPolicy(type=type_, value=value, period_seconds=period) for type_, value, period in policies]
    return HPAScalingRules(select_policy=select, policies=made)


def scaled(*changes: tuple[float, int]) -> History:
    return History(scaled=tuple(Scaled(NOW - ago, change) for ago, change in changes))


def wanted(*proposals: tuple[float, int]) -> History:
    return History(wanted=tuple(Wanted(NOW - ago, replicas) for ago, replicas in proposals))


@pytest.mark.parametrize(
    ("select", "replicas", "past", "up", "down"),
    [
        ("Max", 10, [], 20, 5),
        ("Min", 10, [], 14, 8),
        ("Disabled", 10, [], 10, 10),
        # within the period, what has been added or taken away counts; what is older does not
        ("Max", 18, [(10, 8)], 20, 5),
        ("Max", 20, [(5, 10)], 20, 5),
        ("Min", 14, [(5, 4)], 14, 8),
        ("Max", 20, [(70, 10)], 40, 10),
        ("Max", 5, [(10, -5)], 20, 5),
        ("Min", 6, [(10, -4)], 14, 6),
        # a few pods: the absolute policy is the wider one up, the share the narrower one down
        ("Max", 1, [], 5, 0),
        ("Min", 1, [], 2, 0),
        ("Min", 0, [], 1, 0),
        ("Max", 0, [], 4, 0),
    ],
)
def test_limits(select: str, replicas: int, past: list[tuple[float, int]], up: int, down: int) -> None:
    upward = rules(("Pods", 4, 60), ("Percent", 100, 60), select=select)
    downward = rules(("Pods", 2, 60), ("Percent", 50, 60), select=select)
    assert up_limit(upward, replicas, scaled(*past), NOW) == up
    assert down_limit(downward, replicas, scaled(*past), NOW) == down


def test_the_documented_example_of_going_down() -> None:
    """80 replicas by 10 % a minute: 80 → 72 → 64 → … (rounded down, as there)."""
    tenth = rules(("Percent", 10, 60), ("Pods", 4, 60))
    assert down_limit(tenth, 80, History(), NOW) == 72
    assert down_limit(tenth, 72, History(), NOW) == 64
    assert down_limit(tenth, 40, History(), NOW) == 36
    assert down_limit(tenth, 36, History(), NOW) == 32


@pytest.mark.parametrize(
    ("proposed", "replicas", "past", "steady"),
    [
        (2, 5, [], 2),
        (2, 5, [(200, 5)], 5),
        (2, 5, [(200, 4)], 4),
        (2, 5, [(200, 9)], 5),
        (2, 5, [(301, 5)], 2),
        (9, 5, [], 9),
        (9, 5, [(30, 6)], 6),
        (9, 5, [(30, 3)], 5),
        (9, 5, [(61, 3)], 9),
        (5, 5, [(10, 2), (20, 9)], 5),
    ],
)
def test_stabilization(proposed: int, replicas: int, past: list[tuple[float, int]], steady: int) -> None:
    assert stabilize(proposed, replicas, wanted(*past), up_window=60, down_window=300, now=NOW) == steady


numbers = st.integers(0, 100)
pasts = st.lists(st.tuples(st.floats(0, 400), numbers), max_size=10)


@given(numbers, numbers, pasts, st.integers(0, 300), st.integers(0, 300))
def test_stabilization_goes_neither_beyond_the_proposal_nor_away_from_it(
    proposed: int, replicas: int, past: list[tuple[float, int]], up: int, down: int
) -> None:
    steady = stabilize(proposed, replicas, wanted(*past), up_window=up, down_window=down, now=NOW)
    assert min(proposed, replicas) <= steady <= max(proposed, replicas)


policies = st.lists(
    st.tuples(st.sampled_from(["Pods", "Percent"]), st.integers(1, 200), st.integers(1, 300)), min_size=1
)
changes = st.lists(st.tuples(st.floats(0, 400), st.integers(-20, 20)), max_size=10)


@given(policies, st.sampled_from(["Max", "Min", "Disabled"]), numbers, changes)
def test_limits_never_force_a_change(
    made: list[tuple[str, int, int]], select: str, replicas: int, past: list[tuple[float, int]]
) -> None:
    one = rules(*made, select=select)
    assert up_limit(one, replicas, scaled(*past), NOW) >= replicas >= down_limit(one, replicas, scaled(*past), NOW) >= 0


def test_history_is_as_long_as_it_moves() -> None:
    history = History()
    for second in range(5000):
        history = history.wants(3, float(second)).wants(3, second + 0.5)
    assert history.wanted == (Wanted(4999.5, 3),)
    history = history.wants(4, 5000.0).scales(1, 5000.0)
    assert history.wants(5, 5001.0 + LONGEST_WINDOW).wanted == (Wanted(5001.0 + LONGEST_WINDOW, 5),)
    assert history.scales(1, 9000.0).scaled == (Scaled(9000.0, 1),)
