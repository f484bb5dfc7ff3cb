"""ReplicationController, DaemonSet and StatefulSet over the real doors and cache, with a kubelet that needs no time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from master.access.protocol import ChangeType
from master.access.subresources import scale_of
from master.access.writes import Rescale
from podium.objects.kinds import Key, key_of
from podium.objects.pod import is_ready
from podium.v1.apps_pb2 import ControllerRevision, DaemonSet, ReplicationController, Scale, StatefulSet
from podium.v1.core_pb2 import Event, Node, Pod, Taint
from podium.v1.meta_pb2 import DeleteOptions
from tests.support.control_plane import ME, ControlPlane, control_plane
from tests.support.waiting import until
from tests.support.workloads import daemon_set, node, pod, replica_set, replication_controller, stateful_set


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


# ---------------------------------------------------------------- StatefulSet


def _stateful(plane: ControlPlane, name: str = "db") -> StatefulSet:
    found = plane.reader.get(StatefulSet, "default", name)
    assert found is not None
    return found


def _has(plane: ControlPlane, *names: str) -> bool:
    """Whether exactly these pods exist and are available, and the status says so."""
    made = _stateful(plane)
    status = made.status
    return (
        status.observed_generation == made.metadata.generation
        and status.replicas == status.available_replicas == len(names)
        and [p.metadata.name for p in plane.reader.list(Pod, "default")] == sorted(names)
    )


def _is_updated(plane: ControlPlane) -> bool:
    status = _stateful(plane).status
    return status.current_revision == status.update_revision and status.updated_replicas == status.replicas


async def test_a_stateful_set_grows_and_shrinks_in_order(plane: ControlPlane) -> None:
    born: list[str] = []
    async with plane.reader.subscribe(Pod, StatefulSet) as changes, asyncio.timeout(10):
        await plane.writer.create(stateful_set(replicas=3), by=ME)
        async for batch in changes:
            born += [c.new.metadata.name for c in batch if isinstance(c.new, Pod) and c.type is ChangeType.ADDED]
            assert sum(not is_ready(p) for p in plane.pods()) <= 1
            if plane.reader.list(StatefulSet) and _has(plane, "db-0", "db-1", "db-2"):
                break
    assert born == ["db-0", "db-1", "db-2"]
    (first, *_) = plane.pods()
    assert (first.spec.hostname, first.spec.subdomain) == ("db-0", "dbs")
    await plane.writer.mutate(StatefulSet, "default", "db", lambda s: _scale(s, 1), by=ME)
    await until(lambda: _has(plane, "db-0"))


def _scale(obj: StatefulSet, replicas: int) -> None:
    obj.spec.replicas = replicas


async def test_a_lost_pod_comes_back_under_its_name_once_the_old_one_has_ended(plane: ControlPlane) -> None:
    await plane.writer.create(stateful_set(replicas=2, parallel=True), by=ME)
    await until(lambda: _has(plane, "db-0", "db-1"))
    victim = plane.reader.get(Pod, "default", "db-1")
    assert victim is not None
    plane.kubelet.frozen.add(victim.spec.node_name)
    await plane.writer.delete(key_of(victim), by=ME)
    await until(lambda: plane.runtime.idle)
    there = plane.reader.get(Pod, "default", "db-1")
    assert there is not None
    assert there.metadata.uid == victim.metadata.uid
    plane.kubelet.frozen.clear()
    await plane.kubelet.nudge()
    await until(lambda: _uid(plane, "db-1") not in ("", victim.metadata.uid) and _has(plane, "db-0", "db-1"))


def _uid(plane: ControlPlane, name: str) -> str:
    found = plane.reader.get(Pod, "default", name)
    return found.metadata.uid if found is not None else ""


async def test_a_stateful_set_rolls_from_the_top_to_its_partition_and_on(plane: ControlPlane) -> None:
    await plane.writer.create(stateful_set(replicas=3, partition=1), by=ME)
    await until(lambda: _has(plane, "db-0", "db-1", "db-2") and _is_updated(plane))
    await _set_image(plane, StatefulSet, "db", "busybox:2")
    await until(lambda: _has(plane, "db-0", "db-1", "db-2") and _stateful(plane).status.updated_replicas == 2)
    assert [p.metadata.name for p in plane.pods("busybox")] == ["db-0"]
    (before,) = plane.pods("busybox")
    await plane.writer.delete(key_of(before), by=ME)
    await until(lambda: _uid(plane, "db-0") not in ("", before.metadata.uid) and _has(plane, "db-0", "db-1", "db-2"))
    assert [p.metadata.name for p in plane.pods("busybox")] == ["db-0"], "made again of the revision before"

    def release(obj: StatefulSet) -> None:
        obj.spec.update_strategy.rolling_update.partition = 0

    await plane.writer.mutate(StatefulSet, "default", "db", release, by=ME)
    await until(lambda: _is_updated(plane) and len(plane.pods("busybox:2")) == 3)


@pytest.mark.parametrize("parallel", [False, True])
async def test_a_broken_template_is_taken_back_without_help(plane: ControlPlane, parallel: bool) -> None:
    await plane.writer.create(stateful_set(replicas=3, parallel=parallel), by=ME)
    await until(lambda: _has(plane, "db-0", "db-1", "db-2") and _is_updated(plane))
    await _set_image(plane, StatefulSet, "db", "crash")
    await until(lambda: [p.metadata.name for p in plane.pods("crash")] == ["db-2"] and plane.runtime.idle)
    assert len(plane.pods("busybox")) == 2
    await _set_image(plane, StatefulSet, "db", "busybox")
    await until(lambda: _has(plane, "db-0", "db-1", "db-2") and len(plane.pods("busybox")) == 3)


async def test_a_template_that_never_worked_is_mended_by_the_next(plane: ControlPlane) -> None:
    await plane.writer.create(stateful_set(replicas=2, image="crash"), by=ME)
    await until(lambda: [p.metadata.name for p in plane.pods("crash")] == ["db-0"] and plane.runtime.idle)
    await _set_image(plane, StatefulSet, "db", "busybox")
    await until(lambda: _has(plane, "db-0", "db-1") and _is_updated(plane))


async def test_a_stateful_set_is_scaled_by_its_sub_resource(plane: ControlPlane) -> None:
    await plane.writer.create(stateful_set(replicas=1), by=ME)
    await until(lambda: _has(plane, "db-0"))
    scale = Scale()
    scale.spec.replicas = 2
    await plane.writer.write(Rescale(key=Key("StatefulSet", "default", "db"), scale=scale), by=ME)
    await until(lambda: _has(plane, "db-0", "db-1"))
    assert scale_of(_stateful(plane)).status.selector == "app=web"


@pytest.mark.parametrize("made", [daemon_set(), stateful_set()], ids=lambda made: type(made).__name__)
async def test_deleted_in_the_foreground_all_goes_first_and_nothing_comes_back(
    plane: ControlPlane, made: DaemonSet | StatefulSet
) -> None:
    kind, name = type(made), made.metadata.name
    await plane.writer.create(made, by=ME)
    await until(lambda: len([p for p in plane.pods() if is_ready(p)]) == 3)
    options = DeleteOptions(propagation_policy="Foreground")
    await plane.writer.delete(Key(kind.DESCRIPTOR.name, "default", name), by=ME, options=options)
    await until(lambda: plane.reader.get(kind, "default", name) is None)
    await until(lambda: not plane.reader.list(Pod) and not plane.reader.list(ControllerRevision))
