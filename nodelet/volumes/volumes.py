"""The volumes of this host's pods, below one folder:

    ROOT/UID/NAME                       a volume's place: a folder, or a mount point
    ROOT/UID/.parts/CONTAINER/NUMBER    a part of a volume (`subPath`), bound for one container's mount

Only root can enter ROOT; containers get at what is bound into them.

What is there says itself whose it is, so that leftovers of any crash are found by the pod's uid. A volume that outlives
its pod (a folder of the host, a claim) is nowhere below: its source only names a path, which is bound into containers.
File system work blocks, so it is done in threads (see `threads`); a pod's own steps follow each other, because its
worker asks for one at a time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from nodelet.runtime.protocol import Mount, PodIdentity
from nodelet.volumes import sub_paths
from nodelet.volumes.mounts import Mounter
from nodelet.volumes.protocol import Prepared, Request, Source, VolumeFault, failure
from nodelet.volumes.sources import source_name
from nodelet.volumes.threads import Threads
from podium.files import make_private_directory
from podium.objects.references import Objects
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import Container, Pod, Volume, VolumeMount

log = get_logger(__name__)

_PARTS = ".parts"


def disk_usage(folder: Path) -> int:
    """Bytes of the blocks that a folder's files take; a file that vanishes meanwhile counts nothing.

    Walked by handles: a folder that is swapped for a link under way leads nowhere else.
    """
    total, seen = 0, set[tuple[int, int]]()
    for name, handle in _entries(folder):
        with contextlib.suppress(OSError):
            found = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_blocks * 512
    return total


def _entries(folder: Path) -> Iterator[tuple[str, int]]:
    with contextlib.suppress(OSError):  # gone, or going
        for _, folders, files, handle in os.fwalk(folder):
            yield from ((name, handle) for name in (*folders, *files))


class HostVolumes:
    """Implements `PodVolumes`; see the module."""

    def __init__(self, root: Path, *, sources: Mapping[str, Source], mounter: Mounter) -> None:
        """Blocks for reading `root`, which is made if need be."""
        make_private_directory(root)
        self._root, self._sources, self._mounter = root.resolve(), sources, mounter
        self._held = {path.name for path in self._root.iterdir()}
        self._prepared: dict[str, dict[str, Prepared]] = {}
        self._threads = Threads()

    def holds(self, uid: str) -> bool:
        """See `PodVolumes`."""
        return uid in self._held

    async def set_up(self, pod: Pod, objects: Objects) -> None:
        """See `PodVolumes`."""
        self._held.add(pod.metadata.uid)
        await self._threads.run(pod.metadata.uid, self._set_up_all, pod, objects)

    def _set_up_all(self, pod: Pod, objects: Objects) -> None:
        """Each of them, whatever befell another: what one lacks must not keep the others from following a change."""
        folder = self._folder(pod.metadata.uid)
        folder.mkdir(mode=0o700, exist_ok=True)
        prepared, faults = self._prepared.setdefault(pod.metadata.uid, {}), []
        for volume in pod.spec.volumes:
            try:
                prepared[volume.name] = self._set_up_one(pod, volume, objects, folder)
            except VolumeFault as fault:
                faults.append(str(fault))
        if faults:
            raise VolumeFault("; ".join(faults))

    def _set_up_one(self, pod: Pod, volume: Volume, objects: Objects, folder: Path) -> Prepared:
        request = Request(pod=pod, volume=volume, objects=objects, place=folder / volume.name)
        source = self._sources.get(source_name(volume))
        if source is None:
            raise VolumeFault(failure(volume, "this nodelet is too old for its source"))
        try:
            return source.set_up(request)
        except (OSError, VolumeFault) as error:
            raise VolumeFault(failure(volume, str(error))) from error

    async def mounts(self, pod: Pod, container: Container) -> tuple[Mount, ...]:
        """See `PodVolumes`."""
        if not container.volume_mounts:
            return ()
        try:
            key = f"{pod.metadata.uid}/{container.name}"
            return await self._threads.run(key, self._mounts, pod.metadata.uid, container)
        except OSError as error:
            raise VolumeFault(f"could not mount the volumes of container {container.name}: {error}") from error

    def _mounts(self, uid: str, container: Container) -> tuple[Mount, ...]:
        prepared = self._prepared.get(uid, {})
        parts = self._folder(uid) / _PARTS / container.name
        return tuple(
            self._mount(prepared[mount.name], mount, parts / str(number))
            for number, mount in enumerate(container.volume_mounts)
        )

    def _mount(self, prepared: Prepared, mount: VolumeMount, part: Path) -> Mount:
        source, read_only = prepared.path, mount.read_only or prepared.read_only
        if source is None:
            return _driven(prepared, mount, read_only)
        if mount.sub_path:
            try:
                sub_paths.bind(source, mount.sub_path, part, self._mounter, create=not prepared.read_only)
            except VolumeFault as fault:
                raise VolumeFault(f'volume "{mount.name}": {fault}') from fault
            source = part
        return Mount(source=str(source), target=mount.mount_path, read_only=read_only)

    async def used(self, uid: str, volume: str) -> int:
        """Bytes that a volume takes on disk; 0 where it can't be read."""
        with contextlib.suppress(VolumeFault):
            return await self._threads.run(f"used {uid}", disk_usage, self._folder(uid) / volume)
        return 0

    # ------------------------------------------------------------ taking down

    async def tear_down(self, pod: PodIdentity) -> None:
        """See `PodVolumes`."""
        await self._remove(pod.uid)

    async def retain(self, pods: Collection[str]) -> None:
        """See `PodVolumes`."""
        for uid in self._held - set(pods):
            log.info("removing volumes of a pod that is gone", uid=uid)
            await self._remove(uid)

    async def _remove(self, uid: str) -> None:
        try:
            await self._threads.run(uid, self._remove_tree, self._folder(uid))
        except OSError as error:
            raise VolumeFault(f"could not remove the volumes of pod {uid}: {error}") from error
        self._held.discard(uid)
        self._prepared.pop(uid, None)

    def _remove_tree(self, folder: Path) -> None:
        for point in self._mounter.mounted_below(folder):
            self._mounter.unmount(point)
        if left := self._mounter.mounted_below(folder):
            raise OSError(f"still mounted: {left[0]}")
        if os.path.lexists(folder):
            shutil.rmtree(folder)

    def _folder(self, uid: str) -> Path:
        if not uid or "/" in uid or uid in (".", ".."):
            raise VolumeFault(f'"{uid}" is no uid of a pod')
        return self._root / uid


def _driven(prepared: Prepared, mount: VolumeMount, read_only: bool) -> Mount:
    """What the engine mounts by itself, which it can only do as a whole."""
    if mount.sub_path:
        raise VolumeFault(f'volume "{mount.name}": subPath is not possible with a volume that the engine mounts (nfs)')
    return Mount(target=mount.mount_path, read_only=read_only, volume=prepared.driver)
