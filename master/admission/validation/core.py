"""Rules of Node, Namespace, Event and Lease."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from master.admission.validation import names
from master.admission.validation.amounts import not_negative
from master.admission.validation.walk import FieldRule, Findings, MessageRule, between, by_syntax, each_by_syntax
from podium.errors import Violation
from podium.v1.coordination_pb2 import LeaseSpec
from podium.v1.core_pb2 import Event, Namespace, Node, NodeSpec, NodeStatus, Taint

# ---------------------------------------------------------------- Node


def distinct_taints(taints: Iterable[Taint], path: str, findings: Findings) -> None:
    """No taint of a spec has another one's key and effect."""
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        identity = (taint.key, taint.effect)
        if identity in seen:
            findings.append(
                Violation(f"{path}.taints[{index}]", f'must be once: key "{taint.key}" with effect {taint.effect}')
            )
        seen.add(identity)


def _node_spec(spec: NodeSpec, path: str, findings: Findings) -> None:
    distinct_taints(spec.taints, path, findings)
    if spec.pod_cidr and spec.pod_cidrs and spec.pod_cidrs[0] != spec.pod_cidr:
        findings.append(Violation(f"{path}.podCIDRs[0]", f'must be podCIDR, "{spec.pod_cidr}"'))


def update_node(new: Node, old: Node, findings: Findings) -> None:
    """A node's address range stays."""
    if old.spec.pod_cidr and new.spec.pod_cidr != old.spec.pod_cidr:
        findings.append(Violation(".spec.podCIDR", f'is immutable once set: must be "{old.spec.pod_cidr}"'))


# ---------------------------------------------------------------- Namespace, Event


def update_namespace(new: Namespace, old: Namespace, findings: Findings) -> None:
    """Contents are waited for: a terminating namespace cannot gain finalizers."""
    if old.metadata.HasField("deletion_timestamp"):
        added = sorted(set(new.spec.finalizers) - set(old.spec.finalizers))
        if added:
            findings.append(Violation(".spec.finalizers", f"must not gain {', '.join(added)} while terminating"))


def _event(event: Event, path: str, findings: Findings) -> None:
    involved = event.involved_object.namespace
    if involved and involved != event.metadata.namespace:
        findings.append(Violation(f"{path}.involvedObject.namespace", "must be the event's own namespace"))
    if not involved and event.metadata.namespace != "default":
        findings.append(
            Violation(f"{path}.metadata.namespace", 'must be "default" for an object that is not in a namespace')
        )


MESSAGES: dict[type[Message], MessageRule] = {NodeSpec: _node_spec, Event: _event}


FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (NodeSpec, "pod_cidrs"): each_by_syntax(names.ip_range),
    # What a node reports is read by the scheduler for every pod: it must be readable.
    (NodeStatus, "capacity"): not_negative,
    (NodeStatus, "allocatable"): not_negative,
    (Taint, "key"): by_syntax(names.qualified_name),
    (Taint, "value"): by_syntax(names.label_value),
    (LeaseSpec, "lease_duration_seconds"): between(1),
    (LeaseSpec, "lease_transitions"): between(0),
}
