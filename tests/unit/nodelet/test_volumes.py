"""The volumes of a host in a temporary folder: what is made, found again after a restart, and removed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from nodelet.runtime.protocol import Mount, PodIdentity
from nodelet.volumes.mounts import below
from nodelet.volumes.protocol import Request, VolumeFault
from nodelet.volumes.sources import all_sources
from nodelet.volumes.volumes import HostVolumes
from podium.v1.core_pb2 import Container, EmptyDirVolumeSource, Pod, Volume, VolumeMount
from tests.support.kept_pods import make_pod
from tests.support.plain_mounts import PlainMounts

MOUNT = Container(name="c", volume_mounts=[VolumeMount(name="data", mount_path="/data", read_only=True)])


def with_data(uid: str = "u1") -> Pod:
    pod = make_pod(uid=uid)
    pod.spec.volumes.append(Volume(name="data", empty_dir=EmptyDirVolumeSource()))
    return pod


def identity(uid: str = "u1") -> PodIdentity:
    return PodIdentity(namespace="ns", name=f"p-{uid}", uid=uid)


def volumes(root: Path, mounts: PlainMounts | None = None) -> HostVolumes:
    return HostVolumes(root, sources=all_sources(), mounter=mounts or PlainMounts())


async def test_an_empty_dir_begins_empty_lasts_and_ends_with_the_pod(tmp_path: Path) -> None:
    host = volumes(tmp_path / "v")
    await host.set_up(with_data(), {})
    (mount,) = await host.mounts(with_data(), MOUNT)
    place = Path(mount.source)
    assert mount == Mount(source=str(place), target="/data", read_only=True)
    assert list(place.iterdir()) == []
    assert stat.S_IMODE(place.stat().st_mode) == 0o777
    (place / "kept").write_text("x")
    await host.set_up(with_data(), {})
    assert (place / "kept").exists()
    await host.tear_down(identity())
    assert list((tmp_path / "v").iterdir()) == []
    await host.tear_down(identity())


async def test_a_restarted_nodelet_finds_volumes_and_removes_those_of_pods_that_are_gone(tmp_path: Path) -> None:
    before = volumes(tmp_path)
    for uid in ("stays", "gone"):
        await before.set_up(with_data(uid), {})
    (tmp_path / "stays" / "data" / "file").write_text("x")
    host = volumes(tmp_path)
    assert (host.holds("stays"), host.holds("gone"), host.holds("never")) == (True, True, False)
    await host.retain({"stays"})
    assert not host.holds("gone")
    assert [path.name for path in tmp_path.iterdir()] == ["stays"]
    await host.set_up(with_data("stays"), {})
    assert (tmp_path / "stays" / "data" / "file").exists()


async def test_what_is_mounted_is_unmounted_and_never_deleted(tmp_path: Path) -> None:
    mounts = PlainMounts()
    host = volumes(tmp_path, mounts)
    await host.set_up(with_data(), {})
    place = tmp_path / "u1" / "data"
    mounts.mounted.append(place)
    mounts.stuck = True
    (place / "precious").write_text("x")
    with pytest.raises(VolumeFault, match="still mounted"):
        await host.tear_down(identity())
    assert (place / "precious").exists()
    assert host.holds("u1")
    mounts.stuck = False
    await host.tear_down(identity())
    assert not place.exists()


async def test_a_failure_names_the_volume(tmp_path: Path) -> None:
    class Broken:
        def set_up(self, request: Request) -> Path:
            raise OSError("no space left on device")

    host = HostVolumes(tmp_path, sources={"empty_dir": Broken()}, mounter=PlainMounts())
    with pytest.raises(VolumeFault, match='SetUp failed for volume "data": no space left'):
        await host.set_up(with_data(), {})
    assert host.holds("u1")


def test_the_deepest_mount_comes_first() -> None:
    lines = [
        rb"1 0 0:1 / /v/a rw - tmpfs tmpfs rw",
        rb"2 0 0:2 / /v/a/b\040c/d rw - tmpfs tmpfs rw",
        rb"3 0 0:3 / /v/ab rw - tmpfs tmpfs rw",
    ]
    assert below(lines, Path("/v/a")) == [Path("/v/a/b c/d"), Path("/v/a")]
