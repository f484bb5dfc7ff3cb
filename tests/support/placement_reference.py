"""Where a pod may go as far as other pods are concerned, computed the plain way: node by node, pod by pod.

Written from Kubernetes' description of the fields alone, and slow on purpose: arrays are compared with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from podium.objects.selectors import from_label_selector
from podium.v1.core_pb2 import Node, Pod, PodAffinityTerm


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
        return self._near(pod, node) and self._apart(pod, node) and self._welcome(pod, node)

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
