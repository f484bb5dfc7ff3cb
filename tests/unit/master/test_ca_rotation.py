"""Replacing the CA: each step may be repeated, and cut short anywhere."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from master.auth.ca import CertificateAuthority
from master.auth.rotation import Stage, add, complete, drop, reissue, stage_of
from podium import pki
from podium.aio.clock import SystemClock
from podium.errors import Conflict, NotFound
from podium.files import write_atomic

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a cluster's CA is."""
    CertificateAuthority.open(tmp_path / "pki", SystemClock())
    return tmp_path / "pki"


def _add(folder: Path) -> None:
    add(folder, NOW)


def opened(folder: Path) -> CertificateAuthority:
    complete(folder)
    return CertificateAuthority.open(folder, SystemClock())


def test_the_whole_way(folder: Path) -> None:
    first = opened(folder)
    assert stage_of(folder) is Stage.STABLE

    add(folder, NOW)
    added = opened(folder)
    assert stage_of(folder) is Stage.ADDED
    assert (added.pin, added.cluster_id) == (first.pin, first.cluster_id), "the old one signs"
    assert added.bundle.startswith(first.bundle)
    assert added.bundle.count(b"BEGIN") == 2

    reissue(folder)
    reissued = opened(folder)
    assert stage_of(folder) is Stage.REISSUED
    assert reissued.pin != first.pin
    assert reissued.cluster_id == first.cluster_id, "it is the same cluster"
    assert sorted(reissued.bundle.split(b"-----BEGIN")) == sorted(added.bundle.split(b"-----BEGIN"))
    assert len({first.digest, added.digest, reissued.digest}) == 3, "a node is told each time"
    assert not (folder / "next.key").exists(), "the key is in one place"

    drop(folder)
    assert stage_of(folder) is Stage.STABLE
    assert opened(folder).bundle == reissued.certificate_pem


def test_the_two_have_names_of_their_own(folder: Path) -> None:
    add(folder, NOW)
    names = {pki.read_certificate((folder / name).read_bytes()).user for name in ("ca.crt", "next.crt")}
    assert len(names) == 2


def test_a_step_may_be_repeated(folder: Path) -> None:
    for step in (_add, reissue, drop):
        step(folder)
        once = {path.name: path.read_bytes() for path in folder.iterdir()}
        step(folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == once


def test_steps_come_in_their_order(folder: Path) -> None:
    with pytest.raises(Conflict, match="ca add"):
        reissue(folder)
    add(folder, NOW)
    with pytest.raises(Conflict, match="ca reissue"):
        drop(folder)
    reissue(folder)
    with pytest.raises(Conflict, match="ca drop"):
        add(folder, NOW)


def test_a_folder_without_a_ca_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        stage_of(tmp_path)


class Died(Exception):
    """The process, between two lines."""


@pytest.mark.parametrize("writes", range(6))
def test_a_step_that_was_cut_short_is_gone_on_with(folder: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """After any write, a master starts, trusts what nodes have, and the step, repeated, ends."""
    first = opened(folder)
    add(folder, NOW)
    both = set(opened(folder).bundle.split(b"-----BEGIN")[1:])
    left = writes

    def write(path: Path, data: bytes, **more: Any) -> None:
        nonlocal left
        if left == 0:
            raise Died
        left -= 1
        write_atomic(path, data, **more)

    monkeypatch.setattr("master.auth.rotation.write_atomic", write)
    try:
        reissue(folder)
    except Died:
        assert writes < 5, "no more than so many writes"
    monkeypatch.undo()

    ca = opened(folder)
    assert set(ca.bundle.split(b"-----BEGIN")[1:]) == both
    reissue(folder)
    assert stage_of(folder) is Stage.REISSUED
    assert opened(folder).pin != first.pin
    assert opened(folder).bundle.count(b"BEGIN") == 2
