"""The claims of a StatefulSet: one for each of its pods and claim templates, kept for the pod of that ordinal. Pure.

    made       before its pod, and again while its pod waits and the claim is gone; never twice: its name is its own
    grown      when the template asks for more than the claim does (Kubernetes' templates cannot change at all)
    kept       when its pod goes, and when the set does, unless `persistentVolumeClaimRetentionPolicy` says otherwise:
               then owner references let the garbage collector take it, after the pod or with the set

A claim that was there before the set is used as it is. References of others to it are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from podium.objects import storage
from podium.objects.meta import is_terminating
from podium.objects.owners import owner_reference
from podium.objects.stateful import claim_name, name_of, ordinals
from podium.v1.apps_pb2 import StatefulSet
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import OwnerReference
from podium.v1.storage_pb2 import PersistentVolumeClaim

DELETE = "Delete"


@dataclass(frozen=True, slots=True)
class MakeClaim:
    """Create it."""

    claim: PersistentVolumeClaim


@dataclass(frozen=True, slots=True)
class GrowClaim:
    """Ask for so much."""

    claim: PersistentVolumeClaim
    size: str


@dataclass(frozen=True, slots=True)
class OwnClaim:
    """Replace the set's and its pods' references by these."""

    claim: PersistentVolumeClaim
    references: tuple[OwnerReference, ...]


ClaimStep = MakeClaim | GrowClaim | OwnClaim
Find = Callable[[str], PersistentVolumeClaim | None]
"""The claim of a name in the set's namespace."""


def plan_stateful_claims(
    stateful_set: StatefulSet, pods: dict[int, Pod], needed: Iterable[int], find: Find
) -> list[ClaimStep]:
    """What to do about the claims of a set.

    Args:
        stateful_set: With its templates.
        pods: Its pods, by ordinal.
        needed: Ordinals whose pods are about to be made, or wait.
        find: See there.
    """
    if not stateful_set.spec.volume_claim_templates or is_terminating(stateful_set):
        return []
    wanted, needed = ordinals(stateful_set), set(needed)
    steps: list[ClaimStep] = []
    for ordinal in sorted({*wanted, *pods}):
        for template in stateful_set.spec.volume_claim_templates:
            claim = find(claim_name(stateful_set, template.metadata.name, ordinal))
            if claim is None:
                if ordinal in needed:
                    steps.append(MakeClaim(claim_of(stateful_set, template, ordinal, pods.get(ordinal))))
            elif not is_terminating(claim):
                steps += _kept(stateful_set, template, claim, ordinal, pods.get(ordinal))
    return steps


def claim_of(
    stateful_set: StatefulSet, template: PersistentVolumeClaim, ordinal: int, pod: Pod | None
) -> PersistentVolumeClaim:
    """The claim that a template makes for an ordinal."""
    claim = PersistentVolumeClaim()
    claim.spec.CopyFrom(template.spec)
    meta = claim.metadata
    meta.namespace = stateful_set.metadata.namespace
    meta.name = claim_name(stateful_set, template.metadata.name, ordinal)
    meta.labels.update({**template.metadata.labels, **stateful_set.spec.selector.match_labels})
    meta.annotations.update(template.metadata.annotations)
    meta.owner_references.extend(_owners(stateful_set, ordinal, pod))
    return claim


def _kept(
    stateful_set: StatefulSet,
    template: PersistentVolumeClaim,
    claim: PersistentVolumeClaim,
    ordinal: int,
    pod: Pod | None,
) -> Iterable[ClaimStep]:
    if ordinal in ordinals(stateful_set) and storage.is_bound(claim):
        asked = template.spec.resources.requests.get(storage.STORAGE, "0")
        if storage.requested_storage(template) > storage.requested_storage(claim):
            yield GrowClaim(claim, asked)
    policy = stateful_set.spec.persistent_volume_claim_retention_policy
    if not claim.metadata.owner_references and DELETE not in (policy.when_deleted, policy.when_scaled):
        return
    owners = _owners(stateful_set, ordinal, pod)
    if [r.uid for r in _ours(stateful_set, claim, ordinal)] != [r.uid for r in owners]:
        yield OwnClaim(claim, tuple(owners))


def _owners(stateful_set: StatefulSet, ordinal: int, pod: Pod | None) -> list[OwnerReference]:
    """Whose end is the claim's, by the retention policy: the pod of an ordinal that is given up, or the set."""
    policy = stateful_set.spec.persistent_volume_claim_retention_policy
    if ordinal not in ordinals(stateful_set) and policy.when_scaled == DELETE and pod is not None:
        return [owner_reference(pod, controller=False)]
    if policy.when_deleted == DELETE:
        return [owner_reference(stateful_set, controller=False)]
    return []


def _ours(stateful_set: StatefulSet, claim: PersistentVolumeClaim, ordinal: int) -> list[OwnerReference]:
    """References of the set, or of a pod of this ordinal."""
    pod = name_of(stateful_set, ordinal)
    return [r for r in claim.metadata.owner_references if is_ours(r, stateful_set, pod)]


def is_ours(reference: OwnerReference, stateful_set: StatefulSet, pod: str) -> bool:
    """Whether a reference was made for the retention policy."""
    return reference.uid == stateful_set.metadata.uid or (reference.kind, reference.name) == ("Pod", pod)


def add_volumes(pod: Pod, stateful_set: StatefulSet, ordinal: int) -> None:
    """Give a pod a volume for each claim, named as its template, in place of one of this name. In place."""
    templates = [template.metadata.name for template in stateful_set.spec.volume_claim_templates]
    if not templates:
        return
    others = [volume for volume in pod.spec.volumes if volume.name not in templates]
    del pod.spec.volumes[:]
    for name in templates:
        pod.spec.volumes.add(name=name).persistent_volume_claim.claim_name = claim_name(stateful_set, name, ordinal)
    pod.spec.volumes.extend(others)
