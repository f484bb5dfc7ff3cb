"""YAML: documents and lists, scalars as Kubernetes reads them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.codec import yaml
from podium.errors import BadRequest, Invalid, Violation

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("off", False),
        ("~", None),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("=", "="),
        ("0644", 420),
        ("0o644", 420),
        ("0x10", 16),
        ("1_000", 1000),
        ("-3", -3),
        ("089", "089"),
        ("1.5", 1.5),
        ("'1'", "1"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    assert yaml.parse(f"a: {text}") == [{"a": value}]


def test_keys_are_strings() -> None:
    assert yaml.parse("8080: a\ntrue: b\n1.5: c") == [{"8080": "a", "true": "b", "1.5": "c"}]


def test_merge_keys_and_anchors() -> None:
    assert yaml.parse("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}") == [{"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2", 'line 2, column 1: key "a" appears twice'),
        ("1: a\n'1': b", 'key "1" appears twice'),
        ("a: [", "line"),
        ("? [1]\n: 2", "a key must be a string"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: &a [*a]", "recursive"),
        ("[" * 200_000, "nested more than"),
        ("- " * 200_000, "nested more than"),
        ("{a: " * 200_000, "nested more than"),
        ('{"a":' * 200_000, "nested more than"),
        ("a" * (yaml.MAX_BYTES + 1), "must be at most"),
    ],
)
def test_what_is_not_accepted_says_why(text: str, words: str) -> None:
    with pytest.raises(BadRequest, match="(?s)" + words.replace("[", r"\[")):
        yaml.parse(text)


def test_aliases_may_not_explode() -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9))]
    with pytest.raises(BadRequest, match="aliases expand"):
        yaml.parse("\n".join(lines))


def test_documents_and_lists_are_unfolded() -> None:
    text = (
        NAMESPACE % "a" + "---\n---\n# nothing\n---\n" + "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: Namespace, metadata: {name: b}}\n---\n"
        "apiVersion: v1\nkind: NamespaceList\nitems: [{metadata: {name: c}}]\n"
    )
    assert [obj.metadata.name for obj in yaml.load_all(text)] == ["a", "b", "c"]
    assert yaml.load_all("") == []


def test_mistakes_of_several_objects_are_told_apart() -> None:
    with pytest.raises(Invalid) as caught:
        yaml.load_all(NAMESPACE % "a" + "x: 1\n---\n" + NAMESPACE % "b" + "---\n" + NAMESPACE % "c" + "y: 1\n")
    assert [v.field for v in caught.value.violations] == ["namespace/a: x", "namespace/c: y"]


def test_warnings_of_several_objects_are_told_apart() -> None:
    warnings: list[Violation] = []
    yaml.load_all(NAMESPACE % "a" + "x: 1\n---\n" + NAMESPACE % "b", warnings=warnings)
    assert [w.field for w in warnings] == ["namespace/a: x"]


def test_flow_style_is_not_taken_for_broken_json() -> None:
    assert yaml.parse("{a: b, 'c': [1]}") == [{"a": "b", "c": [1]}]


plain_data = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=10,
)


@given(plain_data)
def test_what_is_dumped_reads_back(data: Any) -> None:
    assert yaml.parse(yaml.dump_data({"data": data})) == [{"data": data}]


@pytest.mark.parametrize(
    "text", ["yes", "no", "1", "1e3", "0x1", "12:30", "null", "~", "", " a", "a: b", "2026-01-01", "a\nb\n"]
)
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    assert yaml.parse(yaml.dump_data({"a": text})) == [{"a": text}]
