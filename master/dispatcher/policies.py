"""NetworkPolicies, made into what nodes enforce: rules for each pod, and sets of addresses that rules speak of. Pure.

A policy selects pods of its namespace; for each direction that it is about, these pods accept what one of their
policies allows, and nothing else (networking.k8s.io/v1). A peer of a rule is a set of addresses, kept up with every pod
that comes, goes or changes its labels; peers that select alike share a set, and a node is told of those that rules of
its own pods name.

What crosses namespaces is refused where it leaves unless the other end judges for itself: pods whose incoming traffic
is a matter of policies are in the set `OPENED`, which everybody may try.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from master.dispatcher.records import Records
from podium.objects.pod import is_terminal
from podium.objects.selectors import Selector, everything, from_label_selector
from podium.objects.service import TCP, target_number
from podium.v1.core_pb2 import Namespace, Pod
from podium.v1.meta_pb2 import LabelSelector
from podium.v1.networking_pb2 import (
    NetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    ServicePort,
)
from podium.v1.node_session_pb2 import PodRules, PortRange, TrafficRule, TrafficRules

OPENED = "opened/ingress"
INGRESS, EGRESS = "Ingress", "Egress"

Pods = Callable[[str], Iterable[Pod]]
"""Pods of a namespace; of all when it is empty."""


@dataclass(slots=True)
class PeerSet:
    """Addresses of the pods that a peer selects.

    Attributes:
        namespace: Where they are, when there is no `namespaces`.
        namespaces: Which namespaces they are in, by the namespaces' labels.
        pods: Which pods they are.
        addresses: Theirs, by address: the pod's uid.
    """

    namespace: str
    namespaces: Selector | None
    pods: Selector
    addresses: Records[str, str] = field(default_factory=Records)

    def selects(self, pod: Pod, labels_of: Mapping[str, Mapping[str, str]]) -> bool:
        """Whether a pod is meant."""
        namespace = pod.metadata.namespace
        if self.namespaces is None:
            if namespace != self.namespace:
                return False
        elif not self.namespaces.matches(labels_of.get(namespace, {})):
            return False
        return self.pods.matches(pod.metadata.labels)


class PolicyBook:
    """See the module. Costs nothing while there are no policies.

    Args:
        pods: Finds pods; asked when a policy comes or changes.
        everybody: The nodes that have pods.
    """

    def __init__(self, pods: Pods, everybody: Callable[[], Iterable[str]]) -> None:
        self._pods, self._everybody = pods, everybody
        self._policies: dict[str, dict[str, NetworkPolicy]] = {}
        self._labels: dict[str, dict[str, str]] = {}
        self._sets: dict[str, PeerSet] = {}
        self._uses: Counter[str] = Counter()
        self._rules: dict[str, Records[str, PodRules]] = {}
        self._node_of: dict[str, str] = {}
        self._opened: Records[str, str] = Records()

    # ------------------------------------------------------------ what nodes are told

    def rules(self, node: str) -> Records[str, PodRules] | None:
        """The rules of a node's pods, by uid; None: there are none and never were."""
        return self._rules.get(node)

    def sets(self, node: str) -> Mapping[str, Records[str, str]]:
        """The sets that rules of a node's pods speak of, and that of the pods which judge for themselves."""
        found = {OPENED: self._opened}
        rules = self._rules.get(node)
        for id_ in _named(rules.values()) if rules is not None else ():
            if id_ in self._sets:
                found[id_] = self._sets[id_].addresses
        return found

    # ------------------------------------------------------------ what is; each answers which nodes it concerns

    def namespace_changed(self, namespace: Namespace, *, deleted: bool) -> bool:
        """A namespace was added, changed or deleted. Whether sets may have changed, anywhere."""
        name = namespace.metadata.name
        before = self._labels.pop(name, None)
        if not deleted:
            self._labels[name] = dict(namespace.metadata.labels)
        concerned = [s for s in self._sets.values() if s.namespaces is not None]
        if before == self._labels.get(name) or not concerned:
            return False
        for pod in self._pods(name):
            for each in concerned:
                self._judge(each, pod)
        return True

    def policy_changed(self, policy: NetworkPolicy, *, deleted: bool) -> None:
        """A policy was added, changed or deleted; it may concern every node."""
        namespace, name = policy.metadata.namespace, policy.metadata.name
        policies = self._policies.setdefault(namespace, {})
        old = policies.pop(name, None)
        if not deleted:
            policies[name] = policy
            self._use(policy)
        if old is not None:
            self._unuse(old)
        if not policies:
            del self._policies[namespace]
        for pod in self._pods(namespace):
            self._rule(pod)

    def pod_changed(self, old: Pod | None, new: Pod, *, deleted: bool) -> set[str]:
        """Follow a pod. Returns the nodes that must be told."""
        if not self._policies and not self._node_of:
            return set()
        opened, sets = self._opened.version, sum(each.addresses.version for each in self._sets.values())
        for each in self._sets.values():
            if old is not None and old.status.pod_ip != new.status.pod_ip:
                _leave(each.addresses, old)
            self._judge(each, new, gone=deleted)
        told: set[str] = set()
        if old is not None and (old.metadata.uid, old.status.pod_ip) != (new.metadata.uid, new.status.pod_ip):
            told.add(self._unrule(old))
        told.add(self._unrule(new) if deleted else self._rule(new))
        if sum(each.addresses.version for each in self._sets.values()) != sets:
            told.update(self._rules)
        if self._opened.version != opened:
            told.update(self._everybody())
        return told - {""}

    # ------------------------------------------------------------ sets

    def _use(self, policy: NetworkPolicy) -> None:
        for id_, peer in _peer_sets(policy):
            self._uses[id_] += 1
            if id_ not in self._sets:
                self._sets[id_] = peer
                for pod in self._pods("" if peer.namespaces is not None else peer.namespace):
                    self._judge(peer, pod)

    def _unuse(self, policy: NetworkPolicy) -> None:
        for id_, _ in _peer_sets(policy):
            self._uses[id_] -= 1
            if not self._uses[id_]:
                del self._uses[id_], self._sets[id_]

    def _judge(self, peer: PeerSet, pod: Pod, *, gone: bool = False) -> None:
        if not gone and has_address(pod) and peer.selects(pod, self._labels):
            peer.addresses.put(pod.status.pod_ip, pod.metadata.uid)
        else:
            _leave(peer.addresses, pod)

    # ------------------------------------------------------------ rules

    def _rule(self, pod: Pod) -> str:
        """Say what holds of a pod; the node to be told, when that is new."""
        uid, node = pod.metadata.uid, pod.spec.node_name
        if pod.spec.host_network or is_terminal(pod) or not node:
            return self._unrule(pod)
        rules = rules_of(pod, self._policies.get(pod.metadata.namespace, {}).values())
        if rules is None:
            return self._unrule(pod)
        if rules.HasField("ingress") and has_address(pod):
            self._opened.put(pod.status.pod_ip, uid)
        else:
            _leave(self._opened, pod)
        self._node_of[uid] = node
        return node if self._rules.setdefault(node, Records()).put(uid, rules) else ""

    def _unrule(self, pod: Pod) -> str:
        _leave(self._opened, pod)
        node = self._node_of.pop(pod.metadata.uid, "")
        if node:
            self._rules[node].drop(pod.metadata.uid)
        return node


