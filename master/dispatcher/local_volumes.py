"""What a node says of a volume of its own, taken into the PersistentVolume. Pure.

made      its folder is there: from now on, when it is missing, data is missing
gone      nothing is left of it: the finalizer that waited for this goes, and the object with it
failure   it could not be removed: the status says why, until it could
"""

from __future__ import annotations

from podium.errors import Conflict
from podium.objects import storage
from podium.v1.node_session_pb2 import VolumeState
from podium.v1.storage_pb2 import PersistentVolume

DELETE_FAILED = "VolumeFailedDelete"


class NotIts(Conflict):
    """The node speaks of a volume that is not its own, or of one that was there before."""


def merge(volume: PersistentVolume, state: VolumeState, node: str) -> None:
    """Take a report in, in place.

    Raises:
        NotIts: The volume is not this node's, or another one.
    """
    if volume.metadata.uid != state.uid or not storage.is_local_dynamic(volume) or node not in storage.nodes_of(volume):
        raise NotIts(f'volume "{state.name}" is not on node {node}')
    if state.failure:
        volume.status.reason, volume.status.message = DELETE_FAILED, f"node {node}: {state.failure}"
    elif state.gone and storage.is_condemned(volume):
        volume.metadata.finalizers.remove(storage.LOCAL_DATA)
    elif state.made:
        volume.metadata.annotations[storage.LOCAL_MADE] = "true"
