"""Files replaced in one step, and folders held alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from podium.errors import Conflict
from podium.files import exclusive, make_private_directory, write_atomic


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_atomic(file, b"one")
    write_atomic(file, b"two")
    assert file.read_bytes() == b"two"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "is-a-folder"
    (folder / "full").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_atomic(folder, b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["is-a-folder"]


def test_a_directory_is_made_private(tmp_path: Path) -> None:
    make_private_directory(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_folder_is_held_by_one_only(tmp_path: Path) -> None:
    with exclusive(tmp_path), pytest.raises(Conflict, match=r"is in use by process \d+"), exclusive(tmp_path):
        pass
    with exclusive(tmp_path):
        pass
