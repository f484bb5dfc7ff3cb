"""How a node's report of a pod becomes the pod's status. Pure.

A node owns the status of its pods, but for what others say there: the scheduler (PodScheduled, nominatedNodeName) and
whoever evicts (DisruptionTarget, which the node says only of pods that it ends itself and nobody evicted before). A pod
that is over stays over: a late report can't bring it back.
"""

from __future__ import annotations

from podium.errors import Conflict
from podium.objects.pod import DISRUPTION_TARGET, is_terminal
from podium.v1.core_pb2 import Pod, PodStatus

FROM_NODE = frozenset({
    "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready", "PodResizePending", "PodResizeInProgress",
})  # fmt: skip


class Refused(Conflict):
    """A report does not apply to the pod as it is now."""


def check_owner(pod: Pod, *, node: str, uid: str) -> None:
    """A node speaks only of its own pods.

    Raises:
        Refused: The pod is another one of that name, or is not bound to the node.
    """
    if pod.metadata.uid != uid:
        raise Refused(f"pod {pod.metadata.namespace}/{pod.metadata.name} is another one now")
    if pod.spec.node_name != node:
        raise Refused(f"pod {pod.metadata.namespace}/{pod.metadata.name} is not bound to node {node}")


def merge(pod: Pod, reported: PodStatus) -> None:
    """Make `reported` the pod's status, keeping what is not the node's to say.

    Raises:
        Refused: The pod is over already, and the report says otherwise.
    """
    if is_terminal(pod) and reported.phase != pod.status.phase:
        raise Refused(f"pod {pod.metadata.namespace}/{pod.metadata.name} is over already ({pod.status.phase})")
    now = PodStatus()
    now.CopyFrom(reported)
    del now.conditions[:]
    now.conditions.extend(c for c in pod.status.conditions if c.type not in FROM_NODE)
    now.conditions.extend(c for c in reported.conditions if c.type in FROM_NODE)
    if not any(c.type == DISRUPTION_TARGET for c in pod.status.conditions):
        now.conditions.extend(c for c in reported.conditions if c.type == DISRUPTION_TARGET)
    now.nominated_node_name = pod.status.nominated_node_name
    now.qos_class = reported.qos_class or pod.status.qos_class
    if pod.status.HasField("start_time"):
        now.start_time.CopyFrom(pod.status.start_time)
    pod.status.CopyFrom(now)
