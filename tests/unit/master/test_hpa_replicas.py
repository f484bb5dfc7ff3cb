"""What one metric proposes: the cases of Kubernetes' algorithm, and what holds for any figures."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from master.autoscaler.facts import Figure, PodFacts, Tuning
from master.autoscaler.replicas import (
    Average,
    Gauge,
    Groups,
    NoFigures,
    Tolerance,
    Utilization,
    by_pods,
    by_share,
    by_value,
    group,
    ready_pods,
)

TENTH = Tolerance(down=Fraction(1, 10), up=Fraction(1, 10))
NONE: frozenset[str] = frozenset()


def known(*amounts: int) -> dict[str, int]:
    return {f"p{number}": amount for number, amount in enumerate(amounts)}


def groups(counted: Mapping[str, int], unready: int = 0, missing: int = 0) -> Groups:
    return Groups(
        counted=counted,
        unready=frozenset(f"u{n}" for n in range(unready)),
        missing=frozenset(f"m{n}" for n in range(missing)),
    )


def utilization(target: int, request: int = 1000) -> Utilization:
    names = [f"{letter}{number}" for letter in "pum" for number in range(60)]
    return Utilization(target, dict.fromkeys(names, request))


@pytest.mark.parametrize(
    ("counted", "unready", "missing", "target", "replicas", "proposed"),
    [
        # documented: current 200m, desired 100m → doubled; 50m → halved
        ([200, 200], 0, 0, 10, 2, 4),
        ([50, 50, 50, 50], 0, 0, 10, 4, 2),
        # all known: up, down, within the tolerance
        ([300, 500, 700], 0, 0, 30, 3, 5),
        ([100, 300, 500, 250, 250], 0, 0, 50, 5, 3),
        ([1010, 1030, 1020], 0, 0, 100, 3, 3),
        ([950, 950], 0, 0, 100, 2, 2),
        ([1000, 1000], 0, 0, 100, 2, 2),
        # unready pods damp going up, and are left out otherwise
        ([500, 700], 1, 0, 30, 3, 4),
        ([900], 2, 0, 30, 3, 3),
        ([400, 500], 1, 0, 30, 3, 3),
        ([100, 300], 1, 0, 50, 3, 1),
        # missing figures count as nothing going up, as all of the request going down
        ([1000], 0, 1, 24, 2, 5),
        ([1000], 0, 1, 50, 2, 2),
        ([100], 0, 1, 50, 2, 2),
        ([100, 100, 100, 100, 100], 0, 1, 50, 6, 3),
        ([100, 100, 100, 100, 100], 0, 1, 30, 6, 5),
        # above 100 %, a missing pod is taken to be at the target
        ([100, 100], 0, 1, 200, 3, 2),
        ([100, 100, 100, 100, 100], 0, 1, 200, 6, 2),
        # both
        ([1000], 1, 1, 25, 3, 4),
        # what is not known would turn the direction round
        ([480, 480], 0, 2, 50, 4, 4),
        # nothing goes up from fewer measured pods than there are
        ([500], 0, 0, 30, 9, 2),
        ([700], 8, 0, 30, 20, 20),
    ],
)
def test_utilization(counted: list[int], unready: int, missing: int, target: int, replicas: int, proposed: int) -> None:
    found = groups(known(*counted), unready, missing)
    assert by_pods(found, utilization(target), replicas, TENTH) == proposed


@pytest.mark.parametrize(
    ("counted", "missing", "target", "replicas", "proposed"),
    [
        ([20_000, 10_000, 30_000], 0, 15_000, 3, 4),
        ([12_000] * 4, 0, 20_000, 4, 3),
        ([20_000, 19_000, 21_000], 0, 20_000, 3, 3),
        ([50_000], 1, 15_000, 2, 4),
        ([5_000, 5_000], 1, 20_000, 3, 2),
        ([15_000], 1, 20_000, 2, 2),
    ],
)
def test_averages(counted: list[int], missing: int, target: int, replicas: int, proposed: int) -> None:
    assert by_pods(groups(known(*counted), missing=missing), Average(target), replicas, TENTH) == proposed


def test_numbers_are_exact() -> None:
    assert by_pods(groups(known(*[1100] * 10)), utilization(100), 10, Tolerance(down=Fraction(0), up=Fraction(0))) == 11


@pytest.mark.parametrize(
    ("amount", "replicas", "ready", "proposed"),
    [
        (200, 2, 2, 4),
        (105, 5, 5, 5),
        (300, 3, 2, 6),
        (10, 4, 4, 1),
        (0, 4, 4, 0),
        (1, 0, 0, 1),
        (250, 0, 0, 3),
        (0, 0, 0, 0),
        (50, 8, 0, 8),
        (1000, 1, 0, 10),
    ],
)
def test_one_figure_for_all(amount: int, replicas: int, ready: int, proposed: int) -> None:
    assert by_value(amount, 100, replicas=replicas, ready=ready, tolerance=TENTH) == proposed


@pytest.mark.parametrize(
    ("amount", "there", "proposed"), [(400, 2, 4), (410, 4, 4), (90, 2, 1), (0, 3, 0), (0, 0, 0), (30, 0, 1)]
)
def test_a_share_for_each(amount: int, there: int, proposed: int) -> None:
    assert by_share(amount, 100, there=there, tolerance=TENTH) == proposed


def test_tolerances_may_differ_by_direction() -> None:
    tolerance = Tolerance(down=Fraction(1, 2), up=Fraction(0))
    assert by_pods(groups(known(1010)), utilization(100), 1, tolerance) == 2
    assert by_pods(groups(known(*[600] * 10)), utilization(100), 10, tolerance) == 10


@pytest.mark.parametrize("found", [groups({}), groups({}, unready=2), groups({}, missing=2)])
def test_nothing_is_concluded_from_nothing(found: Groups) -> None:
    with pytest.raises(NoFigures):
        by_pods(found, utilization(50), 2, TENTH)


def test_a_share_of_no_request_is_no_figure() -> None:
    with pytest.raises(NoFigures, match="request none"):
        by_pods(groups(known(5)), utilization(50, request=0), 1, TENTH)


# ---------------------------------------------------------------- who counts


NOW = 10_000.0
OLD = NOW - 1000


def pod(
    *,
    phase: str = "Running",
    over: bool = False,
    ready: bool | None = True,
    started: float | None = OLD,
    ready_changed: float = OLD,
) -> PodFacts:
    return PodFacts(name="p", phase=phase, over=over, ready=ready, started=started, ready_changed=ready_changed)


@pytest.mark.parametrize(
    ("one", "figure", "where"),
    [
        (pod(over=True), Figure(1), ""),
        (pod(phase="Pending"), None, "unready"),
        (pod(phase="Pending"), Figure(1), "unready"),
        (pod(), None, "missing"),
        (pod(), Figure(1, NOW, 1), "counted"),
        (pod(ready=None), Figure(1, NOW, 1), "unready"),
        (pod(started=None), Figure(1, NOW, 1), "unready"),
        # within the first minutes: ready, and measured for a whole window since
        (pod(started=NOW - 20, ready_changed=NOW - 10), Figure(1, NOW, 4), "counted"),
        (pod(started=NOW - 20, ready_changed=NOW - 2), Figure(1, NOW, 4), "unready"),
        (pod(ready=False, started=NOW - 20, ready_changed=NOW - 20), Figure(1, NOW, 4), "unready"),
        # later: never ready, or fallen out of it
        (pod(ready=False, ready_changed=OLD + 5), Figure(1, NOW, 4), "unready"),
        (pod(ready=False, ready_changed=OLD + 60), Figure(1, NOW, 4), "counted"),
    ],
)
def test_whose_cpu_counts(one: PodFacts, figure: Figure | None, where: str) -> None:
    figures = {"p": figure} if figure is not None else {}
    found = group([one], figures, cpu=True, now=NOW, tuning=Tuning())
    assert [name for name in ("counted", "unready", "missing") if getattr(found, name)] == ([where] if where else [])


def test_memory_counts_from_the_first() -> None:
    young = pod(ready=False, started=NOW - 1, ready_changed=NOW - 1)
    assert group([young], {"p": Figure(7, NOW, 4)}, cpu=False, now=NOW, tuning=Tuning()).counted == {"p": 7}


def test_ready_pods_are_counted() -> None:
    assert ready_pods([pod(), pod(over=True), pod(ready=False)]) == 1


# ---------------------------------------------------------------- for any figures

amounts = st.lists(st.integers(0, 5000), min_size=1, max_size=20)
gauges = st.one_of(st.builds(utilization, st.integers(1, 300)), st.builds(Average, st.integers(1, 5000)))
others = st.integers(0, 10)
replicas_ = st.integers(1, 50)


@given(amounts, others, others, gauges, replicas_)
def test_nothing_goes_against_the_ratio(
    counted: list[int], unready: int, missing: int, gauge: Gauge, replicas: int
) -> None:
    found = groups(known(*counted), unready, missing)
    proposed = by_pods(found, gauge, replicas, TENTH)
    ratio = gauge.ratio(found.counted)
    assert proposed >= 0
    if TENTH.holds(ratio) and not missing and not (unready and ratio > 1):
        assert proposed == replicas
    if missing or (unready and ratio > 1):
        assert (proposed >= replicas) if ratio > 1 else (proposed <= replicas)


@given(amounts, others, others, gauges)
def test_what_is_not_known_only_damps(counted: list[int], unready: int, missing: int, gauge: Gauge) -> None:
    """Of pods that are all there, knowing nothing of some never moves further than if they were like the others."""
    replicas = len(counted) + unready + missing
    found = groups(known(*counted), unready, missing)
    ratio = gauge.ratio(found.counted)
    assume(not TENTH.holds(ratio))
    proposed = by_pods(found, gauge, replicas, TENTH)
    everyone = -(-ratio.numerator * replicas // ratio.denominator)
    if ratio > 1:
        assert replicas <= proposed <= everyone
    elif missing or not unready:
        assert proposed <= replicas


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(0, 100), st.integers(0, 100))
def test_one_figure_takes_nothing_away_while_no_pod_is_ready(
    amount: int, target: int, replicas: int, ready: int
) -> None:
    proposed = by_value(amount, target, replicas=replicas, ready=ready, tolerance=TENTH)
    assert proposed >= (0 if ready else replicas)
    assert by_share(amount, target, there=replicas, tolerance=TENTH) >= 0
