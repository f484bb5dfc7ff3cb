"""Sets of indexes, against Python's own."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import BadRequest
from podium.objects.indexes import IndexSet

NUMBERS = st.sets(st.integers(0, 40))


@pytest.mark.parametrize("text", ["", "0", "0-3", "1,3-5,7", "0,1,3", "0,1"])
def test_it_is_read_and_written_in_kubernetes_form(text: str) -> None:
    assert str(IndexSet.parse(text)) == text


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "1,1", "2,1", "1,,2", "1 ,2", "1-3,2"])
def test_what_is_no_set_of_indexes_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        IndexSet.parse(text)


@given(NUMBERS, NUMBERS, st.integers(0, 45))
def test_it_is_a_set(some: set[int], more: set[int], limit: int) -> None:
    made = IndexSet.of(some)
    assert set(made) == some
    assert len(made) == len(some)
    assert {n for n in range(45) if n in made} == some
    assert set(made.with_indexes(sorted(more))) == some | more
    assert str(IndexSet.parse(str(made))) == str(made)
    assert set(IndexSet.parse(str(made), below=limit)) == {n for n in some if n < limit}
    assert list(islice(made.missing(limit), 100)) == [n for n in range(limit) if n not in some]