def has_address(pod: Pod) -> bool:
    """Whether a pod has an address of its own."""
    return bool(pod.status.pod_ip) and not pod.spec.host_network and not is_terminal(pod)


def rules_of(pod: Pod, policies: Iterable[NetworkPolicy]) -> PodRules | None:
    """What the policies of its namespace say of a pod; None when none selects it."""
    selecting = [p for p in policies if from_label_selector(p.spec.pod_selector).matches(pod.metadata.labels)]
    selecting.sort(key=lambda policy: policy.metadata.name)
    rules = PodRules(uid=pod.metadata.uid)
    incoming = [policy for policy in selecting if INGRESS in policy.spec.policy_types]
    outgoing = [policy for policy in selecting if EGRESS in policy.spec.policy_types]
    if incoming:
        found = (_rule(p, rule, rule.from_peers, pod) for p in incoming for rule in p.spec.ingress)
        rules.ingress.CopyFrom(TrafficRules(rules=[rule for rule in found if rule is not None]))
    if outgoing:
        found = (_rule(p, rule, rule.to, pod) for p in outgoing for rule in p.spec.egress)
        rules.egress.CopyFrom(TrafficRules(rules=[rule for rule in found if rule is not None]))
    return rules if incoming or outgoing else None


def _rule(
    policy: NetworkPolicy, rule: NetworkPolicyIngressRule | NetworkPolicyEgressRule,
    peers: Sequence[NetworkPolicyPeer], pod: Pod,
) -> TrafficRule | None:  # fmt: skip
    """One rule for one pod; None when it allows nothing: it names a port that the pod does not have."""
    ports = [found for port in rule.ports if (found := _port(port, pod)) is not None]
    if rule.ports and not ports:
        return None
    namespace = policy.metadata.namespace
    return TrafficRule(
        policy=f"{namespace}/{policy.metadata.name}",
        sets=[peer_id(namespace, peer) for peer in peers if not peer.HasField("ip_block")],
        blocks=[peer.ip_block for peer in peers if peer.HasField("ip_block")],
        ports=ports,
    )


def _port(port: NetworkPolicyPort, pod: Pod) -> PortRange | None:
    protocol = port.protocol or TCP
    if not port.HasField("port"):
        return PortRange(protocol=protocol)
    first = target_number(ServicePort(protocol=protocol, target_port=port.port), pod.spec)
    if first is None:
        return None
    return PortRange(protocol=protocol, first=first, last=max(port.end_port, first))


def peer_id(namespace: str, peer: NetworkPolicyPeer) -> str:
    """The id of the set of a peer; equal for peers that select alike."""
    scope = _text(peer.namespace_selector) if peer.HasField("namespace_selector") else f"in {namespace}"
    text = f"{scope} / {_text(peer.pod_selector)}"
    return f"selected/{hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:16]}"


def _text(selector: LabelSelector) -> str:
    return selector.SerializeToString(deterministic=True).hex()


def _peer_sets(policy: NetworkPolicy) -> Iterator[tuple[str, PeerSet]]:
    namespace = policy.metadata.namespace
    peers = [peer for rule in policy.spec.ingress for peer in rule.from_peers]
    peers += [peer for rule in policy.spec.egress for peer in rule.to]
    for peer in peers:
        if peer.HasField("ip_block"):
            continue
        namespaces = from_label_selector(peer.namespace_selector) if peer.HasField("namespace_selector") else None
        pods = from_label_selector(peer.pod_selector) if peer.HasField("pod_selector") else everything()
        yield peer_id(namespace, peer), PeerSet(namespace, namespaces, pods)


def _named(rules: Iterable[PodRules]) -> set[str]:
    return {id_ for each in rules for way in (each.ingress, each.egress) for rule in way.rules for id_ in rule.sets}


def _leave(addresses: Records[str, str], pod: Pod) -> None:
    """Take a pod's address out, unless another pod has it by now."""
    if addresses.get(pod.status.pod_ip) == pod.metadata.uid:
        addresses.drop(pod.status.pod_ip)
