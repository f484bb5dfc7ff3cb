"""Sets of fields, as `managedFields` records them, and what can be done to plain data by them.

A path is a tuple of segments in the notation of FieldsV1:

    f:NAME                            a field of a message, or an entry of a map
    k:{"name":"nginx"}                the element of a list that has these keys
    v:"podium.dev/finalizer"          a value in a list that is a set

A set holds the paths of leaves, and of keyed elements themselves (`.` in FieldsV1). Lists without keys, and messages
and maps that Kubernetes owns as a whole, are leaves. All functions are pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from podium.objects.patch import ordered_union
from podium.objects.schema import Field, Form, Schema

Data = dict[str, Any]
Path = tuple[str, ...]
FieldSet = frozenset[Path]


class _Missing:
    """The type of MISSING."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
"""What `get` returns for a path that is not there; null cannot occur, but zero can."""

_KEY_DEFAULTS = {"protocol": "TCP"}
"""Keys of list elements that a manifest may leave out."""

# ---------------------------------------------------------------- sets


def field_set(data: Data, schema: Schema) -> FieldSet:
    """The fields that are present in a message's data."""
    return frozenset(_message_paths(data, schema, ()))


def _message_paths(data: Data, schema: Schema, prefix: Path) -> Iterator[Path]:
    for name, value in data.items():
        field = schema.fields.get(name)
        if field is not None and value is not None:
            yield from _field_paths(value, field, (*prefix, f"f:{name}"))


def _is_collection(value: Any) -> bool:
    return isinstance(value, (dict, list))


def _field_paths(value: Any, field: Field, path: Path) -> Iterator[Path]:
    if field.atomic or not _is_collection(value) or not value:
        yield path
    elif field.is_map:
        yield from ((*path, f"f:{key}") for key in value)
    elif field.list_keys:
        for item in value:
            element = (*path, element_segment(item, field.list_keys))
            yield element
            yield from _message_paths(item, field.schema, element)
    elif field.list_set:
        yield from ((*path, _segment("v", item)) for item in value)
    elif field.form is Form.MESSAGE:
        yield from _message_paths(value, field.schema, path)
    else:
        yield path


def element_segment(item: Data, keys: tuple[str, ...]) -> str:
    """The segment that names an element of a keyed list."""
    return _segment("k", {key: item.get(key, _KEY_DEFAULTS.get(key)) for key in keys})


def _segment(letter: str, value: Any) -> str:
    return f"{letter}:{json.dumps(value, separators=(',', ':'), sort_keys=True)}"


def closure(paths: Iterable[Path]) -> FieldSet:
    """A set with all the messages, maps and lists that its paths go through."""
    return frozenset(path[:length] for path in paths for length in range(1, len(path) + 1))


def to_fields_v1(paths: FieldSet) -> Data:
    """The set as a FieldsV1 tree."""
    root: Data = {}
    for path in sorted(paths):
        node = root
        for segment in path:
            node = node.setdefault(segment, {})
    _mark(root, paths, ())
    return root


def _mark(node: Data, paths: FieldSet, prefix: Path) -> None:
    for segment, inner in list(node.items()):
        path = (*prefix, segment)
        if inner:
            _mark(inner, paths, path)
            if path in paths:
                node[segment] = {".": {}} | inner


def from_fields_v1(tree: Any) -> FieldSet:
    """The set that a FieldsV1 tree means; what is not of that form is passed over."""
    return frozenset(_tree_paths(tree, ())) if isinstance(tree, dict) else frozenset()


def _tree_paths(tree: Data, prefix: Path) -> Iterator[Path]:
    for segment, inner in tree.items():
        if segment == ".":
            yield prefix
        elif not inner or not isinstance(inner, dict):
            yield (*prefix, segment)
        else:
            yield from _tree_paths(inner, (*prefix, segment))


def describe(path: Path) -> str:
    """A path for people: `.spec.containers[name="nginx"].image`."""
    return "".join(_describe_segment(segment) for segment in path)


def _describe_segment(segment: str) -> str:
    letter, text = segment[0], segment[2:]
    if letter == "f":
        return f".{text}" if "." not in text and "/" not in text else f"[{text}]"
    if letter == "k":
        return f"[{','.join(f'{key}={json.dumps(value)}' for key, value in _loaded(text).items())}]"
    return f"[={text}]"


@lru_cache(maxsize=4096)
def _loaded(text: str) -> Any:
    return json.loads(text)


