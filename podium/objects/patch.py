"""The three ways to patch, as pure functions on plain data.

    json_patch       RFC 6902: a list of operations, `test` included
    merge_patch      RFC 7386: null deletes, lists are replaced
    strategic_merge  Kubernetes': like a merge, but lists whose elements have keys are merged by key

None changes its arguments. Results may share structure with them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from dataclasses import field as filled
from typing import Any

from podium.errors import BadRequest, Invalid, Violation
from podium.objects.refusal import refusal
from podium.objects.schema import Field, Form, Schema

MAX_OPERATIONS = 10_000
MAX_COPIED_BYTES = 1536 * 1024
"""What all `copy` operations of one JSON patch may copy, as JSON: a small patch must not make a huge object."""

Data = dict[str, Any]

# ---------------------------------------------------------------- RFC 6902


def json_patch(document: Any, operations: Any) -> Any:
    """Apply JSON patch operations in order; all or nothing.

    Raises:
        BadRequest: A malformed operation, or a path that does not exist.
        Invalid: A `test` that failed.
    """
    if not isinstance(operations, list) or not all(isinstance(o, dict) for o in operations):
        raise BadRequest("a JSON patch must be a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise BadRequest(f"a JSON patch must have at most {MAX_OPERATIONS} operations, not {len(operations)}")
    work = _Work()
    for operation in operations:
        document = _apply_operation(document, operation, work)
    return document


@dataclass(slots=True)
class _Work:
    """One patch under way.

    Attributes:
        ours: Ids of the collections that this patch has copied, and so may change. What others hold was there before,
            so an id that is free again is only ever that of another copy of ours.
        copied: Bytes, so far.
    """

    ours: set[int] = filled(default_factory=set)
    copied: int = 0


def _apply_operation(document: Any, operation: Data, work: _Work) -> Any:
    name = operation.get("op")
    apply = _OPERATIONS.get(name) if isinstance(name, str) else None
    if apply is None:
        raise BadRequest(f'unknown JSON patch operation "{name}": must be one of {", ".join(_OPERATIONS)}')
    return apply(document, operation, work)


def _add(document: Any, operation: Data, work: _Work) -> Any:
    return _insert(document, _pointer(operation, "path"), _value(operation), work)


def _remove(document: Any, operation: Data, work: _Work) -> Any:
    return _delete(document, _pointer(operation, "path"), work)


def _replace(document: Any, operation: Data, work: _Work) -> Any:
    pointer = _pointer(operation, "path")
    _look_up(document, pointer)
    return _rewrite(document, pointer, _value(operation), work)


def _move(document: Any, operation: Data, work: _Work) -> Any:
    source, target = _pointer(operation, "from"), _pointer(operation, "path")
    if target[: len(source)] == source and target != source:
        raise BadRequest(f'JSON patch cannot move "{_text(source)}" into itself')
    value = _look_up(document, source)
    return _insert(_delete(document, source, work), target, value, work)


def _copy(document: Any, operation: Data, work: _Work) -> Any:
    text = json.dumps(_look_up(document, _pointer(operation, "from")))
    work.copied += len(text)
    if work.copied > MAX_COPIED_BYTES:
        raise BadRequest(f"the copy operations of a JSON patch must copy at most {MAX_COPIED_BYTES} bytes together")
    return _insert(document, _pointer(operation, "path"), json.loads(text), work)


def _test(document: Any, operation: Data, work: _Work) -> Any:
    pointer, expected = _pointer(operation, "path"), _value(operation)
    try:
        actual = _look_up(document, pointer)
    except BadRequest as missing:
        raise _test_failed(pointer, missing.message) from None
    if not _equal(actual, expected):
        raise _test_failed(pointer, "the value is not what the patch expects")
    return document


def _test_failed(pointer: Sequence[str], why: str) -> Invalid:
    return refusal("the patch", [Violation(_text(pointer) or "/", f"test failed: {why}")])


_OPERATIONS: dict[str, Callable[[Any, Data, _Work], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}


def _equal(left: Any, right: Any) -> bool:
    """JSON equality: a boolean is no number, although Python says that True == 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return isinstance(left, bool) is isinstance(right, bool) and bool(left == right)


def _pointer(operation: Data, member: str) -> tuple[str, ...]:
    text = operation.get(member)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise BadRequest(
            f'JSON patch operation "{operation.get("op")}" needs "{member}", a pointer such as /spec/replicas'
        )
    return tuple(segment.replace("~1", "/").replace("~0", "~") for segment in text.split("/")[1:])


