"""What a nodelet keeps for its next start: objects apart from pods, Secrets apart from the disk, and written only when
they change."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from nodelet.state import assignments as kept
from nodelet.state.assignments import AssignmentFiles
from nodelet.state.secrets import SecretFile
from podium.objects.references import Withheld, load, loaded, secret_key, take_objects
from podium.v1.core_pb2 import Secret
from podium.v1.node_session_pb2 import Assignments
from tests.support.configuration import by_key, config_map, pod_with, secret
from tests.support.plain_mounts import PlainMounts

VALUE = b"hunter2-and-more"


def annotated(name: str) -> Secret:
    """A Secret whose content is said by more than its data."""
    made = secret(name, {"k": VALUE})
    made.metadata.annotations["applied"] = VALUE.decode()
    return made


OBJECTS = by_key(config_map("c", {"k": "v"}), annotated("s"))


def assignments(*, generation: int = 1) -> Assignments:
    pod = pod_with()
    pod.metadata.generation = generation
    message = Assignments(snapshot=True, results_in=generation, pods=[pod])
    load(message, OBJECTS.values())
    return message


class Kept:
    """A host's data folder, and what of it is in memory: gone when the host boots."""

    def __init__(self, path: Path) -> None:
        self.path, self.mounts = path, PlainMounts()
        self.memory = path / "secrets"

    def nodelet(self) -> AssignmentFiles:
        """What the next process of a nodelet has."""
        return AssignmentFiles(self.path, SecretFile(self.path, self.mounts))

    def boot(self) -> None:
        self.mounts.mounted.clear()
        shutil.rmtree(self.memory, ignore_errors=True)

    def on_disk(self) -> bytes:
        files = [file for file in self.path.rglob("*") if file.is_file()]
        return b"".join(file.read_bytes() for file in files if not file.is_relative_to(self.memory))


@pytest.fixture
def host(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def older_nodelet(host: Kept) -> None:
    """All on the disk, as it was once."""
    message = assignments()
    objects = take_objects(message)
    (host.path / "objects.pb").write_bytes(objects.SerializeToString())
    (host.path / "assignments.pb").write_bytes(message.SerializeToString())


def test_all_that_was_kept_comes_back(host: Kept) -> None:
    files = host.nodelet()
    assert files.load() is None
    files.save(assignments())
    found = host.nodelet().load()
    assert found == assignments()
    assert dict(loaded(found)) == OBJECTS


def test_nothing_of_a_secret_is_on_the_disk(host: Kept) -> None:
    host.nodelet().save(assignments())
    assert VALUE not in host.on_disk()
    file = host.memory / "secrets.pb"
    assert VALUE in file.read_bytes()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file, host.memory)] == [0o600, 0o700]
    assert host.mounts.mounted == [host.memory]


def test_after_a_boot_secrets_are_withheld_and_the_rest_is_there(host: Kept) -> None:
    host.nodelet().save(assignments())
    host.boot()
    found = host.nodelet().load()
    assert found is not None
    key = secret_key("ns", "s")
    assert dict(loaded(found)) == OBJECTS | {key: Withheld(key)}
    assert found.pods == assignments().pods
    host.nodelet().save(found)
    again = host.nodelet().load()
    assert again is not None
    assert dict(loaded(again)) == OBJECTS | {key: Withheld(key)}, "they are still known to be there"
    host.nodelet().save(assignments())
    assert host.nodelet().load() == assignments()


def test_what_lies_below_the_mount_point_is_never_read(host: Kept) -> None:
    host.nodelet().save(assignments())
    host.mounts.mounted.clear()
    found = host.nodelet().load()
    assert found is not None
    assert not found.secrets


def test_secrets_that_an_older_nodelet_left_on_the_disk_are_moved_off_it(host: Kept) -> None:
    older_nodelet(host)
    (host.path / ".objects.pb.half").write_bytes(VALUE)
    assert VALUE in host.on_disk()
    assert host.nodelet().load() == assignments()
    assert VALUE not in host.on_disk()
    assert host.nodelet().load() == assignments()


def test_a_nodelet_that_dies_while_it_moves_secrets_moves_them_at_its_next_start(
    host: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    older_nodelet(host)

    def die(path: Path, data: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kept, "write_atomic", die)
        with pytest.raises(KeyboardInterrupt):
            host.nodelet().load()
    assert host.nodelet().load() == assignments()
    assert VALUE not in host.on_disk()


class NoMemory(PlainMounts):
    def mount_memory(self, path: Path, *, mode: int, size: int = 0) -> None:
        raise OSError("mounting is not permitted")


def test_where_nothing_can_be_mounted_secrets_are_not_kept_and_all_else_is(host: Kept) -> None:
    host.mounts = NoMemory()
    older_nodelet(host)
    assert host.nodelet().load() == assignments(), "this process knows them"
    assert VALUE not in host.on_disk()
    files = host.nodelet()
    for _ in range(2):
        with pytest.raises(OSError, match="not permitted"):
            files.save(assignments(generation=2))
    found = host.nodelet().load()
    assert found is not None
    assert (found.results_in, list(found.withheld_secrets), len(found.config_maps)) == (2, ["ns/s"], 1)


def test_a_damaged_file_of_secrets_is_as_none(host: Kept) -> None:
    host.nodelet().save(assignments())
    (host.memory / "secrets.pb").write_bytes(b"\xff\xff\xff")
    found = host.nodelet().load()
    assert found is not None
    assert list(found.withheld_secrets) == ["ns/s"]


def test_damaged_assignments_are_as_none(host: Kept) -> None:
    (host.path / "assignments.pb").write_bytes(b"\xff\xff\xff")
    assert host.nodelet().load() is None


def test_a_file_that_is_newer_than_the_others_adds_nothing(host: Kept) -> None:
    """A nodelet died between the Secrets and what names them."""
    host.nodelet().save(assignments())
    newer = Assignments(secrets=[annotated("s"), annotated("new")])
    SecretFile(host.path, host.mounts).write(newer.SerializeToString())
    assert host.nodelet().load() == assignments()


def test_objects_are_private_and_written_only_when_they_change(host: Kept) -> None:
    files = host.nodelet()
    files.save(assignments())
    written = [host.path / "objects.pb", host.memory / "secrets.pb"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in written} == {0o600}
    assert b"ConfigMap" not in (host.path / "assignments.pb").read_bytes()
    first = [file.stat().st_ino for file in written]
    files.save(assignments(generation=2))
    assert [file.stat().st_ino for file in written] == first
    files.save(Assignments(snapshot=True))
    assert [file.read_bytes() for file in written] == [b"", b""]
    found = files.load()
    assert found is not None
    assert not list(loaded(found))


def test_a_node_without_secrets_mounts_nothing(host: Kept) -> None:
    host.nodelet().save(Assignments(snapshot=True, pods=[pod_with()]))
    assert host.mounts.mounted == []
    assert not host.memory.exists()
