"""What a claim needs next. Pure: one claim and its surroundings in, one action out; the controller acts and asks again.

    not bound ─┬─ names a volume ────────────► take it, if it fits and is free
               ├─ a volume is kept for it ───► take it
               ├─ a free volume fits ────────► take the smallest (not while the class waits for a consumer)
               ├─ podium.dev/local ──────────► make a volume, on the node that was selected, or on any that may have it
               └─ otherwise ─────────────────► rest, and say why
    bound ─────┬─ its volume is gone ────────► lost
               ├─ asks for more ─────────────► grow the volume, when its class allows
               └─ otherwise ─────────────────► rest
    deleted ───── no pod on a node uses it ──► let it go

Taking is two writes: the volume's `claimRef` first, then the claim. Whoever dies between them leaves a volume that is
the claim's already, and the next look completes it. A volume that is made names its claim from the first moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from podium.objects import conditions, storage
from podium.objects.kinds import key_of
from podium.objects.meta import is_terminating
from podium.v1.core_pb2 import Node, ObjectReference
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim, StorageClass

CLAIM_BOUND, RESIZING, DELETING = "Bound", "Resizing", "Deleting"
DEFAULT_FOLDER = "/var/lib/podium/nodelet/local-volumes"
"""Where a nodelet with default settings keeps volumes; for nodes that do not tell."""


class Surroundings(Protocol):
    """What a claim can see."""

    def volume(self, name: str) -> PersistentVolume | None: ...
    def cls(self, name: str) -> StorageClass | None: ...
    def node(self, name: str) -> Node | None: ...
    def default_class(self) -> StorageClass | None: ...

    def kept_for(self, claim: PersistentVolumeClaim) -> Sequence[PersistentVolume]:
        """Volumes whose `claimRef` names the claim."""
        ...

    def of_class(self, name: str) -> Sequence[PersistentVolume]:
        """Every volume of a class."""
        ...

    def nodes(self) -> Sequence[Node]: ...

    def local_volumes_on(self, node: str) -> int:
        """How many volumes Podium made there."""
        ...

    def users(self, claim: PersistentVolumeClaim) -> Sequence[str]:
        """Names of pods on a node, and not over, that use the claim."""
        ...

    def consumer(self, claim: PersistentVolumeClaim) -> str:
        """The node of such a pod; empty when there is none."""
        ...

    def reaches(self, node: Node, volume: PersistentVolume) -> bool:
        """Whether pods on the node can use the volume."""
        ...


@dataclass(frozen=True, slots=True)
class Adopt:
    """Give the claim the default class, which was not there when it was made."""

    cls: str


@dataclass(frozen=True, slots=True)
class Take:
    """Write the claim into the volume."""

    volume: PersistentVolume


@dataclass(frozen=True, slots=True)
class Make:
    """Create this volume, on `node`."""

    volume: PersistentVolume
    node: str


@dataclass(frozen=True, slots=True)
class Complete:
    """The volume is the claim's: write it into the claim, and its size into the status."""

    volume: PersistentVolume


@dataclass(frozen=True, slots=True)
class Grow:
    """Make the volume as large as the claim asks for."""

    volume: PersistentVolume
    size: str


@dataclass(frozen=True, slots=True)
class Deselect:
    """The selected node cannot have the volume: let the scheduler choose again."""

    node: str
    message: str


