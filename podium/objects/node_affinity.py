"""Which nodes a pod may be on for its `nodeSelector` and its required node affinity. Pure.

The scheduler asks this of all nodes at once, in arrays; here one node is asked, by those that decide per node. A term
matches when all its expressions do, and an empty one never does; terms are alternatives.
"""

from __future__ import annotations

from collections.abc import Mapping

from podium.v1.core_pb2 import Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec

NAME_FIELD = "metadata.name"


def allows(spec: PodSpec, node: Node) -> bool:
    """Whether node selector and required node affinity allow the node."""
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in spec.node_selector.items()):
        return False
    if not spec.HasField("affinity"):
        return True
    affinity = spec.affinity.node_affinity
    if not affinity.HasField("required_during_scheduling_ignored_during_execution"):
        return True
    return selects(affinity.required_during_scheduling_ignored_during_execution, node)


def selects(selector: NodeSelector, node: Node) -> bool:
    """Whether one of the terms matches."""
    return any(_matches(term, node) for term in selector.node_selector_terms)


def node_named(name: str) -> NodeSelector:
    """The selector of the one node of this name."""
    selector = NodeSelector()
    term = selector.node_selector_terms.add()
    term.match_fields.add(key=NAME_FIELD, operator="In", values=[name])
    return selector


def name_required(spec: PodSpec) -> str:
    """The only node whose name the required affinity allows, or empty."""
    terms = spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms
    if len(terms) != 1:
        return ""
    for requirement in terms[0].match_fields:
        if requirement.key == NAME_FIELD and requirement.operator == "In" and len(requirement.values) == 1:
            return requirement.values[0]
    return ""


def _matches(term: NodeSelectorTerm, node: Node) -> bool:
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {NAME_FIELD: node.metadata.name}
    return all(_holds(r, node.metadata.labels) for r in term.match_expressions) and all(
        _holds(r, fields) for r in term.match_fields
    )


def _holds(requirement: NodeSelectorRequirement, values: Mapping[str, str]) -> bool:
    value = values.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compared(requirement, value)
        case _:
            return False


def _compared(requirement: NodeSelectorRequirement, value: str | None) -> bool:
    try:
        number, bound = int(value or ""), int(requirement.values[0])
    except (IndexError, ValueError):
        return False
    return number > bound if requirement.operator == "Gt" else number < bound
