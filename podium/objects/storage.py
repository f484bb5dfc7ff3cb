"""What volumes, claims and storage classes mean: size, class, access, and which volume a claim may have.

A claim *fits* a volume that has its class, all its access modes, at least its size and the labels of its selector.
Of several the smallest is taken, so that small claims leave the large volumes to large ones (`smallest_fit`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from podium.errors import BadRequest
from podium.objects import quantity
from podium.objects.selectors import Selector, from_label_selector
from podium.v1.core_pb2 import NodeSelectorTerm, Pod
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim, StorageClass, TopologySelectorTerm

STORAGE = "storage"
ONCE, ONLY_MANY, MANY, ONCE_POD = "ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"
ACCESS_MODES = (ONCE, ONLY_MANY, MANY, ONCE_POD)
SHORT_MODES = {ONCE: "RWO", ONLY_MANY: "ROX", MANY: "RWX", ONCE_POD: "RWOP"}
PENDING, AVAILABLE, BOUND, RELEASED, FAILED, LOST = "Pending", "Available", "Bound", "Released", "Failed", "Lost"
RETAIN, DELETE = "Retain", "Delete"
IMMEDIATE, FIRST_CONSUMER = "Immediate", "WaitForFirstConsumer"

LOCAL_PROVISIONER = "podium.dev/local"
NO_PROVISIONER = "kubernetes.io/no-provisioner"

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
CLAIM_PROTECTION, VOLUME_PROTECTION = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"
LOCAL_DATA = "podium.dev/local-data"
"""Finalizer of a volume whose folder a node has yet to remove."""
LOCAL_MADE = "podium.dev/local-data-made"
"""Annotation of a volume whose folder its node has made: when it is missing from then on, data is missing."""
LOCAL_VOLUMES = "podium.dev/local-volumes"
"""Annotation of a Node: the folder where volumes of podium.dev/local are made by default."""
HOSTNAME = "kubernetes.io/hostname"


class ClaimKey(NamedTuple):
    """A claim's name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def key_of_claim(claim: PersistentVolumeClaim) -> ClaimKey:
    """The claim's name."""
    return ClaimKey(claim.metadata.namespace, claim.metadata.name)


# ---------------------------------------------------------------- sizes and classes


def requested_storage(claim: PersistentVolumeClaim) -> int:
    """Bytes that a claim asks for; 0 when it does not say (or not in a readable way)."""
    return _bytes(claim.spec.resources.requests.get(STORAGE, "0"))


def capacity(volume: PersistentVolume) -> int:
    """Bytes that a volume offers."""
    return _bytes(volume.spec.capacity.get(STORAGE, "0"))


def _bytes(text: str) -> int:
    try:
        return quantity.value(text)
    except BadRequest:  # validation names it; whoever only counts goes on
        return 0


def is_default(cls: StorageClass) -> bool:
    """Whether claims without a class get this one."""
    return cls.metadata.annotations.get(DEFAULT_CLASS) == "true"


def default_class(classes: Iterable[StorageClass]) -> StorageClass | None:
    """The class of claims that name none: of several defaults the newest."""
    defaults = (cls for cls in classes if is_default(cls))
    return max(defaults, key=lambda c: (c.metadata.creation_timestamp.seconds, c.metadata.name), default=None)


def waits_for_consumer(cls: StorageClass | None) -> bool:
    """Whether claims of this class are bound only when a pod that uses them has been given a node."""
    return cls is not None and cls.volume_binding_mode == FIRST_CONSUMER


# ---------------------------------------------------------------- binding


def is_bound(claim: PersistentVolumeClaim) -> bool:
    """Whether a claim has its volume for good."""
    return claim.status.phase == BOUND and bool(claim.spec.volume_name)


