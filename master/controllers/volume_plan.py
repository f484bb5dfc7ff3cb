"""What a volume needs next. Pure, like `claim_plan`: one volume and its surroundings in, one action out.

    no claim ──────► Available
    its claim is there ──► Bound
    its claim is gone ───► Released ─┬─ Retain ─► rests so, with its data, until somebody deletes or frees it
                                     └─ Delete ─► the object is deleted, and held by its finalizer until ─┐
                                                                                                         │
      a node says that the folder is gone   (master.dispatcher removes the finalizer)  ◄─────────────────┤
      or the node itself is gone for good: its Node object was deleted                 ◄─────────────────┘

The folder of a volume is removed only when claim, protection and policy all say so: `storage.is_condemned` is what
the dispatcher tells a node to remove.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from podium.objects import conditions, storage
from podium.objects.meta import is_terminating
from podium.v1.core_pb2 import Node
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim

WAITS_FOR_NODE, DELETE_FAILED, NODE_GONE = "WaitingForNode", "VolumeFailedDelete", "NodeGone"


class VolumeSurroundings(Protocol):
    """What a volume can see."""

    def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None: ...
    def node(self, name: str) -> Node | None: ...


@dataclass(frozen=True, slots=True)
class Settle:
    """Write the phase, and why; with `warning` it is an event too."""

    phase: str
    reason: str = ""
    message: str = ""
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Free:
    """Take the claim out that Podium wrote in: it has another volume now."""


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete the object."""


@dataclass(frozen=True, slots=True)
class Unhold:
    """Take a finalizer off. `warning` says what is left behind, if anything is."""

    finalizer: str
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing to do."""


VolumeAction = Settle | Free | Remove | Unhold | Leave


def plan_volume(volume: PersistentVolume, around: VolumeSurroundings) -> VolumeAction:
    """The next step for a volume."""
    if not volume.spec.HasField("claim_ref"):
        return _without_claim(volume, around)
    ref = volume.spec.claim_ref
    claim = around.claim(ref.namespace, ref.name)
    if not ref.uid:
        if is_terminating(volume):
            return _leaving(volume, around)
        return _settle(volume, Settle(storage.AVAILABLE, message=f"kept for claim {ref.namespace}/{ref.name}"))
    if claim is None or claim.metadata.uid != ref.uid:
        return _released(volume, around)
    if claim.spec.volume_name == volume.metadata.name:
        return _settle(volume, _bound(volume, around))
    if not claim.spec.volume_name:
        return Leave()  # the claim's own controller completes it
    return _spare(volume, around)


def _settle(volume: PersistentVolume, wanted: Settle) -> VolumeAction:
    status = volume.status
    same = (status.phase, status.reason, status.message) == (wanted.phase, wanted.reason, wanted.message)
    return Leave() if same else wanted


def _bound(volume: PersistentVolume, around: VolumeSurroundings) -> Settle:
    names = storage.nodes_of(volume)
    if not names or any(around.node(name) is not None for name in names):
        return Settle(storage.BOUND)
    return Settle(storage.BOUND, NODE_GONE, f"its data is on node {', '.join(names)}, which is not there", True)


def _without_claim(volume: PersistentVolume, around: VolumeSurroundings) -> VolumeAction:
    return _leaving(volume, around) if is_terminating(volume) else _settle(volume, Settle(storage.AVAILABLE))


def _spare(volume: PersistentVolume, around: VolumeSurroundings) -> VolumeAction:
    """The claim has another volume."""
    if storage.is_local_dynamic(volume):
        return _released(volume, around)
    if storage.BOUND_BY_CONTROLLER in volume.metadata.annotations:
        return Free()
    ref = volume.spec.claim_ref
    return _settle(
        volume, Settle(storage.AVAILABLE, "ClaimHasAnother", f"claim {ref.namespace}/{ref.name} has another volume")
    )


def _released(volume: PersistentVolume, around: VolumeSurroundings) -> VolumeAction:
    if is_terminating(volume):
        return _leaving(volume, around)
    ref = volume.spec.claim_ref
    gone = f"claim {ref.namespace}/{ref.name} is gone"
    if volume.spec.persistent_volume_reclaim_policy != storage.DELETE:
        return _settle(volume, Settle(storage.RELEASED, message=f"{gone}; the data is kept"))
    if storage.is_local_dynamic(volume):
        if volume.status.phase != storage.RELEASED:
            return Settle(storage.RELEASED, message=gone)
        return Remove()
    if storage.PROVISIONED_BY in volume.metadata.annotations:
        return _settle(volume, Settle(storage.RELEASED, message=f"{gone}; its provisioner removes the volume"))
    message = f"{gone}; Podium removes only volumes that it made: remove the data, then delete this object"
    return _settle(volume, Settle(storage.FAILED, DELETE_FAILED, message, True))


# ---------------------------------------------------------------- being deleted


def _leaving(volume: PersistentVolume, around: VolumeSurroundings) -> VolumeAction:
    held = volume.metadata.finalizers
    if volume.spec.HasField("claim_ref") and volume.status.phase not in (storage.RELEASED, storage.FAILED):
        return Settle(storage.RELEASED, message="its claim is gone")
    if storage.VOLUME_PROTECTION in held:
        return Unhold(storage.VOLUME_PROTECTION)
    if storage.LOCAL_DATA not in held:
        return Leave()
    if not storage.is_condemned(volume):
        return Unhold(storage.LOCAL_DATA)
    return _awaiting_node(volume, around)


def _awaiting_node(volume: PersistentVolume, around: VolumeSurroundings) -> VolumeAction:
    names, path = storage.nodes_of(volume), volume.spec.local.path
    node = next((found for name in names if (found := around.node(name)) is not None), None)
    listed = ", ".join(names) or "<unknown>"
    if node is None:
        return Unhold(storage.LOCAL_DATA, f"node {listed} is gone: {path} could not be removed there")
    if volume.status.reason == DELETE_FAILED:
        return Leave()  # the node's own words stay
    away = not conditions.is_true(node.status.conditions, "Ready")
    hint = " (it is not ready; if it never comes back, delete its Node object)" if away else ""
    message = f"waits for node {listed}{hint} to remove {path}"
    return _settle(volume, Settle(storage.RELEASED, WAITS_FOR_NODE, message, away))
