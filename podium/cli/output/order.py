"""`--sort-by`: the order of what a JSONPath reads from each object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message

from podium.cli.output.jsonpath import select
from podium.codec.json import to_dict
from podium.errors import BadRequest
from podium.objects import quantity


def sort_objects(objects: Sequence[Message], path: str) -> list[Message]:
    """The objects in order; as they came when `path` is empty. An object without the field goes first.

    Raises:
        BadRequest: Not a path, or what it reads are lists or mappings.
    """
    if not path:
        return list(objects)
    inner = path.strip().removeprefix("{").removesuffix("}")
    return sorted(objects, key=lambda obj: _key(select(inner, to_dict(obj)), path))


def _key(found: Sequence[Any], path: str) -> tuple[int, Any]:
    """Nothing before numbers (quantities too) before texts."""
    if not found:
        return 0, 0
    value = found[0]
    if isinstance(value, (dict, list)):
        raise BadRequest(f'--sort-by "{path}" does not lead to a single value')
    if isinstance(value, (bool, int, float)):
        return 1, value
    try:
        return 1, quantity.parse(str(value))
    except BadRequest:
        return 2, str(value)