@dataclass(frozen=True, slots=True)
class Lose:
    """The volume is gone."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Release:
    """Take the protection off a claim that is being deleted."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do until something changes. `reason` and `message` say what is waited for.

    Attributes:
        reason: Empty when all is as it should be.
        message: For people.
        normal: Whether waiting is in the order of things.
        about: The condition that says it: `Bound`, `Resizing` or `Deleting`.
    """

    reason: str = ""
    message: str = ""
    normal: bool = False
    about: str = CLAIM_BOUND


ClaimAction = Adopt | Take | Make | Complete | Grow | Deselect | Lose | Release | Rest


def plan_claim(claim: PersistentVolumeClaim, around: Surroundings) -> ClaimAction:
    """The next step for a claim."""
    if is_terminating(claim):
        return _leaving(claim, around)
    if claim.status.phase in (storage.BOUND, storage.LOST):
        return _bound(claim, around)
    if not claim.spec.HasField("storage_class_name"):
        default = around.default_class()
        if default is not None:
            return Adopt(default.metadata.name)
    return _unbound(claim, around)


def _leaving(claim: PersistentVolumeClaim, around: Surroundings) -> ClaimAction:
    if storage.CLAIM_PROTECTION not in claim.metadata.finalizers:
        return Rest()
    users = around.users(claim)
    if not users:
        return Release()
    return Rest("InUse", f"is deleted when no pod uses it any more; now used by {_listed(users)}", True, DELETING)


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(sorted(names)[:most]) + more


# ---------------------------------------------------------------- bound


def _bound(claim: PersistentVolumeClaim, around: Surroundings) -> ClaimAction:
    name = claim.spec.volume_name
    volume = around.volume(name)
    if volume is None:
        return _lost(claim, "ClaimLost", f"bound to PersistentVolume {name}, which is gone, and its data with it")
    if not storage.belongs_to(volume, claim):
        if storage.is_free(volume):
            return Take(volume)
        return _lost(claim, "ClaimMisbound", f"bound to PersistentVolume {name}, which another claim has")
    if not _is_complete(claim, volume):
        return Complete(volume)
    if storage.requested_storage(claim) > storage.capacity(volume):
        return _growth(claim, volume, around)
    return Rest()


def _lost(claim: PersistentVolumeClaim, reason: str, message: str) -> ClaimAction:
    return Rest(reason, message) if claim.status.phase == storage.LOST else Lose(reason, message)


def _is_complete(claim: PersistentVolumeClaim, volume: PersistentVolume) -> bool:
    status = claim.status
    return (
        claim.spec.volume_name == volume.metadata.name
        and status.phase == storage.BOUND
        and dict(status.capacity) == dict(volume.spec.capacity)
        and list(status.access_modes) == list(volume.spec.access_modes)
        and conditions.is_true(status.conditions, CLAIM_BOUND)
    )


def _growth(claim: PersistentVolumeClaim, volume: PersistentVolume, around: Surroundings) -> ClaimAction:
    cls = around.cls(claim.spec.storage_class_name)
    asked = claim.spec.resources.requests[storage.STORAGE]
    if cls is None or not cls.allow_volume_expansion:
        name = claim.spec.storage_class_name
        return Rest(
            "ExpansionNotAllowed",
            f'asks for {asked}; storage class "{name}" does not allow volumes to grow',
            about=RESIZING,
        )
    if storage.is_local_dynamic(volume):
        return Grow(volume, asked)
    name = volume.metadata.name
    return Rest(
        "ExternalExpanding",
        f"asks for {asked}; Podium cannot make PersistentVolume {name} larger: do it where it lies, then set the "
        "volume's spec.capacity",
        about=RESIZING,
    )


# ---------------------------------------------------------------- not bound yet


def _unbound(claim: PersistentVolumeClaim, around: Surroundings) -> ClaimAction:
    if claim.spec.volume_name:
        return _named(claim, around)
    for volume in around.kept_for(claim):
        if storage.belongs_to(volume, claim):
            return Complete(volume)
        if not is_terminating(volume):
            misfit = storage.misfit(volume, claim)
            return Take(volume) if not misfit else _mismatch(volume, misfit)
    name = claim.spec.storage_class_name
    cls = around.cls(name) if name else None
    volumes = around.of_class(name)
    delayed = storage.waits_for_consumer(cls)
    node = around.node(around.consumer(claim)) if delayed else None
    if not delayed or node is not None:
        fit = storage.smallest_fit(claim, (v for v in volumes if node is None or around.reaches(node, v)))
        if fit is not None:
            return Take(fit)
    if not name:
        return Rest("FailedBinding", f"{why_none(claim, volumes)}, and the claim has no storage class to make one")
    if cls is None:
        return Rest("ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found')
    return _provision(claim, cls, volumes, around)


def _named(claim: PersistentVolumeClaim, around: Surroundings) -> ClaimAction:
    name = claim.spec.volume_name
    volume = around.volume(name)
    if volume is None:
        return Rest("FailedBinding", f'persistentvolume "{name}" not found')
    if storage.belongs_to(volume, claim):
        return Complete(volume)
    if is_terminating(volume):
        return Rest("FailedBinding", f'persistentvolume "{name}" is being deleted')
    if not storage.is_free(volume) and not storage.names_claim(volume, claim):
        return Rest("FailedBinding", f'volume "{name}" already bound to a different claim')
    misfit = storage.misfit(volume, claim)
    return Take(volume) if not misfit else _mismatch(volume, misfit)


def _mismatch(volume: PersistentVolume, misfit: str) -> Rest:
    return Rest("VolumeMismatch", f'cannot bind to requested volume "{volume.metadata.name}": it is {misfit}')


def why_none(claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume]) -> str:
    """Why no volume of the claim's class does, counted: `no persistent volume is available (2 too small, 1 in use)`."""
    reasons = Counter(_why_not(volume, claim) for volume in volumes)
    listed = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return f"no persistent volume is available{f' ({listed})' if listed else ' for this claim'}"


def _why_not(volume: PersistentVolume, claim: PersistentVolumeClaim) -> str:
    return storage.misfit(volume, claim) or ("out of reach" if storage.is_free(volume) else "in use")


# ---------------------------------------------------------------- making a volume


