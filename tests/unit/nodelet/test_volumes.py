"""The volumes of a host in a temporary folder: what is made, found again after a restart, and removed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from nodelet.runtime.protocol import Mount, PodIdentity
from nodelet.volumes.mounts import below, kind_at
from nodelet.volumes.protocol import Prepared, Request, VolumeFault
from nodelet.volumes.volumes import HostVolumes
from podium.objects.references import Objects
from podium.v1.core_pb2 import Container, EmptyDirVolumeSource, Pod, Volume, VolumeMount
from tests.support.configuration import by_key, config_map, pod_with, secret
from tests.support.host_volumes import host_volumes
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
    return host_volumes(root, mounts)


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
        def set_up(self, request: Request) -> Prepared:
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


def test_what_was_mounted_last_is_what_is_seen() -> None:
    lines = [
        rb"1 0 0:1 / /v/a\040b rw shared:1 - tmpfs tmpfs rw",
        rb"2 0 0:2 / /v/c rw - tmpfs tmpfs rw",
        rb"3 2 8:1 / /v/c rw shared:3 master:2 - ext4 /dev/sda1 rw",
    ]
    assert [kind_at(lines, Path(path)) for path in ("/v/a b", "/v/c", "/v")] == ["tmpfs", "ext4", ""]


# ---------------------------------------------------------------- sources


async def sole(host: HostVolumes, pod: Pod, objects: Objects | None = None, **mount: object) -> Mount:
    """The only mount of a pod's only volume."""
    await host.set_up(pod, objects or {})
    body = Container(name="c", volume_mounts=[VolumeMount(name="v", mount_path="/v", **mount)])  # type: ignore[arg-type]
    return (await host.mounts(pod, body))[0]


async def test_a_config_map_is_read_only_files_that_follow_it(tmp_path: Path) -> None:
    host, pod = volumes(tmp_path), pod_with([{"name": "v", "configMap": {"name": "c"}}])
    mount = await sole(host, pod, by_key(config_map("c", {"k": "1"})))
    assert mount.read_only
    assert (Path(mount.source) / "k").read_text() == "1"
    await host.set_up(pod, by_key(config_map("c", {"k": "2"})))
    assert (Path(mount.source) / "k").read_text() == "2"
    with pytest.raises(VolumeFault, match='volume "v": configmap "c" not found'):
        await host.set_up(pod, {})
    assert (Path(mount.source) / "k").read_text() == "2"


async def test_a_secret_is_in_memory_only_and_mounted_once(tmp_path: Path) -> None:
    mounts = PlainMounts()
    host, pod = volumes(tmp_path, mounts), pod_with([{"name": "v", "secret": {"secretName": "s"}}])
    for value in (b"1", b"2"):
        mount = await sole(host, pod, by_key(secret("s", {"k": value})))
        assert mounts.mounted == [Path(mount.source)]
        assert (Path(mount.source) / "k").read_bytes() == value


async def test_memory_has_the_size_of_its_limit_or_of_the_pods(tmp_path: Path) -> None:
    def pod(limit: str | None, memory: str | None, uid: str) -> Pod:
        source = {"medium": "Memory"} | ({"sizeLimit": limit} if limit else {})
        limits = {"limits": {"memory": memory}} if memory else {}
        return pod_with([{"name": "v", "emptyDir": source}], {"resources": limits}, uid=uid)

    mounts = PlainMounts()
    host = volumes(tmp_path, mounts)
    cases = [("1Mi", None, 1 << 20), ("1Mi", "64Mi", 1 << 20), ("1Gi", "64Mi", 64 << 20), (None, "8Mi", 8 << 20)]
    for number, (limit, memory, size) in enumerate([*cases, (None, None, 0)]):
        mount = await sole(host, pod(limit, memory, f"u{number}"))
        assert mounts.sizes[Path(mount.source)] == size


async def test_a_group_owns_the_volume(tmp_path: Path) -> None:
    group = os.getgid()
    pod = pod_with([{"name": "v", "emptyDir": {}}], securityContext={"fsGroup": group})
    found = Path((await sole(volumes(tmp_path), pod)).source).stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o2777, group)


@pytest.mark.parametrize(
    ("type_", "there", "after"),
    [
        ("", "", "folder"),
        ("", "file", "file"),
        ("DirectoryOrCreate", "", "folder"),
        ("DirectoryOrCreate", "file", "is not a directory"),
        ("Directory", "folder", "folder"),
        ("Directory", "", "is not a directory, there is nothing there"),
        ("FileOrCreate", "", "file"),
        ("File", "file", "file"),
        ("File", "folder", "is not a file"),
        ("Socket", "file", "is not a socket file"),
        ("CharDevice", "file", "is not a character device"),
        ("BlockDevice", "", "is not a block device"),
    ],
)
async def test_a_path_of_the_host_by_its_type(tmp_path: Path, type_: str, there: str, after: str) -> None:
    path = tmp_path / "on-the-host"
    if there:
        path.mkdir() if there == "folder" else path.touch()
    pod = pod_with([{"name": "v", "hostPath": {"path": str(path), **({"type": type_} if type_ else {})}}])
    host = volumes(tmp_path / "v")
    if after not in ("file", "folder"):
        with pytest.raises(VolumeFault, match=after):
            await sole(host, pod)
        return
    mount = await sole(host, pod)
    assert (mount.source, path.is_dir()) == (str(path), after == "folder")
    await host.tear_down(identity())
    assert path.exists()


async def test_a_part_of_a_volume(tmp_path: Path) -> None:
    mounts = PlainMounts()
    host = volumes(tmp_path, mounts)
    mount = await sole(host, pod_with([{"name": "v", "emptyDir": {}}]), sub_path="logs/app")
    assert mounts.bound[Path(mount.source)] == tmp_path / "u1" / "v" / "logs" / "app"
    config = pod_with([{"name": "v", "configMap": {"name": "c"}}], uid="u2")
    objects = by_key(config_map("c", {"k": "1"}))
    mount = await sole(host, config, objects, sub_path="k")
    assert mounts.bound[Path(mount.source)].read_text() == "1"
    assert mount.read_only
    with pytest.raises(VolumeFault, match='volume "v": subPath "gone" is not in its volume'):
        await sole(host, config, objects, sub_path="gone")
    with pytest.raises(VolumeFault, match="must be relative"):
        await sole(host, config, objects, sub_path="../x")


async def test_what_one_volume_lacks_keeps_no_other_from_following(tmp_path: Path) -> None:
    pod = pod_with([{"name": "a", "configMap": {"name": "gone"}}, {"name": "b", "configMap": {"name": "c"}}])
    host = volumes(tmp_path)
    for value in ("1", "2"):
        with pytest.raises(VolumeFault, match='volume "a": configmap "gone" not found'):
            await host.set_up(pod, by_key(config_map("c", {"k": value})))
        assert (tmp_path / "u1" / "b" / "k").read_text() == value
