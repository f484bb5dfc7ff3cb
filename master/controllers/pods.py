"""Pods as the controllers of workloads make and see them. Pure."""

from __future__ import annotations

from typing import Any

from podium.objects.config import point_to_copies
from podium.objects.owners import owner_reference
from podium.objects.pod import is_ready
from podium.objects.revisions import ROLE
from podium.v1.apps_pb2 import ReplicaSet
from podium.v1.core_pb2 import Pod, PodTemplateSpec


def pod_from(template: PodTemplateSpec, owner: Any) -> Pod:
    """A pod made from a template and controlled by `owner`; its name is generated when it is written."""
    pod = Pod()
    pod.metadata.namespace = owner.metadata.namespace
    pod.metadata.generate_name = f"{owner.metadata.name}-"
    pod.metadata.labels.update(template.metadata.labels)
    if role := owner.metadata.labels.get(ROLE):
        pod.metadata.labels[ROLE] = role
    pod.metadata.annotations.update(template.metadata.annotations)
    pod.metadata.finalizers.extend(template.metadata.finalizers)
    pod.metadata.owner_references.append(owner_reference(owner))
    pod.spec.CopyFrom(template.spec)
    if isinstance(owner, ReplicaSet):
        point_to_copies(pod.spec, owner)
    return pod


def matters(old: Pod, new: Pod) -> bool:
    """Whether a change of a pod can change what its controller does or says."""
    return (
        old.status.phase != new.status.phase
        or is_ready(old) != is_ready(new)
        or old.metadata.HasField("deletion_timestamp") != new.metadata.HasField("deletion_timestamp")
        or old.metadata.labels != new.metadata.labels
        or list(old.metadata.owner_references) != list(new.metadata.owner_references)
    )