def _provision(
    claim: PersistentVolumeClaim, cls: StorageClass, volumes: Sequence[PersistentVolume], around: Surroundings
) -> ClaimAction:
    selected = claim.metadata.annotations.get(storage.SELECTED_NODE, "") or around.consumer(claim)
    delayed = storage.waits_for_consumer(cls)
    problem = _unprovidable(claim) if cls.provisioner == storage.LOCAL_PROVISIONER else ""
    if problem and storage.smallest_fit(claim, volumes) is None:
        return Rest("ProvisioningFailed", problem)
    if delayed and not selected:
        message = "waiting for first consumer to be created before binding"
        return Rest("WaitForFirstConsumer", message, normal=True)
    if cls.provisioner == storage.NO_PROVISIONER:
        where = f" on node {selected}" if selected else ""
        return Rest("FailedBinding", f'{why_none(claim, volumes)}{where}, and class "{cls.metadata.name}" makes none')
    if cls.provisioner != storage.LOCAL_PROVISIONER:
        message = f'waiting for a volume to be created by external provisioner "{cls.provisioner}"'
        return Rest("ExternalProvisioning", message, normal=True)
    if problem:
        return Rest("ProvisioningFailed", problem)
    return _make_on(claim, cls, selected, around) if delayed else _make_anywhere(claim, cls, around)


def _unprovidable(claim: PersistentVolumeClaim) -> str:
    if claim.spec.HasField("selector"):
        return "a volume is not made for a claim with a selector: one that it selects must be there"
    shared = [m for m in claim.spec.access_modes if m in (storage.MANY, storage.ONLY_MANY)]
    if shared:
        return f"volumes of {storage.LOCAL_PROVISIONER} are on one node: {shared[0]} is not possible, ReadWriteOnce is"
    return ""


def _make_on(claim: PersistentVolumeClaim, cls: StorageClass, name: str, around: Surroundings) -> ClaimAction:
    node = around.node(name)
    if node is None:
        return _elsewhere(claim, name, f"node {name}, which was selected for the volume, is gone")
    if not storage.in_topologies(node.metadata.labels, cls.allowed_topologies):
        return _elsewhere(claim, name, f'class "{cls.metadata.name}" allows no volume on node {name}')
    return Make(provisioned(claim, cls, node), name)


def _elsewhere(claim: PersistentVolumeClaim, node: str, message: str) -> ClaimAction:
    if storage.SELECTED_NODE in claim.metadata.annotations:
        return Deselect(node, message)
    return Rest("ProvisioningFailed", message)


def _make_anywhere(claim: PersistentVolumeClaim, cls: StorageClass, around: Surroundings) -> ClaimAction:
    able = [n for n in around.nodes() if storage.in_topologies(n.metadata.labels, cls.allowed_topologies)]
    ready = [n for n in able if is_open(n)]
    if not ready:
        return Rest("ProvisioningFailed", f"none of {len(able)} nodes where the volume may be is ready for it")
    node = min(ready, key=lambda n: (around.local_volumes_on(n.metadata.name), n.metadata.name))
    return Make(provisioned(claim, cls, node), node.metadata.name)


def is_open(node: Node) -> bool:
    """Whether new pods may come to the node."""
    return conditions.is_true(node.status.conditions, "Ready") and not node.spec.unschedulable


def provisioned(claim: PersistentVolumeClaim, cls: StorageClass, node: Node) -> PersistentVolume:
    """The volume that podium.dev/local makes for a claim on a node. The same claim always gets the same name."""
    volume = PersistentVolume()
    meta, spec = volume.metadata, volume.spec
    meta.name = f"pvc-{claim.metadata.uid}"
    meta.annotations[storage.PROVISIONED_BY] = storage.LOCAL_PROVISIONER
    meta.finalizers.append(storage.LOCAL_DATA)
    spec.capacity[storage.STORAGE] = claim.spec.resources.requests[storage.STORAGE]
    spec.access_modes.extend(claim.spec.access_modes)
    spec.claim_ref.CopyFrom(reference(claim))
    spec.persistent_volume_reclaim_policy = cls.reclaim_policy or storage.DELETE
    spec.storage_class_name = cls.metadata.name
    host = node.metadata.labels.get(storage.HOSTNAME, node.metadata.name)
    term = spec.node_affinity.required.node_selector_terms.add()
    term.match_expressions.add(key=storage.HOSTNAME, operator="In", values=[host])
    folder = cls.parameters.get("path") or node.metadata.annotations.get(storage.LOCAL_VOLUMES) or DEFAULT_FOLDER
    spec.local.path = f"{folder.rstrip('/')}/{meta.name}"
    return volume


def reference(claim: PersistentVolumeClaim) -> ObjectReference:
    """How a volume names its claim."""
    kind, namespace, name = key_of(claim)
    return ObjectReference(
        api_version="v1", kind=kind, namespace=namespace, name=name, uid=claim.metadata.uid,
        resource_version=claim.metadata.resource_version,
    )  # fmt: skip
