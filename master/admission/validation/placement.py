"""Rules of what a pod says about its place: other pods to be near or far, scheduling gates, and what may change.

A gated pod (KEP-3521) has not been considered for any node, so its directives may still be narrowed (KEP-3838): labels
added to `nodeSelector`, expressions added to each required node affinity term, preferences changed at will. Gates
themselves can only be removed.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message

from master.admission.validation import names
from master.admission.validation.walk import FieldRule, Findings, MessageRule, by_syntax, each_by_syntax
from podium.errors import Violation
from podium.v1.core_pb2 import (
    NodeAffinity,
    NodeSelectorTerm,
    PodAffinityTerm,
    PodSchedulingGate,
    PodSpec,
    PreferredSchedulingTerm,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)

_HEAVIEST = 100

# ---------------------------------------------------------------- scheduling gates


def gates(spec: PodSpec, path: str, findings: Findings) -> None:
    """Each gate once, and none on a pod that has its node already."""
    if not spec.scheduling_gates:
        return
    seen: set[str] = set()
    for index, gate in enumerate(spec.scheduling_gates):
        if gate.name in seen:
            findings.append(Violation(f"{path}.schedulingGates[{index}].name", f'must be used once: "{gate.name}"'))
        seen.add(gate.name)
    if spec.node_name:
        findings.append(Violation(f"{path}.nodeName", "must not be set until all schedulingGates have been removed"))


def settle(allowed: PodSpec, old: PodSpec) -> None:
    """Undo, in a copy of a changed spec, what may change of a pod's directives; what differs then is refused."""
    before = {gate.name for gate in old.scheduling_gates}
    if all(gate.name in before for gate in allowed.scheduling_gates):
        del allowed.scheduling_gates[:]
        allowed.scheduling_gates.extend(old.scheduling_gates)
    if not old.scheduling_gates:
        return
    if all(allowed.node_selector.get(key) == value for key, value in old.node_selector.items()):
        allowed.node_selector.clear()
        allowed.node_selector.update(old.node_selector)
    if _narrowed(allowed.affinity.node_affinity, old.affinity.node_affinity):
        _restore_node_affinity(allowed, old)


def _restore_node_affinity(allowed: PodSpec, old: PodSpec) -> None:
    allowed.affinity.ClearField("node_affinity")
    if old.affinity.HasField("node_affinity"):
        allowed.affinity.node_affinity.CopyFrom(old.affinity.node_affinity)
    if not old.HasField("affinity") and not allowed.affinity.ByteSize():
        allowed.ClearField("affinity")


def _narrowed(new: NodeAffinity, old: NodeAffinity) -> bool:
    """Whether fewer nodes match at most, whatever became of the preferences."""
    before = old.required_during_scheduling_ignored_during_execution.node_selector_terms
    after = new.required_during_scheduling_ignored_during_execution.node_selector_terms
    if not before:
        return True
    return len(before) == len(after) and all(map(_term_narrowed, after, before))


def _term_narrowed(new: NodeSelectorTerm, old: NodeSelectorTerm) -> bool:
    if not old.match_expressions and not old.match_fields:
        return new == old  # an empty term matches nothing: whatever is added widens it
    return _only_added(new.match_expressions, old.match_expressions) and _only_added(new.match_fields, old.match_fields)


def _only_added(new: Sequence[Message], old: Sequence[Message]) -> bool:
    return all(requirement in new for requirement in old)


# ---------------------------------------------------------------- other pods


def _affinity_term(term: PodAffinityTerm, path: str, findings: Findings) -> None:
    for name, keys in (("matchLabelKeys", term.match_label_keys), ("mismatchLabelKeys", term.mismatch_label_keys)):
        label_keys(term, keys, f"{path}.{name}", findings)
    for index, key in enumerate(term.mismatch_label_keys):
        if key in term.match_label_keys:
            findings.append(
                Violation(f"{path}.mismatchLabelKeys[{index}]", f'must not be in matchLabelKeys as well: "{key}"')
            )


def _spread(constraint: TopologySpreadConstraint, path: str, findings: Findings) -> None:
    if constraint.max_skew < 0:
        findings.append(Violation(f"{path}.maxSkew", f"must be greater than 0, not {constraint.max_skew}"))
    if constraint.HasField("min_domains"):
        if constraint.min_domains < 1:
            findings.append(Violation(f"{path}.minDomains", f"must be greater than 0, not {constraint.min_domains}"))
        if constraint.when_unsatisfiable != "DoNotSchedule":
            findings.append(Violation(f"{path}.minDomains", "must only be set with whenUnsatisfiable: DoNotSchedule"))
    label_keys(constraint, constraint.match_label_keys, f"{path}.matchLabelKeys", findings)
    selector = constraint.label_selector
    taken = {*selector.match_labels, *(expression.key for expression in selector.match_expressions)}
    for index, key in enumerate(constraint.match_label_keys):
        if key in taken:
            where = f"{path}.matchLabelKeys[{index}]"
            findings.append(Violation(where, f'must not be in labelSelector as well: "{key}"'))


def spreads(spec: PodSpec, path: str, findings: Findings) -> None:
    """One constraint for a topology and what to do when it cannot be met."""
    seen: set[tuple[str, str]] = set()
    for index, constraint in enumerate(spec.topology_spread_constraints):
        pair = (constraint.topology_key, constraint.when_unsatisfiable)
        if pair in seen:
            where = f"{path}.topologySpreadConstraints[{index}]"
            findings.append(Violation(where, f"must be the only one with topologyKey {pair[0]} and {pair[1]}"))
        seen.add(pair)


def label_keys(
    owner: PodAffinityTerm | TopologySpreadConstraint, keys: Sequence[str], path: str, findings: Findings
) -> None:
    """Keys whose values are the pod's own narrow a selector, and need one."""
    if keys and not owner.HasField("label_selector"):
        findings.append(Violation(path, "must not be set without a labelSelector"))
    for index, key in enumerate(keys):
        if problem := names.qualified_name(key):
            findings.append(Violation(f"{path}[{index}]", f'"{key}" {problem}'))


def _weight(wish: PreferredSchedulingTerm | WeightedPodAffinityTerm, path: str, findings: Findings) -> None:
    if not 1 <= wish.weight <= _HEAVIEST:
        findings.append(Violation(f"{path}.weight", f"must be between 1 and {_HEAVIEST}, not {wish.weight}"))


MESSAGES: dict[type[Message], MessageRule] = {
    PodAffinityTerm: _affinity_term,
    PreferredSchedulingTerm: _weight,
    WeightedPodAffinityTerm: _weight,
    TopologySpreadConstraint: _spread,
}

FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (TopologySpreadConstraint, "topology_key"): by_syntax(names.qualified_name),
    (PodAffinityTerm, "topology_key"): by_syntax(names.qualified_name),
    (PodAffinityTerm, "namespaces"): each_by_syntax(names.dns_label),
    (PodSchedulingGate, "name"): by_syntax(names.qualified_name),
}
