"""Taints and tolerations: who may stay on a node, and for how long. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from podium.v1.core_pb2 import Taint, Toleration

NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "PreferNoSchedule", "NoExecute"

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
MEMORY_PRESSURE = "node.kubernetes.io/memory-pressure"
DISK_PRESSURE = "node.kubernetes.io/disk-pressure"
PID_PRESSURE = "node.kubernetes.io/pid-pressure"
NETWORK_UNAVAILABLE = "node.kubernetes.io/network-unavailable"

NODE_SHUTDOWN = "NodeShutdown"
"""Reason of a node's condition Ready while its host shuts down."""


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether a toleration covers a taint: an empty effect covers all, an empty key with Exists covers all keys."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def leaves_at(tolerations: Iterable[Toleration], taints: Iterable[Taint]) -> float | None:
    """When a pod must leave its node for the node's NoExecute taints, as a Unix time; None: never.

    A taint that nothing tolerates counts from the moment it was added; so does a toleration's `tolerationSeconds`.
    """
    tolerations = list(tolerations)
    moments = [
        moment
        for taint in taints
        if taint.effect == NO_EXECUTE and (moment := _leaves_for(tolerations, taint)) is not None
    ]
    return min(moments, default=None)


def _leaves_for(tolerations: Iterable[Toleration], taint: Taint) -> float | None:
    added = taint.time_added.seconds + taint.time_added.nanos / 1e9
    covering = [t for t in tolerations if tolerates(t, taint)]
    if not covering:
        return added
    bounded = [max(0, t.toleration_seconds) for t in covering if t.HasField("toleration_seconds")]
    return added + min(bounded) if bounded else None
