"""hostPath: a file or folder of the node itself. It is there before the pod, or made for it, and stays after it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from nodelet.volumes.protocol import Prepared, Request, VolumeFault
from podium.v1.core_pb2 import HostPathVolumeSource

_FOLDER_MODE, _FILE_MODE = 0o755, 0o644

_MUST_BE: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


class HostPath:
    """Implements `Source`."""

    def set_up(self, request: Request) -> Prepared:
        """The path, of the type asked for; what may be made is made (a folder's parents, too, but not a file's)."""
        return Prepared(path=host_path(request.volume.host_path))


def host_path(source: HostPathVolumeSource) -> Path:
    """The path that a source names, as its type asks for.

    Raises:
        VolumeFault: It is of another type.
        OSError: It cannot be made.
    """
    path, type_ = Path(source.path), source.type
    if not path.exists():
        _make(path, type_)
    if type_:
        fits, word = _MUST_BE[type_]
        if not fits(path.stat().st_mode):
            raise VolumeFault(f"hostPath type check failed: {path} is not {word}")
    return path


def _make(path: Path, type_: str) -> None:
    if type_ in ("", "DirectoryOrCreate"):
        path.mkdir(parents=True)
        path.chmod(_FOLDER_MODE)
    elif type_ == "FileOrCreate":
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, _FILE_MODE)
        os.fchmod(handle, _FILE_MODE)
        os.close(handle)
    else:
        raise VolumeFault(f"hostPath type check failed: {path} is not {_MUST_BE[type_][1]}, there is nothing there")