def _text(pointer: Sequence[str]) -> str:
    return "".join("/" + segment.replace("~", "~0").replace("/", "~1") for segment in pointer)


def _value(operation: Data) -> Any:
    if "value" not in operation:
        raise BadRequest(f'JSON patch operation "{operation.get("op")}" needs a "value"')
    return operation["value"]


def _look_up(document: Any, pointer: Sequence[str]) -> Any:
    for depth, segment in enumerate(pointer):
        if isinstance(document, dict) and segment in document:
            document = document[segment]
        elif isinstance(document, list):
            document = document[_index(segment, len(document) - 1, pointer)]
        else:
            raise BadRequest(f'JSON patch path "{_text(pointer[: depth + 1])}" does not exist')
    return document


def _index(segment: str, most: int, pointer: Sequence[str]) -> int:
    if not segment.isdecimal() or (len(segment) > 1 and segment[0] == "0") or int(segment) > most:
        raise BadRequest(f'JSON patch path "{_text(pointer)}": "{segment}" is not an index of the list')
    return int(segment)


def _edit(document: Any, pointer: Sequence[str], change: Callable[[Any, str], None], work: _Work) -> Any:
    """`document` with `change(parent, last segment)` done to it; what others hold of it is copied along `pointer`."""
    _look_up(document, pointer[:-1])
    root = parent = _own(document, pointer, work)
    for segment in pointer[:-1]:
        key: Any = int(segment) if isinstance(parent, list) else segment
        parent[key] = _own(parent[key], pointer, work)
        parent = parent[key]
    change(parent, pointer[-1])
    return root


def _own(value: Any, pointer: Sequence[str], work: _Work) -> Any:
    if not isinstance(value, (dict, list)):
        raise BadRequest(f'JSON patch path "{_text(pointer)}" goes through a value that is neither mapping nor list')
    if id(value) in work.ours:
        return value
    copied = value.copy()
    work.ours.add(id(copied))
    return copied


def _insert(document: Any, pointer: tuple[str, ...], value: Any, work: _Work) -> Any:
    def change(parent: Any, last: str) -> None:
        if isinstance(parent, dict):
            parent[last] = value
        else:
            parent.insert(len(parent) if last == "-" else _index(last, len(parent), pointer), value)

    return _edit(document, pointer, change, work) if pointer else value


def _rewrite(document: Any, pointer: tuple[str, ...], value: Any, work: _Work) -> Any:
    def change(parent: Any, last: str) -> None:
        parent[int(last) if isinstance(parent, list) else last] = value

    return _edit(document, pointer, change, work) if pointer else value


def _delete(document: Any, pointer: tuple[str, ...], work: _Work) -> Any:
    def change(parent: Any, last: str) -> None:
        del parent[int(last) if isinstance(parent, list) else last]

    if not pointer:
        raise BadRequest("JSON patch cannot remove the whole object")
    _look_up(document, pointer)
    return _edit(document, pointer, change, work)


# ---------------------------------------------------------------- RFC 7386


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


# ---------------------------------------------------------------- strategic merge

_DIRECTIVE = "$patch"
_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"
_RETAIN = "$retainKeys"


def strategic_merge(target: Data, patch: Any, schema: Schema) -> Data:
    """Apply a Kubernetes strategic merge patch to a message's data.

    Honours null, `$patch: replace|merge|delete`, `$deleteFromPrimitiveList/…`, `$setElementOrder/…` and `$retainKeys`.

    Raises:
        BadRequest: A malformed patch, or a list element without its key.
    """
    if not isinstance(patch, dict):
        raise BadRequest("a strategic merge patch must be a mapping")
    return _merge_message(target, patch, schema, "")


def _merge_message(target: Data, patch: Data, schema: Schema | None, path: str) -> Data:
    directive = patch.get(_DIRECTIVE, "merge")
    if directive not in ("merge", "replace", "delete"):
        raise BadRequest(f"{path or '/'}: unknown directive $patch: {directive}; must be replace, merge or delete")
    if directive == "delete":
        return {}
    merged = {} if directive == "replace" else dict(target)
    if _RETAIN in patch:
        merged = {key: value for key, value in merged.items() if key in patch[_RETAIN]}
    for key, value in patch.items():
        if key.startswith(_DELETE_FROM):
            _delete_from(merged, key.removeprefix(_DELETE_FROM), value)
        elif not key.startswith("$"):
            _merge_field(merged, key, value, schema.fields.get(key) if schema is not None else None, f"{path}/{key}")
    for key, value in patch.items():
        if key.startswith(_ORDER):
            _reorder(merged, key.removeprefix(_ORDER), value, schema)
    return merged


