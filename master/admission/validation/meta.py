"""Rules of metadata, label selectors and conditions; and what an update may not change of any object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from master.admission.validation import names
from master.admission.validation.walk import FieldRule, Findings, MessageRule
from podium.errors import Violation
from podium.objects.kinds import Kind
from podium.v1.meta_pb2 import LabelSelector, LabelSelectorRequirement, ObjectMeta, OwnerReference

MAX_ANNOTATIONS_BYTES = 256 * 1024

_LABEL_NAMED = frozenset(("Namespace",))
"""Kinds whose names are single DNS labels."""

# ---------------------------------------------------------------- any ObjectMeta, a template's included


def labels(entries: Mapping[str, str], path: str, findings: Findings) -> None:
    """Keys are qualified names, values are short words."""
    for key in entries:  # items() of a protobuf map is written in Python, and slow
        value = entries[key]
        problem = names.qualified_name(key)
        if problem:
            findings.append(Violation(path, f'the key "{key}" {problem}'))
        problem = names.label_value(value)
        if problem:
            findings.append(Violation(f"{path}[{key}]", f'"{value}" {problem}'))


def _annotations(entries: Mapping[str, str], path: str, findings: Findings) -> None:
    """Keys are qualified names in any case; all of it is bounded."""
    size = 0
    for key, value in entries.items():
        size += len(key) + len(value.encode())
        problem = names.qualified_name(key.lower())
        if problem:
            findings.append(Violation(path, f'the key "{key}" {problem}'))
    if size > MAX_ANNOTATIONS_BYTES:
        findings.append(Violation(path, f"must be at most {MAX_ANNOTATIONS_BYTES} bytes in all, not {size}"))


def _finalizers(values: Any, path: str, findings: Findings) -> None:
    for index, value in enumerate(values):
        problem = names.qualified_name(value)
        if problem:
            findings.append(Violation(f"{path}[{index}]", f'"{value}" {problem}'))


def _owner_references(references: Any, path: str, findings: Findings) -> None:
    for index, reference in enumerate(references):
        _owner_reference(reference, f"{path}[{index}]", findings)
    controllers = [reference.name for reference in references if reference.controller]
    if len(controllers) > 1:
        findings.append(Violation(path, f"must have at most one controller, not {' and '.join(controllers)}"))


def _owner_reference(reference: OwnerReference, path: str, findings: Findings) -> None:
    for name, value in (
        ("apiVersion", reference.api_version),
        ("kind", reference.kind),
        ("name", reference.name),
        ("uid", reference.uid),
    ):
        if not value:
            findings.append(Violation(f"{path}.{name}", "is required"))


# ---------------------------------------------------------------- an object's own metadata


def identity(metadata: ObjectMeta, kind: Kind, findings: Findings) -> None:
    """The name and namespace are there, and well-formed."""
    check = names.dns_label if kind.name in _LABEL_NAMED else names.object_name
    if not metadata.name:
        findings.append(Violation(".metadata.name", "is required", "or generateName"))
    elif problem := check(metadata.name):
        findings.append(Violation(".metadata.name", f'"{metadata.name}" {problem}'))
    if not kind.namespaced:
        if metadata.namespace:
            findings.append(Violation(".metadata.namespace", f"must be empty: a {kind.name} is not in a namespace"))
    elif problem := names.dns_label(metadata.namespace):
        findings.append(Violation(".metadata.namespace", f'"{metadata.namespace}" {problem}'))


def unchanged(new: ObjectMeta, old: ObjectMeta, findings: Findings) -> None:
    """What an update may not change: identity, and a deletion that has begun."""
    immutable: tuple[tuple[str, Callable[[ObjectMeta], Any]], ...] = (
        ("name", lambda m: m.name),
        ("namespace", lambda m: m.namespace),
        ("uid", lambda m: m.uid),
    )
    for name, read in immutable:
        if read(new) != read(old):
            findings.append(Violation(f".metadata.{name}", f'is immutable: must be "{read(old)}"'))
    if new.creation_timestamp != old.creation_timestamp:
        findings.append(Violation(".metadata.creationTimestamp", "is immutable"))
    if not old.HasField("deletion_timestamp"):
        return
    if not new.HasField("deletion_timestamp"):
        findings.append(Violation(".metadata.deletionTimestamp", "must not be removed: deletion cannot be taken back"))
    added = [finalizer for finalizer in new.finalizers if finalizer not in old.finalizers]
    if added:
        findings.append(
            Violation(".metadata.finalizers", f"must not gain {', '.join(added)}: the object is being deleted")
        )


# ---------------------------------------------------------------- selectors


def _selector_requirement(requirement: LabelSelectorRequirement, path: str, findings: Findings) -> None:
    problem = names.qualified_name(requirement.key) if requirement.key else ""
    if problem:
        findings.append(Violation(f"{path}.key", f'"{requirement.key}" {problem}'))
    if requirement.operator in ("In", "NotIn") and not requirement.values:
        findings.append(Violation(f"{path}.values", f"is required with the operator {requirement.operator}"))
    if requirement.operator in ("Exists", "DoesNotExist") and requirement.values:
        findings.append(Violation(f"{path}.values", f"must be empty with the operator {requirement.operator}"))
    for index, value in enumerate(requirement.values):
        problem = names.label_value(value)
        if problem:
            findings.append(Violation(f"{path}.values[{index}]", f'"{value}" {problem}'))


MESSAGES: dict[type[Message], MessageRule] = {LabelSelectorRequirement: _selector_requirement}

FIELDS: dict[tuple[type[Message], str], FieldRule] = {
    (ObjectMeta, "labels"): labels,
    (ObjectMeta, "annotations"): _annotations,
    (ObjectMeta, "finalizers"): _finalizers,
    (ObjectMeta, "owner_references"): _owner_references,
    (ObjectMeta, "managed_fields"): lambda values, path, findings: None,
    (LabelSelector, "match_labels"): labels,
}
