"""What a nodelet keeps on its disk: objects apart from pods, private, and written only when they change."""

from __future__ import annotations

import stat
from pathlib import Path

from nodelet.state.directory import StateDirectory
from podium.objects.references import load, loaded
from podium.v1.node_session_pb2 import Assignments
from tests.support.configuration import by_key, config_map, pod_with, secret

OBJECTS = by_key(config_map("c", {"k": "v"}), secret("s", {"k": b"v"}))


def assignments(*, generation: int = 1) -> Assignments:
    pod = pod_with()
    pod.metadata.generation = generation
    message = Assignments(snapshot=True, results_in=generation, pods=[pod])
    load(message, OBJECTS.values())
    return message


def test_all_that_was_kept_comes_back(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    assert state.load_assignments() is None
    state.save_assignments(assignments())
    found = StateDirectory(tmp_path).load_assignments()
    assert found == assignments()
    assert dict(loaded(found)) == OBJECTS


def test_objects_are_private_and_written_only_when_they_change(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    state.save_assignments(assignments())
    file = tmp_path / "objects.pb"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"Secret" not in (tmp_path / "assignments.pb").read_bytes()
    first = file.stat().st_ino
    state.save_assignments(assignments(generation=2))
    assert file.stat().st_ino == first
    state.save_assignments(Assignments(snapshot=True))
    assert file.read_bytes() == b""
    kept = state.load_assignments()
    assert kept is not None
    assert not list(loaded(kept))
