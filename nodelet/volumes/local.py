"""Volumes that Podium made on this host: a folder each, made when a pod first uses it, removed when the master says so.

    ROOT/pvc-UID              the data; ROOT is the class's `path`, or the nodelet's own folder
    ROOT/.removing-pvc-UID    data on its way out: it is renamed first, so that half of it is never taken for a volume

Everything here blocks and is for threads. A folder that the master knows to have been made, and that is not there,
is not made again: an empty volume in place of a lost one, or of a disk that is not mounted, is worse than a pod that
waits.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from nodelet.volumes.mounts import Mounter
from nodelet.volumes.protocol import VolumeFault
from podium.files import sync_directory
from podium.objects import storage
from podium.v1.storage_pb2 import PersistentVolume

OPEN_TO_ALL = 0o777
_REMOVING = ".removing-"
_GROUP_FILE, _GROUP_FOLDER = 0o660, 0o2770


class LocalFolders:
    """See the module."""

    def __init__(self, mounter: Mounter) -> None:
        self._mounter = mounter

    def find(self, volume: PersistentVolume) -> Path:
        """The folder of a volume that a person made.

        Raises:
            VolumeFault: It is not there, or is no folder.
        """
        path = Path(volume.spec.local.path)
        if not path.is_dir():
            what = "is no folder" if path.exists() else "is not on this host"
            raise VolumeFault(f'{path} of PersistentVolume "{volume.metadata.name}" {what}')
        return path

    def make(self, volume: PersistentVolume) -> Path:
        """The folder of a volume that Podium made or is to make; whoever runs in a pod may write there.

        Raises:
            VolumeFault: It was there and is gone.
            OSError: It cannot be made.
        """
        path = _own_path(volume)
        if path.is_dir():
            return path
        if storage.LOCAL_MADE in volume.metadata.annotations:
            raise VolumeFault(
                f'{path} of PersistentVolume "{volume.metadata.name}" is gone: its data is lost, or its disk is not '
                f"mounted; restore it, make it empty by hand, or delete the claim"
            )
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        path.mkdir()
        path.chmod(OPEN_TO_ALL)
        sync_directory(path.parent)
        return path

    def remove(self, volume: PersistentVolume) -> None:
        """Have nothing of a volume's folder left. Safe to repeat.

        Raises:
            VolumeFault: Something is mounted in it, or it is no folder of Podium's.
            OSError: It cannot be removed.
        """
        path = _own_path(volume)
        aside = path.with_name(_REMOVING + path.name)
        if mounted := [*self._mounter.mounted_below(path), *self._mounter.mounted_below(aside)]:
            raise VolumeFault(f"something is mounted at {mounted[0]}: unmount it")
        if path.is_symlink():
            raise VolumeFault(f"{path} is a link: remove it by hand")
        if aside.exists():
            shutil.rmtree(aside)
        if path.exists():
            path.rename(aside)
            shutil.rmtree(aside)
        if path.parent.is_dir():
            sync_directory(path.parent)


def _own_path(volume: PersistentVolume) -> Path:
    """Where the volume lies, when that is a place in which Podium makes volumes."""
    path, name = Path(volume.spec.local.path), volume.metadata.name
    if path.name != name or not name.startswith("pvc-") or not path.is_absolute() or ".." in path.parts:
        raise VolumeFault(f'{path} is not where PersistentVolume "{name}" would have been made')
    if os.path.dirname(path) == "/":
        raise VolumeFault(f"{path} is in the root of the file system")
    return path


def give_to(path: Path, group: int) -> None:
    """Let a group own a folder and all in it, as `fsGroup` asks; nothing is done where the folder is its already.

    The folder itself comes last: whoever is interrupted begins anew.
    """
    found = path.stat()
    if found.st_gid == group and found.st_mode & stat.S_ISGID:
        return
    for parent, _, names in os.walk(path, topdown=False):
        for name in names:
            _give(Path(parent) / name, group, _GROUP_FILE)
        _give(Path(parent), group, _GROUP_FOLDER)


def _give(path: Path, group: int, bits: int) -> None:
    if not path.is_symlink():
        os.chown(path, -1, group)
        path.chmod(stat.S_IMODE(path.stat().st_mode) | bits)
