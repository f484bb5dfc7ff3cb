"""persistentVolumeClaim: the volume that a claim of the pod's namespace is bound to.

The volume arrives with the assignments, once its claim is bound; until then the pod waits, and says for what. What a
claim that asks for nothing but ReadOnlyMany is bound to is mounted read-only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nodelet.volumes.host_path import host_path
from nodelet.volumes.local import LocalFolders, give_to
from nodelet.volumes.nfs import nfs_volume
from nodelet.volumes.protocol import Prepared, Request, VolumeFault
from podium.objects import storage
from podium.objects.references import claim_key
from podium.objects.storage import ClaimKey
from podium.v1.storage_pb2 import PersistentVolume

Made = Callable[[PersistentVolume], None]
"""Called from a thread, with a volume whose folder is there."""


class ClaimSource:
    """Implements `Source`."""

    def __init__(self, folders: LocalFolders, made: Made) -> None:
        self._folders, self._made = folders, made

    def set_up(self, request: Request) -> Prepared:
        """The volume's folder, or what mounts it."""
        source = request.volume.persistent_volume_claim
        key = ClaimKey(request.pod.metadata.namespace, source.claim_name)
        volume: PersistentVolume | None = request.objects.get(claim_key(key))
        if volume is None:
            raise VolumeFault(f'persistentvolumeclaim "{source.claim_name}" is not bound yet, or not there')
        read_only = source.read_only or list(volume.spec.access_modes) == [storage.ONLY_MANY]
        if volume.spec.HasField("nfs"):
            nfs = volume.spec.nfs
            driver = nfs_volume(nfs.server, nfs.path, volume.spec.mount_options, read_only=nfs.read_only)
            return Prepared(driver=driver, read_only=read_only or nfs.read_only)
        if volume.spec.HasField("host_path"):
            return Prepared(path=host_path(volume.spec.host_path), read_only=read_only)
        return Prepared(path=self._folder(volume, request.fs_group), read_only=read_only)

    def _folder(self, volume: PersistentVolume, group: int | None) -> Path:
        if not volume.spec.HasField("local"):
            raise VolumeFault(f'this nodelet is too old for PersistentVolume "{volume.metadata.name}"')
        made = storage.is_local_dynamic(volume)
        path = self._folders.make(volume) if made else self._folders.find(volume)
        if group is not None:
            give_to(path, group)
        if made and storage.LOCAL_MADE not in volume.metadata.annotations:
            self._made(volume)
        return path
