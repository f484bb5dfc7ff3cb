"""Who owns an object, and who controls it (at most one owner does)."""

from __future__ import annotations

from typing import Any

from podium.objects.kinds import kind_of
from podium.v1.meta_pb2 import OwnerReference


def owner_reference(obj: Any, controller: bool = True) -> OwnerReference:
    """A reference to `obj`, to be put on what it owns.

    Args:
        obj: The owner, with its uid.
        controller: Whether it is the managing owner; then deleting it in the foreground waits for the owned object.
    """
    kind = kind_of(obj)
    reference = OwnerReference(
        api_version=kind.api_version, kind=kind.name, name=obj.metadata.name, uid=obj.metadata.uid
    )
    if controller:
        reference.controller = True
        reference.block_owner_deletion = True
    return reference


def controller_of(obj: Any) -> OwnerReference | None:
    """The reference to the managing owner, or None for an orphan."""
    for reference in obj.metadata.owner_references:
        if reference.controller:
            found: OwnerReference = reference
            return found
    return None


def is_controlled_by(obj: Any, owner: Any) -> bool:
    """Whether `owner` is the managing owner of `obj`."""
    reference = controller_of(obj)
    return reference is not None and reference.uid == owner.metadata.uid


def is_owned_by(obj: Any, uid: str) -> bool:
    """Whether an owner of `obj` has this uid."""
    return any(reference.uid == uid for reference in obj.metadata.owner_references)


def remove_owner(obj: Any, uid: str) -> bool:
    """Take the reference to `uid` away, in place; whether there was one."""
    references = obj.metadata.owner_references
    for index, reference in enumerate(references):
        if reference.uid == uid:
            del references[index]
            return True
    return False
