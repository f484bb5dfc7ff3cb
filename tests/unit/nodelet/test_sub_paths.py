"""Parts of volumes: found inside, refused outside, whatever links say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodelet.volumes import sub_paths
from nodelet.volumes.protocol import VolumeFault
from tests.support.plain_mounts import PlainMounts


@pytest.fixture
def root(tmp_path: Path) -> Path:
    volume = tmp_path / "volume"
    (volume / "a" / "b").mkdir(parents=True)
    (volume / "a" / "file").write_text("x")
    (tmp_path / "outside").mkdir()
    (volume / "inside").symlink_to("a/b")
    (volume / "out").symlink_to(tmp_path / "outside")
    (volume / "up").symlink_to("../outside")
    (volume / "etc").symlink_to("/etc")
    (volume / "loop").symlink_to("loop")
    return volume


def opened(root: Path, sub_path: str, *, create: bool = False) -> Path:
    handle = sub_paths.open_inside(root, sub_path, create=create)
    try:
        return Path(os.readlink(f"/proc/self/fd/{handle}")).relative_to(root)
    finally:
        os.close(handle)


@pytest.mark.parametrize(
    ("sub_path", "found"), [("a", "a"), ("a/b/", "a/b"), ("./a//file", "a/file"), ("inside", "a/b"), (".", ".")]
)
def test_what_is_inside_is_found(root: Path, sub_path: str, found: str) -> None:
    assert opened(root, sub_path) == Path(found)


@pytest.mark.parametrize(
    "sub_path", ["out", "up", "etc/passwd", "up/x", "/etc", "../outside", "a/../../outside", "loop"]
)
@pytest.mark.parametrize("create", [True, False])
def test_what_is_outside_is_refused(root: Path, sub_path: str, create: bool) -> None:
    with pytest.raises((VolumeFault, OSError)):
        opened(root, sub_path, create=create)
    assert list((root.parent / "outside").iterdir()) == []


def test_a_folder_is_made_where_it_may_be_as_open_as_the_one_that_it_is_in(root: Path) -> None:
    (root / "a").chmod(0o777)
    with pytest.raises(VolumeFault, match="is not in its volume"):
        opened(root, "a/new/deep")
    assert opened(root, "a/new/deep", create=True) == Path("a/new/deep")
    assert (root / "a" / "new").stat().st_mode & 0o777 == 0o777
    with pytest.raises(VolumeFault, match="goes through a file"):
        opened(root, "a/file/x", create=True)


def test_a_link_put_there_after_the_check_is_not_followed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between resolving and walking, the container swaps the folder for a link to the host's."""
    real = os.path.realpath

    def swapped(path: str | Path) -> str:
        resolved = real(path)
        if resolved == str(root / "a" / "b"):
            (root / "a" / "b").rmdir()
            (root / "a" / "b").symlink_to("/etc")
        return resolved

    monkeypatch.setattr(os.path, "realpath", swapped)
    with pytest.raises(VolumeFault, match="changed into a link"):
        opened(root, "a/b")


def test_a_part_is_bound_as_what_it_is_and_bound_anew(root: Path) -> None:
    mounts = PlainMounts()
    place = root.parent / "parts" / "app" / "0"
    sub_paths.bind(root, "a/file", place, mounts, create=False)
    assert place.is_file()
    assert mounts.bound[place] == root / "a" / "file"
    sub_paths.bind(root, "a/b", place, mounts, create=False)
    assert place.is_dir()
    assert mounts.bound[place] == root / "a" / "b"
