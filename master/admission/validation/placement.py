"""Rules of what a pod says about its place: scheduling gates, and what of a gated pod's wishes may still change.

A gated pod (KEP-3521) has not been considered for any node, so its directives may still be narrowed (KEP-3838): labels
added to `nodeSelector`, expressions added to each required node affinity term, preferences changed at will. Gates
themselves can only be removed.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message

from master.admission.validation import names
from master.admission.validation.walk import FieldRule, Findings, MessageRule, by_syntax
from podium.errors import Violation
from podium.v1.core_pb2 import NodeAffinity, NodeSelectorTerm, PodSchedulingGate, PodSpec

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


MESSAGES: dict[type[Message], MessageRule] = {}

FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (PodSchedulingGate, "name"): by_syntax(names.qualified_name),
}
