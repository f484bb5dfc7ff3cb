"""Quantities are exact, canonical, and ordered as numbers."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import BadRequest
from podium.objects import duration, quantity

suffixes = st.sampled_from(("", "n", "u", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "e3", "E-2", "e0"))
written = st.builds(lambda n, f, s: f"{n}.{f}{s}", st.integers(-(10**6), 10**6), st.integers(0, 999), suffixes)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"),
        ("0Ki", "0"),
        ("1.5", "1500m"),
        ("0.1", "100m"),
        (".5", "500m"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("1024Mi", "1Gi"),
        ("1100Mi", "1100Mi"),
        ("0.5Gi", "512Mi"),
        ("0.5Ki", "512"),
        ("0.1Ki", "102400m"),
        ("1e3", "1e3"),
        ("12000e3", "12e6"),
        ("1E", "1E"),
        ("1E3", "1e3"),
        ("-1Ki", "-1Ki"),
        ("+5", "5"),
        ("0.1n", "1n"),
        ("16777216Ki", "16Gi"),
        ("100E", "9223372036854775807"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "1Kib", "1mi", "abc", "1e", "--1", "1.2.3", "m", ".", "1,5", "0x10", "1KB"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="must be a number with an optional suffix"):
        quantity.parse(text)


def test_integers_are_rounded_up() -> None:
    assert quantity.milli("100m") == 100
    assert quantity.milli("0.0001") == 1
    assert quantity.milli("2") == 2000
    assert quantity.value("1500m") == 2
    assert quantity.value("64Mi") == 64 * 2**20


@given(written)
def test_canonical_keeps_the_amount_and_is_stable(text: str) -> None:
    canonical = quantity.canonical(text)
    assert quantity.parse(canonical) == quantity.parse(text)
    assert quantity.canonical(canonical) == canonical


@given(st.integers(0, 2**62))
def test_integers_survive_both_families(number: int) -> None:
    assert quantity.value(quantity.from_bytes(number)) == number
    assert quantity.milli(quantity.from_milli(number // 1000)) == number // 1000


@given(written, written)
def test_integers_are_ordered_as_the_amounts_are(left: str, right: str) -> None:
    if quantity.parse(left) <= quantity.parse(right):
        assert quantity.milli(left) <= quantity.milli(right)
        assert quantity.value(left) <= quantity.value(right)


maps = st.dictionaries(
    st.sampled_from(("cpu", "memory", "example.com/gpu")), st.sampled_from(("1", "250m", "64Mi", "3"))
)


@given(maps, maps)
def test_adding_then_subtracting_gives_the_same_amounts(left: dict[str, str], right: dict[str, str]) -> None:
    there_and_back = quantity.sub(quantity.add(left, right), right)
    assert {k: quantity.parse(v) for k, v in there_and_back.items() if v != "0"} == {
        k: quantity.parse(v) for k, v in left.items()
    }


def test_thirds_do_not_drift() -> None:
    assert quantity.parse("0.1") * 3 == Fraction(3, 10)


@pytest.mark.parametrize(("text", "seconds"), [("300ms", 0.3), ("1.5h", 5400), ("1m30s", 90), ("0", 0), ("-2s", -2)])
def test_durations(text: str, seconds: float) -> None:
    assert duration.seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "s", "1d", "1 s", "1s2"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        duration.seconds(text)
