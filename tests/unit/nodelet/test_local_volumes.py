"""Volumes of claims on a host: made once, found again, given to a group, removed when condemned, never by mistake."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from master.controllers.claim_plan import provisioned
from nodelet.pods.volume_gauge import Reading, VolumeGauge, complaint
from nodelet.runtime.docker.translate import mount as translated
from nodelet.runtime.protocol import Mount
from nodelet.volumes.claim import ClaimSource
from nodelet.volumes.keeper import LocalKeeper, VolumeReports
from nodelet.volumes.local import LocalFolders, give_to
from nodelet.volumes.nfs import nfs_volume
from nodelet.volumes.protocol import VolumeFault
from nodelet.volumes.sources import all_sources
from nodelet.volumes.volumes import HostVolumes
from podium.aio.clock import SystemClock
from podium.aio.tasks import TaskScope
from podium.objects import storage
from podium.objects.references import Objects, claim_key
from podium.v1.core_pb2 import Container, Pod, Volume, VolumeMount
from podium.v1.node_session_pb2 import VolumeReport, VolumeState
from podium.v1.storage_pb2 import PersistentVolume
from tests.support.kept_pods import make_pod
from tests.support.plain_mounts import PlainMounts
from tests.support.storage import claim, node, storage_class, volume
from tests.support.waiting import until


def made_in(folder: Path) -> PersistentVolume:
    """The volume that is made for claim `c` in a folder."""
    cls = storage_class()
    cls.parameters["path"] = str(folder)
    its = provisioned(claim(), cls, node("n1"))
    its.metadata.uid = "uid-of-volume"
    return its


def static(path: Path) -> PersistentVolume:
    its = volume("v")
    its.spec.local.path = str(path)
    return its


def using(*, read_only: bool = False, group: int | None = None, sub_path: str = "") -> Pod:
    pod = make_pod(uid="u1")
    pod.metadata.namespace = "default"
    wanted = Volume(name="data")
    wanted.persistent_volume_claim.claim_name, wanted.persistent_volume_claim.read_only = "c", read_only
    pod.spec.volumes.append(wanted)
    pod.spec.containers[0].volume_mounts.append(VolumeMount(name="data", mount_path="/data", sub_path=sub_path))
    if group is not None:
        pod.spec.security_context.fs_group = group
    return pod


class Host:
    """Volumes of a host in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.mounts, self.made = PlainMounts(), list[str]()
        self.folders = LocalFolders(self.mounts)
        claims = ClaimSource(self.folders, lambda v: self.made.append(v.metadata.name))
        sources = all_sources(self.mounts, {}, claims)
        self.volumes = HostVolumes(folder / "pods", sources=sources, mounter=self.mounts)

    async def mount(self, pod: Pod, its: PersistentVolume | None) -> Mount:
        """What is mounted into the pod's container when its claim is bound to a volume."""
        objects: Objects = {claim_key(storage.ClaimKey("default", "c")): its} if its is not None else {}
        await self.volumes.set_up(pod, objects)
        (mount,) = await self.volumes.mounts(pod, pod.spec.containers[0])
        return mount


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


async def test_a_folder_is_made_on_first_use_and_found_again(tmp_path: Path, host: Host) -> None:
    its = made_in(tmp_path / "data")
    mount = await host.mount(using(), its)
    assert mount.source == its.spec.local.path
    assert not mount.read_only
    assert stat.S_IMODE(Path(mount.source).stat().st_mode) == 0o777
    (Path(mount.source) / "kept").write_text("x")
    assert host.made == [its.metadata.name]
    its.metadata.annotations[storage.LOCAL_MADE] = "true"
    again = await Host(tmp_path).mount(using(), its)
    assert (Path(again.source) / "kept").read_text() == "x"
    assert len(host.made) == 1


