"""Patching an object: its Kubernetes form is patched, and read back strictly."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from podium.codec.json import from_dict, parse_json, to_dict
from podium.errors import BadRequest
from podium.objects.patch import json_patch, merge_patch, strategic_merge
from podium.objects.schema import of_message
from podium.v1.objects_service_pb2 import PatchRequest

M = TypeVar("M", bound=Message)

MAX_BYTES = 2 * 1024 * 1024
"""Longest patch that is read."""


def apply_patch(obj: M, patch_type: int, patch: bytes) -> M:
    """A patched copy of `obj`.

    Args:
        obj: Any message in Kubernetes' form.
        patch_type: A `PatchRequest.Type`.
        patch: JSON text.

    Raises:
        BadRequest: The patch is malformed, or does not fit the object.
        Invalid: The patched object has fields that do not exist or have a wrong type; or a `test` failed.
    """
    if len(patch) > MAX_BYTES:
        raise BadRequest(f"the patch is {len(patch)} bytes long: must be at most {MAX_BYTES}")
    current, change = to_dict(obj), parse_json(patch)
    if patch_type == PatchRequest.JSON:
        patched = json_patch(current, change)
    elif patch_type == PatchRequest.MERGE:
        patched = merge_patch(current, change)
    elif patch_type == PatchRequest.STRATEGIC_MERGE:
        patched = strategic_merge(current, change, of_message(obj))
    else:
        raise BadRequest("the patch needs a type: JSON, MERGE or STRATEGIC_MERGE")
    return from_dict(type(obj), patched)
