"""A part of a volume in a container (`subPath`), safe against links that lead out of it.

Whoever writes to a volume may put a link where a part is expected, and swap it at any moment. So a path is first
resolved and checked to stay inside; then walked from the volume's root, component by component, following no link;
and what that ends at, whatever its name means by then, is bound to a place of our own, which is what the engine mounts.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from nodelet.volumes.mounts import Mounter
from nodelet.volumes.protocol import VolumeFault

_WALK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER_MODE = 0o755


def bind(root: Path, sub_path: str, place: Path, mounter: Mounter, *, create: bool) -> None:
    """Bind a volume's part to a place. Blocks.

    Args:
        root: The volume.
        sub_path: Relative; a folder that is not there is made with `create`.
        place: Made anew, a file or a folder as the part is.
        mounter: Binds.
        create: Whether the volume may be written to.

    Raises:
        VolumeFault: The part is not there, or not inside.
        OSError: The kernel refused.
    """
    handle = open_inside(root, sub_path, create=create)
    try:
        _make_place(place, mounter, folder=stat.S_ISDIR(os.fstat(handle).st_mode))
        mounter.bind(handle, place)
    finally:
        os.close(handle)


def open_inside(root: Path, sub_path: str, *, create: bool) -> int:
    """A handle (O_PATH) on a part of a volume, wherever its links lead inside it.

    Raises:
        VolumeFault: It is not there, or leads outside.
    """
    if os.path.isabs(sub_path) or ".." in Path(sub_path).parts:
        raise VolumeFault(f'subPath "{sub_path}" must be relative, without ".."')
    base = Path(os.path.realpath(root))
    resolved = Path(os.path.realpath(base / sub_path))
    if not resolved.is_relative_to(base):
        raise VolumeFault(f'subPath "{sub_path}" leads out of its volume')
    handle = os.open(base, _WALK | os.O_DIRECTORY)
    try:
        for part in resolved.relative_to(base).parts:
            following = _step(handle, part, sub_path, create=create)
            os.close(handle)
            handle = following
    except BaseException:
        os.close(handle)
        raise
    return handle


def _step(folder: int, part: str, sub_path: str, *, create: bool) -> int:
    try:
        return _opened(folder, part, sub_path)
    except FileNotFoundError:
        if not create:
            raise VolumeFault(f'subPath "{sub_path}" is not in its volume') from None
    except NotADirectoryError:
        raise VolumeFault(f'subPath "{sub_path}" goes through a file') from None
    made = os.stat(".", dir_fd=folder)
    os.mkdir(part, _FOLDER_MODE, dir_fd=folder)
    handle = _opened(folder, part, sub_path)
    # As open as the folder that it is in: who may write to the volume may write there.
    os.chmod(f"/proc/self/fd/{handle}", stat.S_IMODE(made.st_mode))
    os.chown(f"/proc/self/fd/{handle}", made.st_uid, made.st_gid)
    return handle


def _opened(folder: int, part: str, sub_path: str) -> int:
    handle = os.open(part, _WALK, dir_fd=folder)
    if stat.S_ISLNK(os.fstat(handle).st_mode):
        os.close(handle)
        raise VolumeFault(f'subPath "{sub_path}" was changed into a link while it was looked at')
    return handle


def _make_place(place: Path, mounter: Mounter, *, folder: bool) -> None:
    for point in mounter.mounted_below(place):
        mounter.unmount(point)
    if place.is_dir():
        place.rmdir()
    else:
        place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if folder:
        place.mkdir()
    else:
        place.touch()