async def test_a_folder_that_was_there_and_is_gone_is_not_made_anew(tmp_path: Path, host: Host) -> None:
    its = made_in(tmp_path / "data")
    its.metadata.annotations[storage.LOCAL_MADE] = "true"
    with pytest.raises(VolumeFault, match="is gone: its data is lost, or its disk is not mounted"):
        await host.mount(using(), its)
    assert not (tmp_path / "data").exists()


async def test_a_claim_that_is_not_bound_is_waited_for(host: Host) -> None:
    with pytest.raises(VolumeFault, match=r'MountVolume\.SetUp failed for volume "data": persistentvolumeclaim "c"'):
        await host.mount(using(), None)


async def test_a_static_folder_must_be_there(tmp_path: Path, host: Host) -> None:
    with pytest.raises(VolumeFault, match="is not on this host"):
        await host.mount(using(), static(tmp_path / "disk"))
    (tmp_path / "disk").mkdir()
    assert (await host.mount(using(), static(tmp_path / "disk"))).source == str(tmp_path / "disk")


@pytest.mark.parametrize(("modes", "asked", "read_only"), [
    (["ReadWriteOnce"], False, False),
    (["ReadWriteOnce"], True, True),
    (["ReadOnlyMany"], False, True),
    (["ReadOnlyMany", "ReadWriteMany"], False, False),
])  # fmt: skip
async def test_what_is_mounted_read_only(
    tmp_path: Path, host: Host, modes: list[str], asked: bool, read_only: bool
) -> None:
    its = static(tmp_path)
    its.spec.access_modes[:] = modes
    assert (await host.mount(using(read_only=asked), its)).read_only is read_only


def test_a_group_is_given_all_there_is_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_text("x")
    (tmp_path / "a" / "f").chmod(0o600)
    (tmp_path / "link").symlink_to("/nowhere")
    group = os.getgid()
    give_to(tmp_path, group)
    assert stat.S_IMODE((tmp_path / "a" / "f").stat().st_mode) == 0o660
    assert (tmp_path / "a").stat().st_mode & stat.S_ISGID
    (tmp_path / "a" / "f").chmod(0o600)
    give_to(tmp_path, group)
    assert stat.S_IMODE((tmp_path / "a" / "f").stat().st_mode) == 0o600


# ---------------------------------------------------------------- NFS


async def test_nfs_is_left_to_the_engine(host: Host) -> None:
    its = volume("v", node="")
    its.spec.nfs.server, its.spec.nfs.path = "files.example.com", "/export"
    its.spec.mount_options.extend(["nfsvers=4.1", "hard"])
    mount = await host.mount(using(), its)
    assert translated(mount) == {
        "Type": "volume",
        "Target": "/data",
        "ReadOnly": False,
        "VolumeOptions": {
            "NoCopy": True,
            "DriverConfig": {
                "Name": "local",
                "Options": {"type": "nfs", "o": "addr=files.example.com,nfsvers=4.1,hard", "device": ":/export"},
            },
        },
    }
    with pytest.raises(VolumeFault, match="subPath is not possible"):
        await host.mount(using(sub_path="a"), its)


def test_an_nfs_export_can_be_read_only() -> None:
    assert nfs_volume("10.0.0.1", "/x", (), read_only=True).options["o"] == "addr=10.0.0.1,ro"


async def test_a_pod_may_name_an_export_itself(host: Host) -> None:
    pod = make_pod(uid="u1")
    wanted = Volume(name="data")
    wanted.nfs.server, wanted.nfs.path, wanted.nfs.read_only = "10.0.0.1", "/x", True
    pod.spec.volumes.append(wanted)
    await host.volumes.set_up(pod, {})
    container = Container(name="c", volume_mounts=[VolumeMount(name="data", mount_path="/x")])
    (mount,) = await host.volumes.mounts(pod, container)
    assert mount.read_only
    assert mount.volume == nfs_volume("10.0.0.1", "/x", (), read_only=True)


# ---------------------------------------------------------------- removing


