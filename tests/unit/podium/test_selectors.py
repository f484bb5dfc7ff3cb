"""Label and field selectors: what they select, how they read and print, what they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import BadRequest
from podium.objects.selectors import (
    Operator,
    Requirement,
    Selector,
    everything,
    from_label_selector,
    from_labels,
    nothing,
    parse_field_selector,
    parse_selector,
)
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import LabelSelector

words = st.text("abcxyz019", min_size=1, max_size=4).filter(lambda w: w not in ("in", "notin"))
keys = st.one_of(words, st.builds(lambda p, n: f"{p}.example/{n}", words, words))
requirements = st.one_of(
    st.builds(Requirement, keys, st.sampled_from((Operator.EXISTS, Operator.NOT_EXISTS))),
    st.builds(
        lambda k, o, v: Requirement(k, o, frozenset((v,))),
        keys,
        st.sampled_from((Operator.EQUALS, Operator.NOT_EQUALS)),
        st.one_of(words, st.just("")),
    ),
    st.builds(
        lambda k, o, v: Requirement(k, o, frozenset((str(v),))),
        keys,
        st.sampled_from((Operator.GREATER, Operator.LESS)),
        st.integers(0, 99),
    ),
    st.builds(
        Requirement, keys, st.sampled_from((Operator.IN, Operator.NOT_IN)), st.frozensets(words, min_size=1, max_size=3)
    ),
)
selectors = st.builds(lambda r: Selector(tuple(r)), st.lists(requirements, max_size=4))
label_maps = st.dictionaries(keys, st.one_of(words, st.integers(0, 99).map(str)), max_size=4)


@pytest.mark.parametrize(
    ("text", "selected", "refused"),
    [
        ("a=b", {"a": "b"}, {"a": "c"}),
        ("a==b", {"a": "b"}, {}),
        ("a!=b", {}, {"a": "b"}),
        ("a in (b, c)", {"a": "c"}, {"a": "d"}),
        ("a notin (b,c)", {"a": "d"}, {"a": "b"}),
        ("a notin (b)", {}, {"a": "b"}),
        ("a", {"a": ""}, {"b": ""}),
        ("!a", {"b": ""}, {"a": ""}),
        ("a>3", {"a": "4"}, {"a": "3"}),
        ("a<3", {"a": "-4"}, {"a": "x"}),
        ("a=", {"a": ""}, {"a": "b"}),
        ("example.com/a=b,c", {"example.com/a": "b", "c": ""}, {"example.com/a": "b"}),
        ("in in (in)", {"in": "in"}, {}),
    ],
)
def test_what_a_selector_selects(text: str, selected: dict[str, str], refused: dict[str, str]) -> None:
    selector = parse_selector(text)
    assert selector.matches(selected)
    assert not selector.matches(refused)


@pytest.mark.parametrize(
    "text",
    ["a b", "a in b", "a in (b", "=b", "a=b,,c", "a=b c", "foo/=x", "a==b=c", "a>b", "a=b,", "a=-", "(", "!", "ä=b"],
)
def test_what_is_no_selector_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(BadRequest, match="label selector"):
        parse_selector(text)


def test_empty_text_selects_everything_and_an_absent_selector_nothing() -> None:
    assert parse_selector(" ").empty
    assert everything().matches({})
    assert not nothing().matches({"a": "b"})
    assert not from_label_selector(None).matches({"a": "b"})
    assert from_label_selector(LabelSelector()).matches({"a": "b"})


@given(selectors)
def test_what_is_printed_reads_back(selector: Selector) -> None:
    read = parse_selector(str(selector))
    assert set(read.requirements) == set(selector.requirements)
    assert str(read) == str(selector)


@given(selectors, label_maps)
def test_a_selector_is_the_conjunction_of_its_requirements(selector: Selector, labels: dict[str, str]) -> None:
    assert selector.matches(labels) == all(Selector((r,)).matches(labels) for r in selector.requirements)


@given(label_maps)
def test_labels_select_themselves(labels: dict[str, str]) -> None:
    assert from_labels(labels).matches(labels)


def test_label_selector_message() -> None:
    message = LabelSelector(match_labels={"app": "web"})
    message.match_expressions.add(key="tier", operator="NotIn", values=["db"])
    message.match_expressions.add(key="canary", operator="DoesNotExist")
    selector = from_label_selector(message)
    assert selector.matches({"app": "web"})
    assert not selector.matches({"app": "web", "tier": "db"})
    assert not selector.matches({"app": "web", "canary": ""})
    message.match_expressions.add(key="x", operator="Is")
    with pytest.raises(BadRequest, match="must be one of In, NotIn, Exists, DoesNotExist"):
        from_label_selector(message)


def _pod() -> Pod:
    pod = Pod()
    pod.metadata.name = "web-1"
    pod.spec.node_name = "node1"
    pod.status.phase = "Running"
    return pod


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("spec.nodeName=node1", True),
        ("spec.nodeName==node1,status.phase!=Failed", True),
        ("status.phase!=Running", False),
        ("metadata.name=web-1,spec.nodeName=", False),
        ("spec.hostNetwork=false", True),
    ],
)
def test_field_selector(text: str, selected: bool) -> None:
    assert parse_field_selector(text, "Pod").matches(_pod()) is selected


def test_field_selector_says_what_it_requires() -> None:
    selector = parse_field_selector("spec.nodeName=node1,status.phase!=Failed", "Pod")
    assert selector.required("spec.nodeName") == "node1"
    assert selector.required("status.phase") is None
    assert str(selector) == "spec.nodeName=node1,status.phase!=Failed"


def test_unknown_fields_are_refused_with_the_nearest() -> None:
    with pytest.raises(BadRequest, match=r'did you mean "spec.nodeName"'):
        parse_field_selector("spec.nodename=x", "Pod")
    with pytest.raises(BadRequest, match="must be FIELD=VALUE"):
        parse_field_selector("spec.nodeName", "Pod")
