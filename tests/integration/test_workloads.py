"""ReplicationController, DaemonSet and StatefulSet over the real doors and cache, with a kubelet that needs no time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from podium.objects.kinds import Key
from podium.v1.apps_pb2 import ReplicationController
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import DeleteOptions
from tests.support.control_plane import ME, ControlPlane, control_plane
from tests.support.waiting import until
from tests.support.workloads import pod, replica_set, replication_controller


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with control_plane() as running:
        yield running


# ---------------------------------------------------------------- ReplicationController


def _available(plane: ControlPlane, name: str = "web") -> int:
    found = plane.reader.get(ReplicationController, "default", name)
    return found.status.available_replicas if found is not None else -1


async def test_a_replication_controller_keeps_its_number_and_adopts(plane: ControlPlane) -> None:
    await plane.writer.create(pod("orphan", labels={"app": "web"}), by=ME)
    await plane.writer.create(replication_controller(replicas=3), by=ME)
    await until(lambda: _available(plane) == 3)
    names = {p.metadata.name for p in plane.pods()}
    assert "orphan" in names
    assert len(names) == 3
    await plane.writer.delete(Key("Pod", "default", "orphan"), by=ME)
    await until(
        lambda: _available(plane) == 3 and len(plane.pods()) == 3 and not plane.reader.get(Pod, "default", "orphan")
    )


async def test_its_pods_go_with_a_replication_controller_and_no_replicaset_takes_them(plane: ControlPlane) -> None:
    await plane.writer.create(replication_controller(replicas=2), by=ME)
    await until(lambda: _available(plane) == 2)
    await plane.writer.create(replica_set("thief", replicas=0), by=ME)
    await until(lambda: plane.runtime.idle)
    assert len(plane.pods()) == 2
    options = DeleteOptions(propagation_policy="Foreground")
    await plane.writer.delete(Key("ReplicationController", "default", "web"), by=ME, options=options)
    await until(lambda: not plane.reader.list(Pod, "default") and not plane.reader.list(ReplicationController))