def test_nothing_is_left_of_a_removed_folder_also_after_a_crash_in_between(tmp_path: Path, host: Host) -> None:
    its = made_in(tmp_path)
    path = host.folders.make(its)
    (path / "f").write_text("x")
    path.rename(tmp_path / f".removing-{path.name}")
    host.folders.make(its)
    host.folders.remove(its)
    host.folders.remove(its)
    assert not [p for p in tmp_path.iterdir() if "pvc-" in p.name]


def test_what_is_mounted_or_not_podiums_is_not_removed(tmp_path: Path, host: Host) -> None:
    its = made_in(tmp_path)
    path = host.folders.make(its)
    host.mounts.mounted.append(path / "disk")
    with pytest.raises(VolumeFault, match="something is mounted"):
        host.folders.remove(its)
    host.mounts.mounted.clear()
    for wrong in ("/etc", str(tmp_path), f"{tmp_path}/../{path.name}", f"/{path.name}"):
        its.spec.local.path = wrong
        with pytest.raises(VolumeFault):
            host.folders.remove(its)
    assert path.is_dir()


async def test_a_condemned_volume_is_removed_when_nobody_uses_it_and_reported_until_taken(tmp_path: Path) -> None:
    mounts = PlainMounts()
    folders = LocalFolders(mounts)
    keeper = LocalKeeper(tmp_path, folders)
    its = made_in(tmp_path)
    path = folders.make(its)
    used = {storage.ClaimKey("default", "c")}
    async with TaskScope(on_error=lambda name, error: None) as scope:
        _ = scope.start(keeper.run(lambda key: key in used), name="keeper")
        keeper.condemn([its])
        await asyncio.sleep(0)
        assert path.is_dir()
        mounts.mounted.append(path)
        used.clear()
        keeper.condemn([its])
        failed = await until(keeper.reports.take)
        assert "something is mounted" in failed.volumes[0].failure
        mounts.mounted.clear()
        keeper.condemn([its])
        report = await until(keeper.reports.take)
        assert report.volumes[0].gone
        assert not path.exists()
        keeper.reports.put_back(report)
        assert keeper.reports.take() == report
        keeper.condemn([its])
        again = await until(keeper.reports.take)
        assert again.volumes[0].gone


# ---------------------------------------------------------------- how full


async def test_full_volumes_are_told_to_the_master_and_to_their_pods(tmp_path: Path) -> None:
    its, told = made_in(tmp_path), RecordedEvents()
    path = LocalFolders(PlainMounts()).make(its)
    (path / "f").write_bytes(b"x" * 2_000_000)
    reports = VolumeReports()
    gauge = VolumeGauge(bound=lambda: [(using(), its), (using(), static(tmp_path / "gone"))], reports=reports,
                        events=told, clock=SystemClock())  # fmt: skip
    await gauge.measure()
    report = reports.take()
    assert report is not None
    [measured] = report.volumes
    assert 2_000_000 <= measured.used_bytes < 3_000_000
    assert measured.free_bytes > 0
    assert told.reasons == []
    its.spec.capacity[storage.STORAGE] = "1Mi"
    await gauge.measure()
    assert told.reasons == [], "it rests"
    gauge._rests_until.clear()
    await gauge.measure()
    assert told.reasons == ["VolumeFull"]


def test_a_disk_with_nothing_left_is_full() -> None:
    its = made_in(Path("/srv"))
    assert "is full: its file system has 1Mi left" in complaint(its, Reading(used=0, free=2**20, total=2**40))
    assert complaint(its, Reading(used=0, free=2**39, total=2**40)) == ""


def test_that_a_folder_is_there_is_not_forgotten_over_what_is_in_it() -> None:
    reports = VolumeReports()
    reports.put(VolumeState(name="v", uid="u", made=True))
    reports.put(VolumeState(name="v", uid="u", used_bytes=5))
    assert reports.take() == VolumeReport(volumes=[VolumeState(name="v", uid="u", made=True, used_bytes=5)])


class RecordedEvents:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def event(self, pod: Pod, type: str, reason: str, message: str) -> None:
        self.reasons.append(reason)