def _merge_field(merged: Data, key: str, value: Any, field: Field | None, path: str) -> None:
    if value is None:
        merged.pop(key, None)
    elif isinstance(value, list) and field is not None and field.repeated:
        merged[key] = _merge_list(_as_list(merged.get(key)), value, field, path)
    elif isinstance(value, dict) and (field is None or field.is_map or field.form is Form.MESSAGE):
        inner = field.schema if field is not None and field.form is Form.MESSAGE and not field.is_map else None
        current = merged.get(key)
        merged[key] = _merge_message(current if isinstance(current, dict) else {}, value, inner, path)
    else:
        merged[key] = value


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _merge_list(target: list[Any], patch: list[Any], field: Field, path: str) -> list[Any]:
    if field.list_set:
        known = set(map(_hashable, target))
        return target + [value for value in patch if _hashable(value) not in known]
    if not field.list_keys:
        return patch
    replace = any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" for item in patch)
    elements = _Elements([] if replace else target, field.list_keys[0])
    for index, item in enumerate(patch):
        if isinstance(item, dict) and replace and item.get(_DIRECTIVE) == "replace" and len(item) == 1:
            continue
        _merge_element(elements, item, field, f"{path}[{index}]")
    return elements.rest()


class _Elements:
    """A list under merge, its elements found by key."""

    def __init__(self, items: Sequence[Any], key: str) -> None:
        self._items: dict[int, Any] = {}
        self._key, self._next = key, 0
        self._places: dict[Hashable, list[int]] = {}
        for item in items:
            self.add(item)

    def add(self, item: Any) -> None:
        if isinstance(item, dict):
            self._places.setdefault(_hashable(item.get(self._key)), []).append(self._next)
        self._items[self._next] = item
        self._next += 1

    def first(self, value: Any) -> Any | None:
        places = self._places.get(_hashable(value))
        return self._items[places[0]] if places else None

    def replace_first(self, value: Any, item: Any) -> None:
        self._items[self._places[_hashable(value)][0]] = item

    def drop(self, value: Any) -> None:
        for place in self._places.pop(_hashable(value), ()):
            del self._items[place]

    def rest(self) -> list[Any]:
        return list(self._items.values())


def _hashable(value: Any) -> Hashable:
    return ("json", json.dumps(value, sort_keys=True)) if isinstance(value, (dict, list)) else value


def _merge_element(elements: _Elements, item: Any, field: Field, path: str) -> None:
    key = field.list_keys[0]
    if not isinstance(item, dict) or item.get(key) is None:
        raise BadRequest(f'{path}: an element of "{field.json}" must have its key "{key}"')
    current = elements.first(item[key])
    if item.get(_DIRECTIVE) == "delete":
        elements.drop(item[key])
    elif current is not None:
        elements.replace_first(item[key], _merge_message(current, item, field.schema, path))
    else:
        elements.add(_merge_message({}, item, field.schema, path))


def _delete_from(merged: Data, key: str, values: Any) -> None:
    if not isinstance(values, list):
        raise BadRequest(f'"{_DELETE_FROM}{key}" must be a list')
    unwanted = set(map(_hashable, values))
    kept = [value for value in _as_list(merged.get(key)) if _hashable(value) not in unwanted]
    if kept:
        merged[key] = kept
    else:
        merged.pop(key, None)


def _reorder(merged: Data, key: str, wanted: Any, schema: Schema | None) -> None:
    field = schema.fields.get(key) if schema is not None else None
    if field is None or not isinstance(wanted, list) or not isinstance(merged.get(key), list):
        return
    identify = _identity(field)
    order = [identify(item) for item in wanted]
    items = {identify(item): item for item in merged[key]}
    merged[key] = [items[i] for i in ordered_union(list(items), [i for i in order if i in items])]


def _identity(field: Field) -> Callable[[Any], Any]:
    if not field.list_keys:
        return lambda item: item
    key = field.list_keys[0]
    return lambda item: item.get(key) if isinstance(item, dict) else item


def ordered_union(current: Sequence[Any], wanted: Sequence[Any]) -> list[Any]:
    """All of both: `wanted` in its order, and each other one of `current` right after its neighbour there."""
    known = set(wanted)
    first: list[Any] = []
    after: dict[Any, list[Any]] = {}
    for index, item in enumerate(current):
        if item not in known:
            known.add(item)
            (after.setdefault(current[index - 1], []) if index else first).append(item)
    result: list[Any] = []
    for item in (*first, *wanted):
        following = [item]
        while following:
            result.append(following.pop())
            following += after.pop(result[-1], ())
    return result
