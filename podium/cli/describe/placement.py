"""What a pod says about its place: nodes, other pods, gates, tolerations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from podium.cli.describe.page import Page
from podium.objects.selectors import from_label_selector
from podium.v1.core_pb2 import PodAffinityTerm, PodSpec, TopologySpreadConstraint


def placement(page: Page, spec: PodSpec) -> None:
    """Everything that decides where the pod may go."""
    page.mapping("Node-Selectors", spec.node_selector)
    page.field("Affinity", "\n".join(_affinities(spec)))
    page.field("Topology Spread", "\n".join(map(_constraint, spec.topology_spread_constraints)))
    page.field("Scheduling Gates", ", ".join(g.name for g in spec.scheduling_gates))
    page.field("Tolerations", "\n".join(map(_toleration, spec.tolerations)))


def _affinities(spec: PodSpec) -> Iterator[str]:
    for word, affinity in (("near", spec.affinity.pod_affinity), ("apart from", spec.affinity.pod_anti_affinity)):
        for term in affinity.required_during_scheduling_ignored_during_execution:
            yield f"{word} {_pods(term)} over {term.topology_key}"
        for choice in affinity.preferred_during_scheduling_ignored_during_execution:
            term = choice.pod_affinity_term
            yield f"rather {word} {_pods(term)} over {term.topology_key} (weight {choice.weight})"


def _pods(term: PodAffinityTerm) -> str:
    places = list(term.namespaces)
    if term.HasField("namespace_selector"):
        places.append(f"namespaces {_selector(term, 'namespace_selector')}")
    where = f" in {', '.join(places)}" if places else ""
    return f"pods {_selector(term, 'label_selector')}{where}{_keys(term)}"


def _constraint(constraint: TopologySpreadConstraint) -> str:
    """As kubectl words it."""
    what = f"{constraint.topology_key}:{constraint.when_unsatisfiable} when max skew {constraint.max_skew} is exceeded"
    return f"{what} for selector {_selector(constraint, 'label_selector')}{_keys(constraint)}"


def _keys(owner: Any) -> str:
    same, other = owner.match_label_keys, getattr(owner, "mismatch_label_keys", ())
    text = f" of the same {', '.join(same)}" if same else ""
    return text + (f" of another {', '.join(other)}" if other else "")


def _selector(owner: Any, field: str) -> str:
    if not owner.HasField(field):
        return "<none>"
    return str(from_label_selector(getattr(owner, field))) or "<all>"


def _toleration(toleration: Any) -> str:
    text = toleration.key or "*"
    text += f"={toleration.value}" if toleration.value else ""
    text += f":{toleration.effect}" if toleration.effect else ""
    text += " op=Exists" if toleration.operator == "Exists" else ""
    return text + (f" for {toleration.toleration_seconds}s" if toleration.HasField("toleration_seconds") else "")
