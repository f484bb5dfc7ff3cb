"""Sub-resources of a pod that are a part of its spec: writing one changes that part and nothing else.

The part is taken out of what came and put into the pod as it is. Its own rules say what may become of it; to all other
rules it is as if the pod had always had it.
"""

from __future__ import annotations

from typing import Any

from master.access.planned import copy_of
from master.admission import apply_defaults
from master.admission.validation.pod_parts import PARTS
from master.cache.item import Item
from podium.errors import Conflict
from podium.objects.meta import is_terminating
from podium.objects.pod import is_terminal
from podium.objects.refusal import refusal


def is_part(kind: str, subresource: str) -> bool:
    """Whether objects of the kind have this sub-resource, and it is a part of their spec."""
    return kind == "Pod" and subresource in PARTS


def with_part(new: Any, current: Item, subresource: str) -> tuple[Any, Any]:
    """The pod that a write of one part makes of the current one; and the current one with the same part, to compare.

    Raises:
        Conflict: The pod is over, or being deleted.
        Invalid: The part may not become so.
    """
    part, old = PARTS[subresource], current.message
    if is_terminal(old) or is_terminating(old):
        why = f"it is over ({old.status.phase})" if is_terminal(old) else "it is being deleted"
        raise Conflict(f'{subresource} of Pod "{old.metadata.name}" cannot be changed: {why}')
    changed, before = copy_of(current), copy_of(current)
    part.put(new, changed)
    apply_defaults(changed)
    if violations := part.judge(changed, old):
        raise refusal(f'Pod "{old.metadata.name}"', violations)
    part.put(changed, before)
    return changed, before
