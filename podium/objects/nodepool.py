"""Node pools: the phases of their hosts, and the node that a host would be. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from podium.objects.conditions import TRUE
from podium.objects.pod import amount
from podium.v1.core_pb2 import Node
from podium.v1.nodepool_pb2 import NodePool, NodePoolHost, NodePoolHostStatus

POOL_LABEL = "podium.dev/nodepool"
"""Of every node that a pool made: the pool's name."""

STANDBY, PROVISIONING, JOINED, READY = "Standby", "Provisioning", "Joined", "Ready"
DRAINING, RELEASING, FAILED = "Draining", "Releasing", "Failed"

COMING = frozenset({PROVISIONING, JOINED})
"""On their way to take pods."""
IN_USE = frozenset({PROVISIONING, JOINED, READY, DRAINING, RELEASING})
"""Phases that count against `max`."""

CREDENTIALS_VALID, HOSTS_HEALTHY, GROWTH_LIMITED = "CredentialsValid", "HostsHealthy", "GrowthLimited"
"""A pool's conditions."""

SSH_KEY, KNOWN_HOSTS = "ssh-privatekey", "known_hosts"
"""Keys of the Secret that a pool's credentials are in."""

SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
"""Annotation of a pod, as Kubernetes' autoscaler knows it: "false" keeps its host; "true" lets data in emptyDir go."""

_HOSTNAME, _OS, _ARCH = "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch"


def status_of(pool: NodePool, host: str) -> NodePoolHostStatus:
    """What is known of a host; a host that was never heard of stands by. To be looked at only."""
    for status in pool.status.hosts:
        if status.name == host:
            return status
    return NodePoolHostStatus(name=host, phase=STANDBY)


def at_most(pool: NodePool) -> int:
    """How many hosts may be in use."""
    return pool.spec.max if pool.spec.HasField("max") else len(pool.spec.hosts)


def labels_of(pool: NodePool, host: NodePoolHost) -> dict[str, str]:
    """The labels that a host's node is to have."""
    return {**pool.spec.labels, **host.labels, POOL_LABEL: pool.metadata.name}


def belongs(pool: NodePool, node: Node) -> bool:
    """Whether a node is one of the pool's."""
    return node.metadata.labels.get(POOL_LABEL, "") == pool.metadata.name


def expected_node(pool: NodePool, host: NodePoolHost, statuses: Mapping[str, NodePoolHostStatus]) -> Node:
    """The node that a host would be: ready, and empty."""
    node = Node()
    node.metadata.name = host.name
    node.metadata.labels.update({_OS: "linux", _ARCH: "amd64", **labels_of(pool, host), _HOSTNAME: host.name})
    node.spec.taints.extend(pool.spec.taints)
    node.status.conditions.add(type="Ready", status=TRUE)
    node.status.allocatable.update(_capacity(pool, host, statuses))
    return node


def _capacity(pool: NodePool, host: NodePoolHost, statuses: Mapping[str, NodePoolHostStatus]) -> Mapping[str, str]:
    """What the host had when it was a node; else the least of what hosts like it had; else what the pool says."""
    mine = statuses.get(host.name)
    if mine is not None and mine.allocatable:
        return mine.allocatable
    if host.capacity:
        return host.capacity
    alike = (statuses.get(other.name) for other in pool.spec.hosts if not other.capacity)
    return _least([status.allocatable for status in alike if status is not None and status.allocatable]) or (
        pool.spec.capacity
    )


def _least(capacities: Iterable[Mapping[str, str]]) -> dict[str, str]:
    least: dict[str, str] = {}
    for capacity in capacities:
        for name, text in capacity.items():
            if name not in least or amount(name, text) < amount(name, least[name]):
                least[name] = text
    return least


def join_taints(pool: NodePool) -> list[str]:
    """The pool's taints as a nodelet is told them: `KEY[=VALUE]:EFFECT`."""
    return [f"{t.key}{f'={t.value}' if t.value else ''}:{t.effect}" for t in pool.spec.taints]
