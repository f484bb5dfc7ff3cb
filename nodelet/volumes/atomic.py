"""Files that all change at once, under the eyes of whoever reads them: Kubernetes' layout of a projected volume.

    FOLDER/..v-1f3a/app.conf        the files themselves, one folder a version
    FOLDER/..data   -> ..v-1f3a     the version in force
    FOLDER/app.conf -> ..data/app.conf

A change writes a new version aside and renames `..data` over: a reader sees all of the old files or all of the new
ones. Names that are new are linked after that, those that are gone unlinked after that. Stopped anywhere between, the
next `write` finds what is there and completes it. All functions block.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nodelet.volumes.payload import File, Payload

_DATA, _ASIDE, _VERSION = "..data", "..data.new", "..v-"
FOLDER_MODE = 0o755


def write(folder: Path, files: Payload, *, group: int | None = None) -> bool:
    """Have exactly these files in a folder; whether anything changed. With a group they are its, and readable by it.

    Raises:
        OSError: The file system refused. What was there before is still whole.
    """
    wanted = {path: _for_group(file, group) for path, file in files.items()}
    changed = _read(folder / _DATA) != wanted or _group_differs(folder, group)
    if changed:
        version = _write_version(folder, wanted, group)
        _swap(folder, version)
    _link(folder, {path.partition("/")[0] for path in wanted})
    _clean(folder)
    return changed


def _for_group(file: File, group: int | None) -> File:
    return file if group is None else File(data=file.data, mode=file.mode | 0o440)


def _group_differs(folder: Path, group: int | None) -> bool:
    return group is not None and os.stat(folder / _DATA).st_gid != group


def _read(current: Path) -> dict[str, File] | None:
    """What the version in force holds; None when there is none."""
    if not current.exists():
        return None
    version = current.resolve()
    return {
        str(path.relative_to(version)): File(data=path.read_bytes(), mode=path.stat().st_mode & 0o777)
        for path in version.rglob("*")
        if path.is_file()
    }


def _write_version(folder: Path, files: Payload, group: int | None) -> Path:
    version = Path(tempfile.mkdtemp(prefix=_VERSION, dir=folder))
    for path, file in files.items():
        target = version / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # Never readable by more than in the end, not even for a moment.
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(file.data)
            _own(handle, group)
            os.fchmod(handle, file.mode)
    for path_of_folder in _folders(version):
        os.chmod(path_of_folder, FOLDER_MODE)
        if group is not None:
            os.chown(path_of_folder, -1, group)
    return version


def _own(handle: int, group: int | None) -> None:
    if group is not None:
        os.fchown(handle, -1, group)


def _folders(root: Path) -> Iterator[Path]:
    for path, _, _ in os.walk(root):
        yield Path(path)


def _swap(folder: Path, version: Path) -> None:
    aside = folder / _ASIDE
    aside.unlink(missing_ok=True)
    aside.symlink_to(version.name)
    aside.replace(folder / _DATA)


def _link(folder: Path, names: set[str]) -> None:
    there = {entry.name for entry in os.scandir(folder) if not entry.name.startswith("..")}
    for name in names - there:
        (folder / name).symlink_to(f"{_DATA}/{name}")
    for name in there - names:
        (folder / name).unlink()


def _clean(folder: Path) -> None:
    """Drop versions no longer in force, and those never finished."""
    current = os.readlink(folder / _DATA)
    for entry in list(os.scandir(folder)):
        if entry.name.startswith(_VERSION) and entry.name != current:
            shutil.rmtree(entry.path)
