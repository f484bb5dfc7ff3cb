"""Files that change all at once: what a reader can see at any moment, and what a crash leaves."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodelet.volumes import atomic
from nodelet.volumes.payload import File


def files(**texts: str) -> dict[str, File]:
    return {path.replace("__", "/"): File(data=text.encode()) for path, text in texts.items()}


def seen(folder: Path) -> dict[str, bytes]:
    """What a container finds, through the names that it is meant to use."""
    found: dict[str, bytes] = {}
    for entry in folder.iterdir():
        if entry.name.startswith(".."):
            continue
        assert entry.is_symlink()
        for path in [entry] if entry.is_file() else sorted(p for p in entry.rglob("*") if p.is_file()):
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def test_files_are_written_changed_and_removed(tmp_path: Path) -> None:
    assert atomic.write(tmp_path, files(a="1", d__b="2", d__c="3"))
    assert seen(tmp_path) == {"a": b"1", "d/b": b"2", "d/c": b"3"}
    assert not atomic.write(tmp_path, files(a="1", d__b="2", d__c="3"))
    assert atomic.write(tmp_path, files(a="1", e="9"))
    assert seen(tmp_path) == {"a": b"1", "e": b"9"}
    assert atomic.write(tmp_path, {})
    assert seen(tmp_path) == {}
    assert len(list(tmp_path.iterdir())) == 2


def test_an_unchanged_file_keeps_its_version(tmp_path: Path) -> None:
    atomic.write(tmp_path, files(a="1"))
    version = os.readlink(tmp_path / "..data")
    atomic.write(tmp_path, files(a="1"))
    assert os.readlink(tmp_path / "..data") == version
    atomic.write(tmp_path, {"a": File(data=b"1", mode=0o600)})
    assert os.readlink(tmp_path / "..data") != version


def test_modes_are_as_asked_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        atomic.write(tmp_path, {"d/a": File(data=b"", mode=0o444), "b": File(data=b"", mode=0o640)})
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("d/a", "b", "d")] == [0o444, 0o640, 0o755]


def test_a_group_can_read(tmp_path: Path) -> None:
    group = os.getgid()
    atomic.write(tmp_path, {"a": File(data=b"", mode=0o400)}, group=group)
    found = (tmp_path / "a").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o440, group)
    assert not atomic.write(tmp_path, {"a": File(data=b"", mode=0o400)}, group=group)


STEPS = ("replace", "symlink_to", "unlink")


@pytest.mark.parametrize("dies_at", range(8))
def test_a_crash_anywhere_leaves_one_whole_version_which_the_next_write_completes(
    tmp_path: Path, dies_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = files(a="old", gone="old"), files(a="new", fresh="new")
    atomic.write(tmp_path, old)
    count = 0

    def dying(step: Callable[..., object]) -> Callable[..., object]:
        def perform(*args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            if count > dies_at:
                raise OSError("the power went")
            return step(*args, **kwargs)

        return perform

    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(Path, name, dying(getattr(Path, name)))
        patch.setattr(tempfile, "mkdtemp", dying(tempfile.mkdtemp))
        patch.setattr(shutil, "rmtree", dying(shutil.rmtree))
        try:
            atomic.write(tmp_path, new)
        except OSError:
            inside = {p.name: p.read_bytes() for p in (tmp_path / "..data").iterdir()}
            assert inside in ({"a": b"old", "gone": b"old"}, {"a": b"new", "fresh": b"new"})
    atomic.write(tmp_path, new)
    assert seen(tmp_path) == {"a": b"new", "fresh": b"new"}
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("..")) == [
        "..data",
        os.readlink(tmp_path / "..data"),
    ]


NAMES = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/c"])
CONTENT = st.dictionaries(NAMES, st.tuples(st.binary(max_size=3), st.sampled_from([0o400, 0o644])), max_size=4)


@given(st.lists(CONTENT, min_size=1, max_size=5))
def test_whatever_was_there_before_only_the_last_is_seen(versions: list[dict[str, tuple[bytes, int]]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for version in versions:
            atomic.write(folder, {path: File(data=data, mode=mode) for path, (data, mode) in version.items()})
            assert seen(folder) == {path: data for path, (data, _) in version.items()}
