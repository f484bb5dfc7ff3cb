"""Patches: RFC 6902, RFC 7386 and Kubernetes' strategic merge."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.codec.json import object_from_dict, to_dict
from podium.codec.patch import apply_patch
from podium.errors import BadRequest, Invalid
from podium.objects.patch import json_patch, merge_patch, ordered_union, strategic_merge
from podium.objects.schema import of_message
from podium.v1.core_pb2 import Pod
from podium.v1.objects_service_pb2 import PatchRequest

Json = Any
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from("abc")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)),
    max_leaves=8,
)

# ---------------------------------------------------------------- RFC 6902


@pytest.mark.parametrize(
    ("document", "operations", "result"),
    [
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2]}),
        ({"a": 1}, [{"op": "add", "path": "", "value": [1]}], [1]),
        ({"a": {"b": 1}}, [{"op": "remove", "path": "/a/b"}], {"a": {}}),
        ({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ({"a": 1}, [{"op": "replace", "path": "/a", "value": None}], {"a": None}),
        ({"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/a/b", "path": "/c/d"}], {"a": {}, "c": {"d": 1}}),
        ({"a": [1, 2, 3]}, [{"op": "move", "from": "/a/0", "path": "/a/2"}], {"a": [2, 3, 1]}),
        ({"a": 1}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": 1, "b": 1}),
        ({"a/b": 1, "m~n": 2}, [{"op": "remove", "path": "/a~1b"}, {"op": "remove", "path": "/m~0n"}], {}),
        ({"": 1}, [{"op": "replace", "path": "/", "value": 2}], {"": 2}),
        ({"a": 1.0}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1.0}),
    ],
)  # fmt: skip
def test_json_patch(document: Json, operations: list[Json], result: Json) -> None:
    before = copy.deepcopy(document)
    assert json_patch(document, operations) == result
    assert document == before


@pytest.mark.parametrize(
    ("operations", "words"),
    [
        ({}, "must be a list"),
        ([1], "must be a list"),
        ([{"op": "spam", "path": "/a"}], "unknown JSON patch operation"),
        ([{"op": "add", "path": "/x/y", "value": 1}], '"/x" does not exist'),
        ([{"op": "add", "path": "/a/b", "value": 1}], "neither mapping nor list"),
        ([{"op": "add", "path": "/l/3", "value": 1}], "not an index"),
        ([{"op": "add", "path": "/l/01", "value": 1}], "not an index"),
        ([{"op": "add", "path": "a", "value": 1}], "a pointer such as"),
        ([{"op": "add", "path": "/a"}], 'needs a "value"'),
        ([{"op": "remove", "path": "/x"}], "does not exist"),
        ([{"op": "remove", "path": "/l/-"}], "not an index"),
        ([{"op": "remove", "path": ""}], "whole object"),
        ([{"op": "replace", "path": "/x", "value": 1}], "does not exist"),
        ([{"op": "move", "from": "/o", "path": "/o/x"}], "into itself"),
        ([{"op": "copy", "path": "/o"}], '"from"'),
        ([{"op": "add", "path": "/x", "value": 1}] * 10_001, "at most 10000"),
    ],
)
def test_malformed_json_patch_is_refused(operations: Json, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        json_patch({"a": 1, "l": [1], "o": {}}, operations)


@pytest.mark.parametrize(("path", "value"), [("/a", 2), ("/a", True), ("/x", 1), ("/l", [1.5])])
def test_failed_test_operation_refuses_the_patch(path: str, value: Json) -> None:
    with pytest.raises(Invalid, match="test failed"):
        json_patch({"a": 1, "l": [1]}, [{"op": "test", "path": path, "value": value}])


@given(plain, plain)
def test_add_at_the_root_then_test_holds(document: Json, value: Json) -> None:
    assert (
        json_patch(document, [{"op": "add", "path": "", "value": value}, {"op": "test", "path": "", "value": value}])
        == value
    )


# ---------------------------------------------------------------- RFC 7386


def reference_merge(target: Json, patch: Json) -> Json:
    """The pseudo-code of RFC 7386, word by word."""
    if not isinstance(patch, dict):
        return patch
    if not isinstance(target, dict):
        target = {}
    target = dict(target)
    for name, value in patch.items():
        if value is None:
            if name in target:
                del target[name]
        else:
            target[name] = reference_merge(target.get(name), value)
    return target


@given(plain, plain)
def test_merge_patch_is_the_reference(target: Json, patch: Json) -> None:
    before = copy.deepcopy(target)
    assert merge_patch(target, patch) == reference_merge(target, patch)
    assert target == before


@given(plain, plain)
def test_merge_patch_is_idempotent(target: Json, patch: Json) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


# ---------------------------------------------------------------- strategic merge

POD: dict[str, Any] = {
    "metadata": {"name": "p", "labels": {"a": "1", "b": "2"}, "finalizers": ["x", "y"]},
    "spec": {
        "containers": [
            {"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}], "args": ["a"]},
            {"name": "log", "image": "log:1"},
        ],
        "tolerations": [{"key": "k"}],
    },
}


def strategic(patch: Json) -> Json:
    return strategic_merge(POD, patch, of_message(Pod))


def test_lists_with_keys_merge_by_key() -> None:
    merged = strategic({"spec": {"containers": [{"name": "log", "image": "log:2"}, {"name": "new", "image": "n"}]}})
    assert [(c["name"], c["image"]) for c in merged["spec"]["containers"]] == [
        ("web", "web:1"),
        ("log", "log:2"),
        ("new", "n"),
    ]
    assert POD["spec"]["containers"][1]["image"] == "log:1"


def test_elements_merge_deeply_and_null_deletes() -> None:
    patch = {"spec": {"containers": [{"name": "web", "args": None, "env": [{"name": "B", "value": "2"}]}]}}
    web = strategic(patch)["spec"]["containers"][0]
    assert web == {"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        ([{"$patch": "delete", "name": "web"}], ["log"]),
        ([{"$patch": "replace"}, {"name": "only", "image": "o"}], ["only"]),
        ([{"$patch": "delete", "name": "none"}], ["web", "log"]),
    ],
)
def test_list_directives(patch: Json, result: list[str]) -> None:
    merged = strategic({"spec": {"containers": patch}})
    assert [c["name"] for c in merged["spec"]["containers"]] == result


def test_map_directives() -> None:
    assert strategic({"metadata": {"labels": {"$patch": "replace", "c": "3"}}})["metadata"]["labels"] == {"c": "3"}
    assert strategic({"metadata": {"labels": {"$patch": "delete"}}})["metadata"]["labels"] == {}
    assert strategic({"metadata": {"labels": {"$retainKeys": ["b", "c"], "c": "3"}}})["metadata"]["labels"] == {
        "b": "2",
        "c": "3",
    }


def test_sets_and_atomic_lists() -> None:
    assert strategic({"metadata": {"finalizers": ["y", "z"]}})["metadata"]["finalizers"] == ["x", "y", "z"]
    assert strategic({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}})["metadata"]["finalizers"] == ["y"]
    assert strategic({"spec": {"tolerations": [{"key": "z"}]}})["spec"]["tolerations"] == [{"key": "z"}]


def test_element_order_is_set() -> None:
    patch = {"spec": {"$setElementOrder/containers": [{"name": "new"}, {"name": "web"}],
                      "containers": [{"name": "new", "image": "n"}]}}  # fmt: skip
    assert [c["name"] for c in strategic(patch)["spec"]["containers"]] == ["new", "web", "log"]


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ([], "must be a mapping"),
        ({"spec": {"containers": [{"image": "x"}]}}, 'must have its key "name"'),
        ({"spec": {"containers": ["x"]}}, 'must have its key "name"'),
        ({"spec": {"$patch": "merg"}}, "unknown directive"),
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": "x"}}, "must be a list"),
    ],
)
def test_malformed_strategic_patch_is_refused(patch: Json, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        strategic(patch)


@given(st.lists(st.integers(0, 9), unique=True), st.lists(st.integers(0, 9), unique=True))
def test_ordered_union_keeps_the_wanted_order_and_loses_nothing(current: list[int], wanted: list[int]) -> None:
    union = ordered_union(current, wanted)
    assert sorted(union) == sorted(set(current) | set(wanted))
    assert [item for item in union if item in wanted] == wanted


def one_by_one(current: list[int], wanted: list[int]) -> list[int]:
    """What `ordered_union` means, in a time that grows by the square."""
    result, known = list(wanted), set(wanted)
    for index, item in enumerate(current):
        if item not in known:
            result.insert(result.index(current[index - 1]) + 1 if index else 0, item)
            known.add(item)
    return result


@given(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9)))
def test_ordered_union_puts_the_others_right_after_their_neighbours(current: list[int], wanted: list[int]) -> None:
    assert ordered_union(current, wanted) == one_by_one(current, wanted)


def test_a_json_patch_changes_neither_the_document_nor_what_it_copied() -> None:
    document = {"a": {"x": [1]}}
    patched = json_patch(
        document,
        [
            {"op": "add", "path": "/a/x/-", "value": 2},
            {"op": "copy", "from": "/a", "path": "/b"},
            {"op": "add", "path": "/b/x/-", "value": 3},
            {"op": "move", "from": "/b/x", "path": "/c"},
            {"op": "add", "path": "/c/0", "value": 0},
        ],
    )
    assert patched == {"a": {"x": [1, 2]}, "b": {}, "c": [0, 1, 2, 3]}
    assert document == {"a": {"x": [1]}}


# ---------------------------------------------------------------- objects


def _object() -> Any:
    return object_from_dict({"apiVersion": "v1", "kind": "Pod"} | POD)


@pytest.mark.parametrize("patch_type", [PatchRequest.MERGE, PatchRequest.STRATEGIC_MERGE])
def test_objects_are_patched_and_stay_typed(patch_type: int) -> None:
    pod = _object()
    patched = apply_patch(pod, patch_type, b'{"spec": {"terminationGracePeriodSeconds": 0}}')
    assert patched.spec.HasField("termination_grace_period_seconds")
    assert pod == _object()
    assert to_dict(apply_patch(pod, patch_type, b"{}")) == to_dict(pod)


@pytest.mark.parametrize(
    ("patch_type", "patch", "error"),
    [
        (PatchRequest.MERGE, b'{"spec": {"replicas": 1}}', Invalid),
        (PatchRequest.MERGE, b'{"kind": "Deployment"}', Invalid),
        (PatchRequest.MERGE, b"[]", Invalid),
        (PatchRequest.JSON, b"{", BadRequest),
        (PatchRequest.TYPE_UNSPECIFIED, b"{}", BadRequest),
        (PatchRequest.MERGE, json.dumps({"a": "x" * 3 * 2**20}).encode(), BadRequest),
    ],
)
def test_bad_patches_of_objects_are_refused(patch_type: int, patch: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        apply_patch(_object(), patch_type, patch)
