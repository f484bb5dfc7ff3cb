"""Defaults of Namespace, Node, Secret and Event."""

from __future__ import annotations

from podium.objects.secret import fold_string_data
from podium.v1.core_pb2 import Event, Namespace, Node, Secret

NAME_LABEL = "kubernetes.io/metadata.name"
CONTENTS_FINALIZER = "kubernetes"


def namespace(obj: Namespace) -> None:
    """The name as a label, to be selected by; and the finalizer that keeps a namespace while it has contents."""
    if obj.metadata.name:
        obj.metadata.labels[NAME_LABEL] = obj.metadata.name
    if not obj.metadata.HasField("deletion_timestamp") and not obj.spec.finalizers:
        obj.spec.finalizers.append(CONTENTS_FINALIZER)
    if not obj.status.phase:
        obj.status.phase = "Active"


def node(obj: Node) -> None:
    """One address range and the list of ranges say the same."""
    if obj.spec.pod_cidr and not obj.spec.pod_cidrs:
        obj.spec.pod_cidrs.append(obj.spec.pod_cidr)
    elif obj.spec.pod_cidrs and not obj.spec.pod_cidr:
        obj.spec.pod_cidr = obj.spec.pod_cidrs[0]


def secret(obj: Secret) -> None:
    """Plain text becomes data; the type is Opaque."""
    fold_string_data(obj)
    if not obj.type:
        obj.type = "Opaque"


def event(obj: Event) -> None:
    """An event has happened once, and is normal."""
    if not obj.type:
        obj.type = "Normal"
    if not obj.count:
        obj.count = 1
