"""The sub-resources that are not a part of the object: `binding` and `scale`."""

from __future__ import annotations

from typing import Any

from master.access.planned import Planned, Situation, copy_of, put
from master.cache.item import Item
from podium.errors import BadRequest, Conflict
from podium.objects.conditions import set_condition
from podium.objects.kinds import BY_NAME, Key
from podium.objects.meta import is_terminating
from podium.objects.pod import SCHEDULED
from podium.objects.selectors import workload_selector
from podium.v1.apps_pb2 import Scale


def plan_bind(current: Item, uid: str, node: str, situation: Situation) -> Planned:
    """Decide to put a pod on a node.

    Raises:
        Conflict: It is bound, being deleted, gated, or another pod than `uid`.
    """
    pod = current.message
    refused = _cannot_bind(pod, uid)
    if refused:
        raise Conflict(f'Pod "{pod.metadata.name}" cannot be bound to node "{node}": {refused}')
    bound = copy_of(current)
    bound.spec.node_name = node
    bound.status.nominated_node_name = ""  # it was a promise, and says nothing any more
    set_condition(bound.status.conditions, SCHEDULED, "True", now=situation.now)
    return put(current.key, bound, current)


def _cannot_bind(pod: Any, uid: str) -> str:
    if uid and pod.metadata.uid != uid:
        return f"it is another pod than meant, with uid {pod.metadata.uid}"
    if is_terminating(pod):
        return "it is being deleted"
    if pod.spec.node_name:
        return f'it is on node "{pod.spec.node_name}"'
    if pod.spec.scheduling_gates:
        return f"its scheduling gates are not all removed: {', '.join(g.name for g in pod.spec.scheduling_gates)}"
    return ""


def scale_of(workload: Any) -> Scale:
    """The `scale` sub-resource of a workload that has replicas."""
    scale = Scale()
    for name in ("name", "namespace", "uid", "resource_version"):
        setattr(scale.metadata, name, getattr(workload.metadata, name))
    scale.metadata.creation_timestamp.CopyFrom(workload.metadata.creation_timestamp)
    scale.spec.replicas = workload.spec.replicas
    scale.status.replicas = workload.status.replicas
    scale.status.selector = str(workload_selector(workload))
    return scale


def rescaled(current: Item, scale: Scale) -> Any:
    """The workload with the replicas, and the preconditions, of `scale`.

    Raises:
        BadRequest: Its kind cannot be scaled.
    """
    check_scalable(current.key)
    workload = copy_of(current)
    workload.metadata.uid = scale.metadata.uid
    workload.metadata.resource_version = scale.metadata.resource_version
    workload.spec.replicas = scale.spec.replicas
    return workload


def check_scalable(key: Key) -> None:
    """Return when objects of the key's kind have a `scale`.

    Raises:
        BadRequest: They have none.
    """
    if "scale" not in BY_NAME[key.kind].subresources:
        raise BadRequest(f'{key.kind} "{key.name}" cannot be scaled')
