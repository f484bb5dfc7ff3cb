"""What a node says of a volume of its own, taken into the PersistentVolume. Pure.

Of the object:

made      its folder is there: from now on, when it is missing, data is missing
gone      nothing is left of it: the finalizer that waited for this goes, and the object with it

Of its status, by `merge_status`:

failure   it could not be removed: the status says why, until it could
used      how much is in it, in steps that do not change all the time
"""

from __future__ import annotations

from podium.errors import Conflict
from podium.objects import storage
from podium.objects.quantity import from_bytes
from podium.v1.node_session_pb2 import VolumeState
from podium.v1.storage_pb2 import PersistentVolume

DELETE_FAILED = "VolumeFailedDelete"
STEPS, LEAST_STEP = 100, 1024 * 1024


class NotIts(Conflict):
    """The node speaks of a volume that is not its own, or of one that was there before."""


def merge(volume: PersistentVolume, state: VolumeState, node: str) -> None:
    """Take a report in, in place.

    Raises:
        NotIts: The volume is not this node's, or another one.
    """
    _check(volume, state, node)
    if not storage.is_local_dynamic(volume):
        return
    if state.gone and storage.is_condemned(volume):
        volume.metadata.finalizers.remove(storage.LOCAL_DATA)
    elif state.made:
        volume.metadata.annotations[storage.LOCAL_MADE] = "true"


def merge_status(volume: PersistentVolume, state: VolumeState, node: str) -> None:
    """As `merge`, of the status."""
    _check(volume, state, node)
    if state.failure:
        volume.status.reason, volume.status.message = DELETE_FAILED, f"node {node}: {state.failure}"
    if state.used_bytes or state.free_bytes:
        step = max(storage.capacity(volume) // STEPS, LEAST_STEP)
        volume.status.used, volume.status.free = _stepped(state.used_bytes, step), _stepped(state.free_bytes, step)


def _stepped(count: int, step: int) -> str:
    """So much, rounded up to whole Mi in such steps."""
    whole = -(-count // step) * step
    return from_bytes(-(-whole // LEAST_STEP) * LEAST_STEP)


def _check(volume: PersistentVolume, state: VolumeState, node: str) -> None:
    if volume.metadata.uid != state.uid or node not in storage.nodes_of(volume):
        raise NotIts(f'volume "{state.name}" is not on node {node}')
