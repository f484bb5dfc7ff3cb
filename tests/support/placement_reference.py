"""Where a pod may go as far as other pods are concerned, computed the plain way: node by node, pod by pod.

Written from Kubernetes' description of the fields alone, and slow on purpose: arrays are compared with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from podium.objects.selectors import from_label_selector
from podium.v1.core_pb2 import Node, Pod, PodAffinityTerm, TopologySpreadConstraint


@dataclass
class World:
    """Nodes, pods with the names of their nodes, and labels of namespaces."""

    nodes: dict[str, Node]
    placed: list[tuple[Pod, str]] = field(default_factory=list)
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def fits(self, pod: Pod) -> set[str]:
        """The nodes where neither this pod's terms nor those of others keep it away."""
        return {name for name in self.nodes if self._fits(pod, self.nodes[name])}

    def _fits(self, pod: Pod, node: Node) -> bool:
        return (
            _selects(pod, node)
            and _tolerates(pod, node)
            and self._near(pod, node)
            and self._apart(pod, node)
            and self._welcome(pod, node)
            and self._even(pod, node)
        )

    # ------------------------------------------------------------ affinity

    def _near(self, pod: Pod, node: Node) -> bool:
        terms = pod.spec.affinity.pod_affinity.required_during_scheduling_ignored_during_execution
        wanted = [(p, n) for p, n in self.placed if n in self.nodes and all(self._names(t, pod, p) for t in terms)]
        if all(any(self._same(t.topology_key, node, n) for _, n in wanted) for t in terms):
            return True
        nobody = not any(self._has(t.topology_key, self.nodes[n]) for _, n in wanted for t in terms)
        first = nobody and all(self._names(t, pod, pod) for t in terms)
        return first and all(self._has(t.topology_key, node) for t in terms)

    def _apart(self, pod: Pod, node: Node) -> bool:
        terms = pod.spec.affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution
        return not any(
            self._names(t, pod, other) and self._same(t.topology_key, node, n)
            for t in terms
            for other, n in self.placed
        )

    def _welcome(self, pod: Pod, node: Node) -> bool:
        return not any(
            self._names(t, other, pod) and self._same(t.topology_key, node, n)
            for other, n in self.placed
            for t in other.spec.affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution
        )

    def _names(self, term: PodAffinityTerm, owner: Pod, other: Pod) -> bool:
        if not term.HasField("label_selector") or not self._among(term, owner, other.metadata.namespace):
            return False
        labels = other.metadata.labels
        return (
            from_label_selector(term.label_selector).matches(labels)
            and all(labels.get(k) == v for k, v in _values(owner, term.match_label_keys))
            and not any(labels.get(k) == v for k, v in _values(owner, term.mismatch_label_keys))
        )

    def _among(self, term: PodAffinityTerm, owner: Pod, namespace: str) -> bool:
        if not term.namespaces and not term.HasField("namespace_selector"):
            return namespace == owner.metadata.namespace
        if namespace in term.namespaces:
            return True
        if not term.HasField("namespace_selector"):
            return False
        return from_label_selector(term.namespace_selector).matches(self.namespaces.get(namespace, {}))

    def attraction(self, pod: Pod, on: str) -> int:
        """The sum of all preferences for a node: the pod's for others, and those of others for the pod."""
        node, total = self.nodes[on], 0
        for other, n in self.placed:
            for owner, about in ((pod, other), (other, pod)):
                for term, weight in _preferences(owner, required=owner is not pod):
                    if self._names(term, owner, about) and self._same(term.topology_key, node, n):
                        total += weight
        return total

    # ------------------------------------------------------------ spread

    def _even(self, pod: Pod, node: Node) -> bool:
        hard = [c for c in pod.spec.topology_spread_constraints if c.when_unsatisfiable == "DoNotSchedule"]
        if not all(self._has(c.topology_key, node) for c in hard):
            return False
        return all(self._within(c, hard, pod, node) for c in hard)

    def _within(
        self, constraint: TopologySpreadConstraint, hard: list[TopologySpreadConstraint], pod: Pod, node: Node
    ) -> bool:
        counted: dict[str, int] = {}
        for name, there in self.nodes.items():
            if all(self._has(c.topology_key, there) for c in hard) and _counts(constraint, pod, there):
                domain = there.metadata.labels[constraint.topology_key]
                matching = sum(_counted(constraint, pod, other) for other, on in self.placed if on == name)
                counted[domain] = counted.get(domain, 0) + matching
        fewest = min(counted.values(), default=0) if len(counted) >= (constraint.min_domains or 1) else 0
        here = counted.get(node.metadata.labels[constraint.topology_key], 0)
        return here + _counted(constraint, pod, pod) - fewest <= constraint.max_skew

    # ------------------------------------------------------------ domains

    def _same(self, key: str, node: Node, other: str) -> bool:
        there = self.nodes.get(other)
        if there is None or not self._has(key, node) or not self._has(key, there):
            return False
        return bool(node.metadata.labels[key] == there.metadata.labels[key])

    @staticmethod
    def _has(key: str, node: Node) -> bool:
        return key in node.metadata.labels


def _values(owner: Pod, keys: Iterable[str]) -> Sequence[tuple[str, str]]:
    return [(key, owner.metadata.labels[key]) for key in keys if key in owner.metadata.labels]


def _counted(constraint: TopologySpreadConstraint, owner: Pod, other: Pod) -> bool:
    if not constraint.HasField("label_selector") or other.metadata.namespace != owner.metadata.namespace:
        return False
    if other.metadata.HasField("deletion_timestamp"):
        return False
    labels = other.metadata.labels
    return from_label_selector(constraint.label_selector).matches(labels) and all(
        labels.get(k) == v for k, v in _values(owner, constraint.match_label_keys)
    )


def _counts(constraint: TopologySpreadConstraint, pod: Pod, node: Node) -> bool:
    if constraint.node_affinity_policy != "Ignore" and not _selects(pod, node):
        return False
    return constraint.node_taints_policy != "Honor" or _tolerates(pod, node)


def _selects(pod: Pod, node: Node) -> bool:
    return all(node.metadata.labels.get(k) == v for k, v in pod.spec.node_selector.items())


def _tolerates(pod: Pod, node: Node) -> bool:
    keys = {toleration.key for toleration in pod.spec.tolerations}
    return all(taint.key in keys for taint in node.spec.taints if taint.effect in ("NoSchedule", "NoExecute"))


def _preferences(owner: Pod, *, required: bool) -> Iterable[tuple[PodAffinityTerm, int]]:
    near, apart = owner.spec.affinity.pod_affinity, owner.spec.affinity.pod_anti_affinity
    for choice in near.preferred_during_scheduling_ignored_during_execution:
        yield choice.pod_affinity_term, choice.weight
    for choice in apart.preferred_during_scheduling_ignored_during_execution:
        yield choice.pod_affinity_term, -choice.weight
    for term in near.required_during_scheduling_ignored_during_execution if required else ():
        yield term, 1
