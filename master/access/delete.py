"""Deleting: at once, or begun and finished later, when grace has passed and finalizers are gone.

    unbound or finished pod, or anything else     removed at once, unless finalizers hold it
    bound pod                                     deletionTimestamp = now + grace; its node ends it, and a delete with
                                                  grace 0 removes it
    held by finalizers                            deletionTimestamp; removed by the update that takes the last one away
    namespace                                     Terminating; removed when its contents are gone

Foreground deletion and orphaning are finalizers too, which the garbage collector works off.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from master.access.planned import Planned, Situation, copy_of, put, remove
from master.access.update import check_same, is_finished
from master.admission.defaults.pods import SYSTEM_PRIORITIES
from master.cache.item import Item
from podium.errors import BadRequest, Forbidden
from podium.objects.kinds import BY_NAME
from podium.objects.meta import is_terminating, timestamp
from podium.objects.pod import is_terminal
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import DeleteOptions, ObjectMeta

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
PROTECTED_CLASSES = frozenset(SYSTEM_PRIORITIES)
PROTECTED_NAMESPACES = frozenset({"default", "podium-system"})
_FINALIZER_OF = {"Foreground": FOREGROUND, "Orphan": ORPHAN, "Background": ""}
_DEFAULT_GRACE = 30


def plan_delete(
    current: Item, options: DeleteOptions, situation: Situation, *, mark: Callable[[Any], None] = lambda obj: None
) -> Planned:
    """Decide the deletion of an object. `mark` may note in its last states why it goes.

    Raises:
        Conflict: A precondition does not hold.
        BadRequest: The propagation policy does not exist.
        Forbidden: A namespace, or a priority class, that the cluster cannot do without.
    """
    preconditions = options.preconditions
    asked = ObjectMeta(uid=preconditions.uid, resource_version=preconditions.resource_version)
    check_same(current.key, asked, current)
    kind = BY_NAME[current.key.kind]
    if kind.name == "Namespace" and current.key.name in PROTECTED_NAMESPACES:
        raise Forbidden(f'namespace "{current.key.name}" cannot be deleted: the cluster needs it')
    if kind.name == "PriorityClass" and current.key.name in PROTECTED_CLASSES:
        raise Forbidden(f'priority class "{current.key.name}" is built in and cannot be deleted')
    obj = copy_of(current)
    mark(obj)
    _propagate(obj.metadata, options.propagation_policy)
    _begin(obj, grace_seconds(obj, options), situation.now)
    if kind.name == "Namespace":
        obj.status.phase = "Terminating"
    if is_finished(kind, obj):
        return remove(current.key, obj, current)
    return put(current.key, obj, current)


def grace_seconds(obj: Any, options: DeleteOptions) -> int:
    """Seconds that an object has to end by itself."""
    if not isinstance(obj, Pod) or not obj.spec.node_name or is_terminal(obj):
        return 0
    if options.HasField("grace_period_seconds"):
        asked = options.grace_period_seconds
    elif obj.spec.HasField("termination_grace_period_seconds"):
        asked = obj.spec.termination_grace_period_seconds
    else:
        asked = _DEFAULT_GRACE
    return asked if asked >= 0 else 1


def _begin(obj: Any, grace: int, now: datetime.datetime) -> None:
    """Mark an object as being deleted. A second delete can only shorten the time that is left."""
    metadata = obj.metadata
    ends = now + datetime.timedelta(seconds=grace)
    if is_terminating(obj):
        if grace >= metadata.deletion_grace_period_seconds:
            return
        began = metadata.deletion_timestamp.seconds - metadata.deletion_grace_period_seconds
        ends = max(now, datetime.datetime.fromtimestamp(began + grace, datetime.UTC))
    elif metadata.generation:
        metadata.generation += 1
    metadata.deletion_timestamp.CopyFrom(timestamp(ends))
    metadata.deletion_grace_period_seconds = grace


def _propagate(metadata: ObjectMeta, policy: str) -> None:
    if not policy:
        return
    if policy not in _FINALIZER_OF:
        known = ", ".join(_FINALIZER_OF)
        raise BadRequest(f'propagationPolicy "{policy}" does not exist: must be one of {known}')
    wanted = _FINALIZER_OF[policy]
    kept = [name for name in metadata.finalizers if name not in (FOREGROUND, ORPHAN)]
    del metadata.finalizers[:]
    metadata.finalizers.extend([*kept, wanted] if wanted else kept)
