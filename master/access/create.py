"""Creating: identity, initial state, defaults, validation."""

from __future__ import annotations

from typing import Any

from master.access.authorship import ROLLED, name_author
from master.access.claims import choose_class
from master.access.ingress_classes import choose_ingress_class
from master.access.planned import Planned, Situation, put
from master.access.scope import check_namespace
from master.admission import admit
from podium.errors import AlreadyExists, BadRequest
from podium.objects.conditions import FALSE, set_condition
from podium.objects.kinds import Key, Kind, key_of, kind_of
from podium.objects.meta import generate_name, new_uid
from podium.objects.pod import GATED_MESSAGE, SCHEDULED, SCHEDULING_GATED

NAMESPACE_FINALIZER = "kubernetes"


NAME_ATTEMPTS = 8
"""How often another name is made up when one is taken; of 14 million each, Kubernetes tries as many."""


def plan_create(obj: Any, situation: Situation, *, generated: bool) -> Planned:
    """Decide the creation of `obj`, which is completed in place. `generated`: its name is to be made up.

    Raises:
        AlreadyExists: An object of its name exists.
        BadRequest: It has a resourceVersion.
        Invalid: Fields are refused.
        NotFound: Its namespace does not exist.
        Forbidden: Its namespace is being deleted, or has bounds that it does not keep to.
    """
    kind = kind_of(obj)
    metadata = obj.metadata
    if metadata.resource_version:
        raise BadRequest("resourceVersion must be empty for an object that is to be created")
    if kind.namespaced:
        check_namespace(situation.cache, metadata.namespace)
    if generated:
        _make_up_name(obj, situation)
    key = key_of(obj)
    if metadata.name and situation.cache.get(key) is not None:
        raise already_exists(key)
    _begin(kind, obj, situation)
    if kind.name == "PersistentVolumeClaim":
        choose_class(obj, situation.cache)
    if kind.name == "Ingress":
        choose_ingress_class(obj, situation.cache)
    if kind.name == "Service":
        situation.addresses.complete(obj, None, situation.cache, situation.now)
    admit(obj, around=situation.policies.around(kind, metadata.namespace))
    if kind.name in ROLLED:
        name_author(obj, None, situation.by)
    return put(key, obj, None)


def _make_up_name(obj: Any, situation: Situation) -> None:
    """Give it a name that is free, so far as chance allows (KEP-4420)."""
    for _ in range(NAME_ATTEMPTS):
        obj.metadata.name = generate_name(obj.metadata.generate_name)
        if situation.cache.get(key_of(obj)) is None:
            return


def already_exists(key: Key) -> AlreadyExists:
    """The error for a name that is taken."""
    where = f' in namespace "{key.namespace}"' if key.namespace else ""
    return AlreadyExists(f'{key.kind} "{key.name}" already exists{where}', {"kind": key.kind, "name": key.name})


def _begin(kind: Kind, obj: Any, situation: Situation) -> None:
    """What a new object has whatever its author wrote."""
    metadata = obj.metadata
    metadata.uid = new_uid()
    metadata.creation_timestamp.CopyFrom(situation.stamp)
    metadata.ClearField("deletion_timestamp")
    metadata.ClearField("deletion_grace_period_seconds")
    metadata.generation = 1 if kind.has_generation else 0
    if "status" in kind.subresources and kind.name != "Node":  # a node tells its state as it joins
        obj.ClearField("status")
    if kind.name == "Pod" and obj.spec.scheduling_gates:
        set_condition(
            obj.status.conditions, SCHEDULED, FALSE, now=situation.now, reason=SCHEDULING_GATED, message=GATED_MESSAGE
        )
    if kind.name == "Namespace":
        obj.status.phase = "Active"
        if NAMESPACE_FINALIZER not in obj.spec.finalizers:
            obj.spec.finalizers.append(NAMESPACE_FINALIZER)
