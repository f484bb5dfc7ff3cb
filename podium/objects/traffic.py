"""Whether one pod may connect to another, and by which rule: what nodes enforce, worked out for one pair. Pure.

    source ──leaves──► its namespace's policies for egress ──► target's policies for ingress ──arrives──► target

Policies that select a pod take the default's place for the direction that they are about. The default is: within a
namespace everything; between namespaces nothing, unless the target's incoming traffic is a matter of policies, which
then decide alone. Pods on their host's network are hosts: no policy selects them, and they reach and are reached.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from podium.objects.selectors import everything, from_label_selector
from podium.objects.service import TCP, target_number
from podium.v1.core_pb2 import Pod
from podium.v1.networking_pb2 import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    ServicePort,
)

INGRESS, EGRESS = "Ingress", "Egress"


class Socket(NamedTuple):
    """What is connected to. `number` 0: every port of the protocol, so a rule that names ports does not suffice."""

    protocol: str = TCP
    number: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What holds at one end, and why."""

    allowed: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """What holds at both ends."""

    leaving: Judgement
    arriving: Judgement

    @property
    def allowed(self) -> bool:
        """Whether the connection comes about."""
        return self.leaving.allowed and self.arriving.allowed


def passage(
    source: Pod, target: Pod, socket: Socket, policies: Iterable[NetworkPolicy],
    namespaces: Mapping[str, Mapping[str, str]],
) -> Passage:  # fmt: skip
    """Judge a connection from one pod to another.

    Args:
        source: Who connects.
        target: Who is connected to.
        socket: At which port.
        policies: Those of both namespaces, at least.
        namespaces: Labels by namespace.
    """
    known = sorted(policies, key=lambda policy: policy.metadata.name)
    outgoing, incoming = _selecting(source, EGRESS, known), _selecting(target, INGRESS, known)
    leaving = _by_policies("out", source, target, outgoing, target, socket, namespaces) if outgoing else None
    arriving = _by_policies("in", target, source, incoming, target, socket, namespaces) if incoming else None
    default = _default(source, target)
    if leaving is None:
        decided = not default.allowed and bool(incoming)
        leaving = Judgement(True, "the target's policies decide who may come") if decided else default
    if source.spec.host_network and source.spec.node_name == target.spec.node_name:
        arriving = Judgement(True, "a host reaches its own pods")
    elif arriving is None:
        arriving = default
    return Passage(leaving=leaving, arriving=arriving)


def _selecting(pod: Pod, way: str, policies: Iterable[NetworkPolicy]) -> list[NetworkPolicy]:
    if pod.spec.host_network:
        return []
    return [
        policy
        for policy in policies
        if policy.metadata.namespace == pod.metadata.namespace
        and way in policy.spec.policy_types
        and from_label_selector(policy.spec.pod_selector).matches(pod.metadata.labels)
    ]


def _default(source: Pod, target: Pod) -> Judgement:
    if source.spec.host_network or target.spec.host_network:
        return Judgement(True, "no policy is about it, and hosts reach and are reached")
    if source.metadata.namespace == target.metadata.namespace:
        return Judgement(True, "no policy is about it, and pods of one namespace reach each other")
    return Judgement(False, "no policy is about it, and pods of different namespaces do not reach each other")


def _by_policies(
    way: str, pod: Pod, other: Pod, policies: Sequence[NetworkPolicy], target: Pod, socket: Socket,
    namespaces: Mapping[str, Mapping[str, str]],
) -> Judgement:  # fmt: skip
    """What the policies of `pod` say of traffic with `other`; ports are the target's."""
    elsewhere: list[str] = []
    for policy in policies:
        name = policy.metadata.name
        for number, (rule, peers) in enumerate(_rules(policy, way), start=1):
            if peers and not any(_is_meant(peer, other, policy.metadata.namespace, namespaces) for peer in peers):
                continue
            if _lets_through(rule.ports, target, socket):
                return Judgement(True, f"networkpolicy/{name} lets it {way} (rule {number})")
            elsewhere.append(f"networkpolicy/{name} lets it {way} at other ports only (rule {number})")
    names = ", ".join(f"networkpolicy/{policy.metadata.name}" for policy in policies)
    return Judgement(False, "; ".join(elsewhere) or f"{names} may let it {way}, and no rule does")


def _rules(
    policy: NetworkPolicy, way: str
) -> list[tuple[NetworkPolicyIngressRule | NetworkPolicyEgressRule, Sequence[NetworkPolicyPeer]]]:
    if way == "in":
        return [(rule, rule.from_peers) for rule in policy.spec.ingress]
    return [(rule, rule.to) for rule in policy.spec.egress]


def _is_meant(peer: NetworkPolicyPeer, pod: Pod, namespace: str, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
    if peer.HasField("ip_block"):
        return _is_within(pod.status.pod_ip, peer.ip_block)
    if pod.spec.host_network:
        return False
    if peer.HasField("namespace_selector"):
        labels = namespaces.get(pod.metadata.namespace, {})
        if not from_label_selector(peer.namespace_selector).matches(labels):
            return False
    elif pod.metadata.namespace != namespace:
        return False
    pods = from_label_selector(peer.pod_selector) if peer.HasField("pod_selector") else everything()
    return pods.matches(pod.metadata.labels)


def _is_within(address: str, block: IPBlock) -> bool:
    if not address:
        return False
    found = ipaddress.ip_address(address)
    if found not in ipaddress.ip_network(block.cidr):
        return False
    return not any(found in ipaddress.ip_network(excluded) for excluded in block.excluded)


def _lets_through(ports: Sequence[NetworkPolicyPort], target: Pod, socket: Socket) -> bool:
    return not ports or any(_covers(port, target, socket) for port in ports)


def _covers(port: NetworkPolicyPort, target: Pod, socket: Socket) -> bool:
    protocol = port.protocol or TCP
    if protocol != socket.protocol:
        return False
    if not port.HasField("port"):
        return True
    first = target_number(ServicePort(protocol=protocol, target_port=port.port), target.spec)
    return first is not None and first <= socket.number <= max(port.end_port, first)
