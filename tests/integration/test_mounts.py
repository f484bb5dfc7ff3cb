"""The kernel's part of volumes: memory, binds, and what a reboot leaves. Needs to be root."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodelet.runtime.protocol import PodIdentity
from nodelet.state.secrets import SecretFile
from nodelet.volumes.mounts import LinuxMounter
from tests.support.configuration import by_key, pod_with, secret
from tests.support.host_volumes import host_volumes

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="mounting takes root")
MOUNTER = LinuxMounter()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for point in MOUNTER.mounted_below(tmp_path):
        MOUNTER.unmount(point)


def test_memory_has_its_size_and_mode_and_runs_no_devices_or_set_uid(root: Path) -> None:
    MOUNTER.mount_memory(root, mode=0o2777, size=1 << 20)
    assert MOUNTER.is_mounted(root)
    found = os.statvfs(root)
    assert (found.f_blocks * found.f_frsize, stat.S_IMODE(root.stat().st_mode)) == (1 << 20, 0o2777)
    assert found.f_flag & os.ST_NOSUID
    assert found.f_flag & os.ST_NODEV


def test_what_is_open_is_bound_whatever_its_name_has_become(root: Path) -> None:
    (root / "folder").mkdir()
    (root / "folder" / "file").write_text("x")
    (root / "place").mkdir()
    handle = os.open(root / "folder", os.O_PATH | os.O_DIRECTORY)
    (root / "folder").rename(root / "elsewhere")
    (root / "folder").symlink_to("/etc")
    MOUNTER.bind(handle, root / "place")
    os.close(handle)
    assert [path.name for path in (root / "place").iterdir()] == ["file"]


def test_what_is_in_use_can_be_unmounted(root: Path) -> None:
    MOUNTER.mount_memory(root, mode=0o755)
    with (root / "open").open("w") as file:
        MOUNTER.unmount(root)
        assert not MOUNTER.is_mounted(root)
        file.write("still there for whoever has it open")
    with pytest.raises(OSError, match="Invalid argument"):
        MOUNTER.unmount(root)


async def test_after_a_reboot_secrets_are_in_memory_again_and_what_was_there_is_gone(root: Path) -> None:
    pod = pod_with(
        [
            {"name": "secret", "secret": {"secretName": "s"}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
            {"name": "disk", "emptyDir": {}},
        ]
    )
    objects = by_key(secret("s", {"key": b"hidden"}))
    await host_volumes(root, MOUNTER).set_up(pod, objects)
    for name in ("memory", "disk"):
        (root / "u1" / name / "file").write_text("x")
    for point in MOUNTER.mounted_below(root):  # as the kernel's own end does
        MOUNTER.unmount(point)
    assert list((root / "u1" / "secret").iterdir()) == []

    host = host_volumes(root, MOUNTER)
    await host.set_up(pod, objects)
    assert sorted(MOUNTER.mounted_below(root)) == [root / "u1" / "memory", root / "u1" / "secret"]
    assert (root / "u1" / "secret" / "key").read_bytes() == b"hidden"
    assert list((root / "u1" / "memory").iterdir()) == []
    assert (root / "u1" / "disk" / "file").exists()
    await host.tear_down(PodIdentity(namespace="ns", name="p", uid="u1"))
    assert list(root.iterdir()) == []


def test_a_file_of_secrets_outlives_its_process_and_not_its_memory(root: Path) -> None:
    folder = root / "secrets"
    SecretFile(root, MOUNTER).write(b"hunter2")
    assert MOUNTER.is_memory(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    next_one = SecretFile(root, LinuxMounter())
    assert next_one.read() == b"hunter2"
    next_one.write(b"hunter3")
    assert len(MOUNTER.mounted_below(root)) == 1
    MOUNTER.unmount(folder)
    assert SecretFile(root, MOUNTER).read() == b""
    assert list(folder.iterdir()) == []


def test_what_else_is_mounted_there_is_no_place_for_secrets(root: Path) -> None:
    (root / "disk").mkdir()
    (root / "secrets").mkdir()
    handle = os.open(root / "disk", os.O_PATH | os.O_DIRECTORY)
    MOUNTER.bind(handle, root / "secrets")
    os.close(handle)
    if MOUNTER.is_memory(root / "secrets"):
        pytest.skip("temporary folders are in memory here")
    SecretFile(root, MOUNTER).write(b"hunter2")
    assert MOUNTER.is_memory(root / "secrets")
    assert list((root / "disk").iterdir()) == []