def names_claim(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether the volume is this claim's, or kept for one of its name."""
    if not volume.spec.HasField("claim_ref"):
        return False
    ref, meta = volume.spec.claim_ref, claim.metadata
    return (ref.namespace, ref.name) == (meta.namespace, meta.name) and ref.uid in ("", meta.uid)


def belongs_to(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether the volume is this very claim's."""
    return names_claim(volume, claim) and volume.spec.claim_ref.uid == claim.metadata.uid


def is_free(volume: PersistentVolume) -> bool:
    """Whether any claim may have the volume."""
    return not volume.spec.HasField("claim_ref") and not volume.metadata.HasField("deletion_timestamp")


def misfit(volume: PersistentVolume, claim: PersistentVolumeClaim) -> str:
    """Why the volume does not do for the claim, in a few words; empty when it does. Who has it is not asked."""
    spec = volume.spec
    if spec.storage_class_name != claim.spec.storage_class_name:
        return "of another class"
    if capacity(volume) < requested_storage(claim):
        return "too small"
    if not set(claim.spec.access_modes) <= set(spec.access_modes):
        return "without the access mode"
    if (spec.volume_mode or "Filesystem") != (claim.spec.volume_mode or "Filesystem"):
        return "of another volume mode"
    if not selector_of(claim).matches(volume.metadata.labels):
        return "not selected"
    return ""


def selector_of(claim: PersistentVolumeClaim) -> Selector:
    """What labels the claim's volume must have; everything, when it does not say."""
    return from_label_selector(claim.spec.selector) if claim.spec.HasField("selector") else Selector()


def smallest_fit(claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume]) -> PersistentVolume | None:
    """The free volume that a claim should have, or None."""
    fits = (volume for volume in volumes if is_free(volume) and not misfit(volume, claim))
    return min(fits, key=lambda v: (capacity(v), v.metadata.name), default=None)


# ---------------------------------------------------------------- where


def nodes_of(volume: PersistentVolume) -> tuple[str, ...]:
    """Names of the nodes that a volume is tied to, when it says so by their host names; otherwise none."""
    terms = volume.spec.node_affinity.required.node_selector_terms
    return tuple(name for term in terms for name in _named(term))


def _named(term: NodeSelectorTerm) -> Iterable[str]:
    for expression in (*term.match_expressions, *term.match_fields):
        if expression.operator == "In" and expression.key in (HOSTNAME, "metadata.name"):
            yield from expression.values


def is_local_dynamic(volume: PersistentVolume) -> bool:
    """Whether Podium itself made the volume, as a folder of one node."""
    return volume.metadata.annotations.get(PROVISIONED_BY) == LOCAL_PROVISIONER and volume.spec.HasField("local")


def is_condemned(volume: PersistentVolume) -> bool:
    """Whether the volume's node should remove its folder: claim, protection and policy all say so."""
    finalizers = volume.metadata.finalizers
    return (
        volume.metadata.HasField("deletion_timestamp")
        and is_local_dynamic(volume)
        and LOCAL_DATA in finalizers
        and VOLUME_PROTECTION not in finalizers
        and volume.spec.persistent_volume_reclaim_policy == DELETE
        and volume.status.phase == RELEASED
    )


def claims_of(pod: Pod) -> tuple[ClaimKey, ...]:
    """The claims that a pod uses, in order."""
    volumes = pod.spec.volumes
    if not volumes:
        return ()
    namespace = pod.metadata.namespace
    return tuple(
        ClaimKey(namespace, volume.persistent_volume_claim.claim_name)
        for volume in volumes
        if volume.HasField("persistent_volume_claim")
    )


def in_topologies(labels: Mapping[str, str], terms: Iterable[TopologySelectorTerm]) -> bool:
    """Whether a node with these labels is among those that a class allows; without terms all are."""
    listed = list(terms)
    return not listed or any(_in_topology(labels, term) for term in listed)


def _in_topology(labels: Mapping[str, str], term: TopologySelectorTerm) -> bool:

    return all(labels.get(expression.key) in expression.values for expression in term.match_label_expressions)


def where(volume: PersistentVolume) -> str:
    """Where the data is, for people: `node1:/srv/data`, `server:/export`."""
    spec = volume.spec
    if spec.HasField("nfs"):
        return f"{spec.nfs.server}:{spec.nfs.path}"
    if spec.HasField("local"):
        return f"{','.join(nodes_of(volume)) or '<by labels>'}:{spec.local.path}"
    if spec.HasField("host_path"):
        return f"{','.join(nodes_of(volume)) or '<any node>'}:{spec.host_path.path}"
    return ""


def short_modes(modes: Iterable[str]) -> str:
    """`RWO,ROX`."""
    return ",".join(SHORT_MODES.get(mode, mode) for mode in modes)
