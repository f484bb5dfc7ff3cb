"""ReplicationController, DaemonSet and StatefulSet over the real doors and cache, with a kubelet that needs no time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from podium.objects.kinds import Key
from podium.objects.pod import is_ready
from podium.v1.apps_pb2 import ControllerRevision, DaemonSet, ReplicationController
from podium.v1.core_pb2 import Event, Node, Pod, Taint
from podium.v1.meta_pb2 import DeleteOptions
from tests.support.control_plane import ME, ControlPlane, control_plane
from tests.support.waiting import until
from tests.support.workloads import daemon_set, node, pod, replica_set, replication_controller


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


# ---------------------------------------------------------------- DaemonSet


def _daemons(plane: ControlPlane, name: str = "agent") -> DaemonSet:
    found = plane.reader.get(DaemonSet, "default", name)
    assert found is not None
    return found


def _is_out(plane: ControlPlane, nodes: int) -> bool:
    """Whether so many nodes run the newest pod, and the status says so."""
    made = _daemons(plane)
    status = made.status
    return (
        status.observed_generation == made.metadata.generation
        and status.desired_number_scheduled == status.updated_number_scheduled == status.number_available == nodes
        and len(plane.pods()) == nodes
    )


async def _set_image(plane: ControlPlane, kind: type[Any], name: str, image: str) -> None:
    def change(obj: Any) -> None:
        obj.spec.template.spec.containers[0].image = image

    await plane.writer.mutate(kind, "default", name, change, by=ME)


async def test_a_daemon_set_follows_nodes(plane: ControlPlane) -> None:
    await plane.writer.create(daemon_set(), by=ME)
    await until(lambda: _is_out(plane, 3))
    assert sorted(p.spec.node_name for p in plane.pods()) == ["n1", "n2", "n3"]

    await plane.writer.create(node("n4"), by=ME)
    await until(lambda: _is_out(plane, 4))
    await plane.writer.delete(Key("Node", "", "n4"), by=ME)
    await until(lambda: _is_out(plane, 3))


async def test_a_daemon_set_follows_labels_and_taints(plane: ControlPlane) -> None:
    made = daemon_set()
    made.spec.template.spec.node_selector["disk"] = "ssd"
    await plane.writer.create(made, by=ME)
    await until(lambda: _daemons(plane).status.observed_generation == 1)
    assert not plane.pods()
    await plane.writer.mutate(Node, "", "n2", lambda n: n.metadata.labels.update(disk="ssd"), by=ME)
    await until(lambda: [p.spec.node_name for p in plane.pods()] == ["n2"])
    evict = Taint(key="broken", effect="NoExecute")
    await plane.writer.mutate(Node, "", "n2", lambda n: n.spec.taints.append(evict), by=ME)
    await until(lambda: not plane.pods() and not _daemons(plane).status.desired_number_scheduled)


async def test_a_daemon_set_rolls_and_returns(plane: ControlPlane) -> None:
    await plane.writer.create(daemon_set(), by=ME)
    await until(lambda: _is_out(plane, 3))
    least = 3
    async with plane.reader.subscribe(Pod, DaemonSet) as changes, asyncio.timeout(10):
        await _set_image(plane, DaemonSet, "agent", "busybox:2")
        async for _ in changes:
            least = min(least, sum(is_ready(p) for p in plane.pods()))
            if _is_out(plane, 3) and len(plane.pods("busybox:2")) == 3:
                break
    assert least == 2
    assert [r.revision for r in plane.reader.list(ControllerRevision)] in ([1, 2], [2, 1])
    await _set_image(plane, DaemonSet, "agent", "busybox")
    await until(lambda: _is_out(plane, 3) and len(plane.pods("busybox")) == 3)
    assert {r.revision for r in plane.reader.list(ControllerRevision)} == {2, 3}


async def test_a_broken_daemon_stops_at_its_limit_and_is_mended_without_help(plane: ControlPlane) -> None:
    await plane.writer.create(daemon_set(), by=ME)
    await until(lambda: _is_out(plane, 3))
    await _set_image(plane, DaemonSet, "agent", "crash")
    await until(lambda: len(plane.pods("crash")) == 1 and plane.runtime.idle)
    assert len(plane.pods("busybox")) == 2
    await _set_image(plane, DaemonSet, "agent", "busybox")
    await until(lambda: _is_out(plane, 3) and len(plane.pods("busybox")) == 3)


async def test_a_daemon_that_failed_is_made_again(plane: ControlPlane) -> None:
    await plane.writer.create(daemon_set(), by=ME)
    await until(lambda: _is_out(plane, 3))
    victim = plane.pods()[0]

    def fail(obj: Pod) -> None:
        obj.status.phase, obj.status.reason = "Failed", "Evicted"

    await plane.writer.mutate(Pod, "default", victim.metadata.name, fail, by=ME, subresource="status")
    await until(lambda: plane.reader.get(Pod, "default", victim.metadata.name) is None and _is_out(plane, 3))
    await until(lambda: any(e.reason == "FailedDaemonPod" for e in plane.reader.list(Event)))


async def test_its_pods_go_with_a_daemon_set(plane: ControlPlane) -> None:
    await plane.writer.create(daemon_set(), by=ME)
    await until(lambda: _is_out(plane, 3))
    await plane.writer.delete(Key("DaemonSet", "default", "agent"), by=ME)
    await until(lambda: not plane.reader.list(Pod) and not plane.reader.list(ControllerRevision))
