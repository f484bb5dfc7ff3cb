"""The Node object: how a nodelet's hello makes it, and how its status reports change it. Pure.

The nodelet owns capacity, addresses, system information and its conditions; labels and taints it wishes for are given
once, when the object is made, so that what a person changes later stays. Its own address labels are kept true.
"""

from __future__ import annotations

import datetime

from podium.objects.meta import timestamp
from podium.objects.storage import LOCAL_VOLUMES
from podium.tls import format_endpoint
from podium.v1.core_pb2 import Node, NodeStatus
from podium.v1.meta_pb2 import Condition
from podium.v1.node_session_pb2 import Hello

TRUST = "podium.dev/trust"
HOSTNAME, OS, ARCH = "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch"


def own_labels(name: str, hello: Hello) -> dict[str, str]:
    """Labels that always say what the node is."""
    info = hello.status.node_info
    return {HOSTNAME: name, OS: info.operating_system or "linux", ARCH: info.architecture or "amd64"}


def new_node(name: str, hello: Hello, pod_cidr: str, now: datetime.datetime) -> Node:
    """The object of a node that joins."""
    node = Node()
    node.metadata.name = name
    node.metadata.labels.update({**hello.labels, **own_labels(name, hello)})
    node.spec.taints.extend(hello.taints)
    for taint in node.spec.taints:
        if taint.effect == "NoExecute" and not taint.HasField("time_added"):
            taint.time_added.CopyFrom(timestamp(now))
    set_pod_cidr(node, pod_cidr)
    _set_own_annotations(node, hello)
    merge_status(node, hello_status(hello), now)
    return node


def refresh(node: Node, hello: Hello, pod_cidr: str) -> None:
    """Keep what must be true of an existing object when its node connects again."""
    node.metadata.labels.update(own_labels(node.metadata.name, hello))
    set_pod_cidr(node, pod_cidr)
    _set_own_annotations(node, hello)


def set_pod_cidr(node: Node, pod_cidr: str) -> None:
    """Record the node's slice of the pod range."""
    if pod_cidr and node.spec.pod_cidr != pod_cidr:
        node.spec.pod_cidr = pod_cidr
        node.spec.pod_cidrs[:] = [pod_cidr]


def _set_own_annotations(node: Node, hello: Hello) -> None:
    """Record where the node keeps volumes for claims, and which CAs it trusts."""
    for name, value in ((LOCAL_VOLUMES, hello.local_volumes), (TRUST, hello.trust)):
        if value:
            node.metadata.annotations[name] = value


def hello_status(hello: Hello) -> NodeStatus:
    """The status that a hello carries, with the identity of the machine in it."""
    status = NodeStatus()
    status.CopyFrom(hello.status)
    status.node_info.machine_id = hello.machine_id
    status.node_info.boot_id = hello.boot_id or status.node_info.boot_id
    status.node_info.kubelet_version = hello.version or status.node_info.kubelet_version
    return status


def merge_status(node: Node, reported: NodeStatus, now: datetime.datetime) -> None:
    """Make `reported` the node's status.

    Conditions of types that the node does not report stay. Heartbeat times are dropped, and a transition time moves
    only with its status, so that a report that says nothing new changes nothing.
    """
    before = {c.type: c for c in node.status.conditions}
    machine_id = reported.node_info.machine_id or node.status.node_info.machine_id
    status = NodeStatus()
    status.CopyFrom(reported)
    status.node_info.machine_id = machine_id
    del status.conditions[:]
    told = {c.type for c in reported.conditions}
    status.conditions.extend(c for c in node.status.conditions if c.type not in told)
    status.conditions.extend(_condition(c, before.get(c.type), now) for c in reported.conditions)
    status.conditions.sort(key=lambda c: c.type)
    node.status.CopyFrom(status)


def _condition(reported: Condition, before: Condition | None, now: datetime.datetime) -> Condition:
    condition = Condition(type=reported.type, status=reported.status, reason=reported.reason, message=reported.message)
    same = before is not None and before.status == reported.status
    since = before.last_transition_time if before is not None and same else timestamp(now)
    condition.last_transition_time.CopyFrom(since)
    return condition


def is_reported_ready(status: NodeStatus) -> bool:
    """Whether a report says that the node is ready."""
    return any(c.type == "Ready" and c.status == "True" for c in status.conditions)


def peer_address(hello: Hello) -> str:
    """Where other nodes may ask this one (`HOST:PORT`); empty: nowhere."""
    address = next((a.address for a in hello.status.addresses if a.type == "InternalIP"), "")
    return format_endpoint(address, hello.peer_port) if address and hello.peer_port else ""