def is_atomic(path: Path, schema: Schema) -> bool:
    """Whether what is at a path is owned as a whole."""
    inner: Schema | None = schema
    field: Field | None = None
    for segment in path:
        if segment[0] == "f":
            field = inner.fields.get(segment[2:]) if inner is not None else None
            inner = field.schema if field is not None and field.form is Form.MESSAGE else None
    return field is None or field.atomic


# ---------------------------------------------------------------- data by path


def get(data: Any, path: Path) -> Any:
    """The value at a path, or MISSING."""
    return Finder(data).get(path)


class Finder:
    """Finds many paths in data that does not change meanwhile: a list is looked through once, not once a path."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self._lists: dict[tuple[int, tuple[str, ...] | None], dict[str, int]] = {}

    def get(self, path: Path) -> Any:
        """The value at a path, or MISSING."""
        data = self._data
        for segment in path:
            data = self.step(data, segment)
            if data is MISSING:
                return MISSING
        return data

    def step(self, data: Any, segment: str) -> Any:
        """What is in a part of the data, or MISSING."""
        if segment[0] == "f":
            return data.get(segment[2:], MISSING) if isinstance(data, dict) else MISSING
        position = self.position(data, segment)
        return data[position] if position is not None else MISSING

    def position(self, items: Any, segment: str) -> int | None:
        """Where in a list, a part of the data, the first element of a `k:` or `v:` segment is."""
        if not isinstance(items, list):
            return None
        wanted = _loaded(segment[2:])
        keys = tuple(wanted) if segment[0] == "k" else None
        index = self._lists.get((id(items), keys))
        if index is None:
            index = self._lists[id(items), keys] = _positions(items, keys)
        return index.get(_segment(segment[0], wanted))


def _positions(items: list[Any], keys: tuple[str, ...] | None) -> dict[str, int]:
    """Where each element is first, by its segment."""
    positions: dict[str, int] = {}
    for index, item in enumerate(items):
        if keys is None:
            positions.setdefault(_segment("v", item), index)
        elif isinstance(item, dict):
            positions.setdefault(element_segment(item, keys), index)
    return positions


def remove(data: Data, paths: Iterable[Path]) -> Data:
    """A copy of the data without what is at these paths."""
    tree: Data = {}
    for path in sorted(paths, key=len, reverse=True):  # what contains another comes later, and takes its place
        node = tree
        for segment in path[:-1]:
            node = node.setdefault(segment, {})
        node[path[-1]] = None
    pruned: Data = _pruned(data, tree, Finder(data))
    return pruned


def _pruned(data: Any, tree: Data, finder: Finder) -> Any:
    """A copy of a part of the data without the leaves of `tree`."""
    if not isinstance(data, (dict, list)):
        return data
    copy: Any = data.copy()
    gone: list[int] = []
    for segment, inner in tree.items():
        found = finder.step(data, segment)
        if found is MISSING:
            continue
        key = segment[2:] if segment[0] == "f" else finder.position(data, segment)
        if inner is not None:
            copy[key] = _pruned(found, inner, finder)
        elif isinstance(copy, dict):
            del copy[key]
        else:
            gone.append(key)  # type: ignore[arg-type]  # of a list, and found
    without = set(gone)
    return [item for index, item in enumerate(copy) if index not in without] if without else copy


# ---------------------------------------------------------------- merging


def merge(live: Data, applied: Data, schema: Schema) -> Data:
    """The live data with what is applied put over it; lists with keys are merged, in the applied order."""
    merged = dict(live)
    for name, value in applied.items():
        field = schema.fields.get(name)
        if value is not None:
            merged[name] = _merge_value(live.get(name), value, field) if field is not None else value
    return merged


def _merge_value(live: Any, applied: Any, field: Field) -> Any:
    if field.atomic or type(live) is not type(applied) or not _is_collection(applied):
        return applied
    if field.is_map:
        return live | applied
    if field.list_set:
        return ordered_union(live, applied)
    if field.list_keys:
        return _merge_elements(live, applied, field)
    return merge(live, applied, field.schema) if field.form is Form.MESSAGE else applied


def _merge_elements(live: list[Data], applied: list[Data], field: Field) -> list[Data]:
    current = {element_segment(item, field.list_keys): item for item in live}
    wanted = {element_segment(item, field.list_keys): item for item in applied}
    merged = {key: merge(current.get(key, {}), item, field.schema) for key, item in wanted.items()}
    return [merged.get(key) or current[key] for key in ordered_union(list(current), list(wanted))]
