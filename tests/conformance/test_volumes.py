"""What every `PodVolumes` does, the real one in a temporary folder and the hollow one."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodelet.runtime.protocol import PodIdentity
from nodelet.volumes.hollow import HollowVolumes
from nodelet.volumes.protocol import PodVolumes, VolumeFault
from podium.v1.core_pb2 import Pod
from tests.support.configuration import by_key, config_map, pod_with
from tests.support.host_volumes import host_volumes

CONFIG = by_key(config_map("c", {"k": "v"}))
MOUNTS = {"volumeMounts": [{"name": "config", "mountPath": "/config"}, {"name": "data", "mountPath": "/data"}]}


@pytest.fixture(params=["host", "hollow"])
def volumes(request: pytest.FixtureRequest, tmp_path: Path) -> PodVolumes:
    return host_volumes(tmp_path) if request.param == "host" else HollowVolumes()


def pod(uid: str = "u1") -> Pod:
    return pod_with([{"name": "config", "configMap": {"name": "c"}}, {"name": "data", "emptyDir": {}}], MOUNTS, uid=uid)


def identity(uid: str = "u1") -> PodIdentity:
    return PodIdentity(namespace="ns", name=f"p-{uid}", uid=uid)


async def test_volumes_are_held_from_set_up_to_tear_down(volumes: PodVolumes) -> None:
    assert not volumes.holds("u1")
    for _ in range(2):
        await volumes.set_up(pod(), CONFIG)
        assert volumes.holds("u1")
    for _ in range(2):
        await volumes.tear_down(identity())
        assert not volumes.holds("u1")


async def test_mounts_are_in_their_order_and_configuration_is_read_only(volumes: PodVolumes) -> None:
    await volumes.set_up(pod(), CONFIG)
    mounts = await volumes.mounts(pod(), pod().spec.containers[0])
    assert [(mount.target, mount.read_only) for mount in mounts] == [("/config", True), ("/data", False)]
    assert len({mount.source for mount in mounts}) == 2


async def test_what_is_missing_is_missed_and_leaves_something_to_tear_down(volumes: PodVolumes) -> None:
    with pytest.raises(VolumeFault, match='SetUp failed for volume "config": configmap "c" not found'):
        await volumes.set_up(pod(), {})
    assert volumes.holds("u1")
    await volumes.set_up(pod(), CONFIG)
    await volumes.tear_down(identity())


async def test_all_but_the_pods_that_are_named_are_torn_down(volumes: PodVolumes) -> None:
    for uid in ("u1", "u2", "u3"):
        await volumes.set_up(pod(uid), CONFIG)
    await volumes.retain({"u2", "never"})
    assert [volumes.holds(uid) for uid in ("u1", "u2", "u3")] == [False, True, False]
