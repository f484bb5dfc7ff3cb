"""Configuration that rolls with StatefulSets and DaemonSets: over a running control plane, and on hollow nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from master.api.revision_view import history, to_return_to
from podium.codec.revisions import template_of
from podium.objects.config import contents_of
from podium.objects.history import hash_of, in_order
from podium.objects.kinds import Key, key_of
from podium.objects.owners import is_controlled_by
from podium.objects.pod import is_ready
from podium.v1.apps_pb2 import ControllerRevision, DaemonSet, StatefulSet
from podium.v1.core_pb2 import ConfigMap, Event, Pod, Secret
from podium.v1.objects_service_pb2 import ObjectKey
from podium.v1.policy_pb2 import ResourceQuota
from podium.v1.rollouts_service_pb2 import RolloutHistoryRequest, RolloutUndoRequest
from podium.v1.rollouts_service_pb2_grpc import RolloutsStub
from tests.support.cluster import ADMIN, HollowCluster, hollow_cluster
from tests.support.configuration import config_map, secret
from tests.support.control_plane import ME, ControlPlane, control_plane
from tests.support.host_volumes import host_volumes
from tests.support.waiting import until
from tests.support.workloads import daemon_set, stateful_set

Kind = type[StatefulSet] | type[DaemonSet]
KINDS = pytest.mark.parametrize("kind", [StatefulSet, DaemonSet])
NAMES = {StatefulSet: "db", DaemonSet: "agent"}


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with control_plane() as running:
        await running.writer.create(config_map("app", {"LEVEL": "info"}, namespace="default"), by=ME)
        await running.writer.create(secret("creds", {"password": b"first"}, namespace="default"), by=ME)
        yield running


def _made(kind: Kind, **more: Any) -> Any:
    """A workload of three pods that uses both objects."""
    made: Any = stateful_set(**more) if kind is StatefulSet else daemon_set(**more)
    made.spec.config_rollout = "Automatic"
    container = made.spec.template.spec.containers[0]
    container.env_from.add().config_map_ref.name = "app"
    container.env_from.add().secret_ref.name = "creds"
    return made


def _get(plane: ControlPlane, kind: Kind) -> Any:
    found = plane.reader.get(kind, "default", NAMES[kind])
    assert found is not None
    return found


def _revisions(plane: ControlPlane, kind: Kind) -> list[ControllerRevision]:
    owner = _get(plane, kind)
    return in_order(r for r in plane.reader.list(ControllerRevision, "default") if is_controlled_by(r, owner))


def _levels(plane: ControlPlane) -> dict[str, str]:
    """What each pod sees in its environment."""
    names = {p.metadata.name: p.spec.containers[0].env_from[0].config_map_ref.name for p in plane.pods()}
    found = {pod: plane.reader.get(ConfigMap, "default", name) for pod, name in names.items()}
    return {pod: obj.data["LEVEL"] if obj is not None else "missing" for pod, obj in found.items()}


def _all_see(plane: ControlPlane, level: str) -> bool:
    pods = plane.pods()
    return len(pods) == 3 and all(map(is_ready, pods)) and set(_levels(plane).values()) == {level}


async def _set_level(plane: ControlPlane, level: str) -> None:
    await plane.writer.mutate(ConfigMap, "default", "app", lambda obj: obj.data.update(LEVEL=level), by=ME)


async def _undo(plane: ControlPlane, kind: Kind, number: int = 0) -> None:
    target = to_return_to(_get(plane, kind), _revisions(plane, kind), number)
    assert target is not None
    template = template_of(target)
    await plane.writer.mutate(kind, "default", NAMES[kind], lambda o: o.spec.template.CopyFrom(template), by=ME)


async def _ready_at_least(plane: ControlPlane, level: str) -> int:
    """How many pods were ready at the worst moment, until all see this."""
    least = 3
    async with plane.reader.subscribe(Pod) as changes, asyncio.timeout(20):
        await _set_level(plane, level)
        async for _ in changes:
            least = min(least, sum(map(is_ready, plane.pods())))
            if _all_see(plane, level):
                return least
    raise AssertionError("the changes ended")


@KINDS
async def test_a_change_replaces_pods_one_by_one_and_undo_brings_the_content_back(
    plane: ControlPlane, kind: Kind
) -> None:
    await plane.writer.create(_made(kind), by=ME)
    await until(lambda: _all_see(plane, "info"))
    before = {p.metadata.uid for p in plane.pods()}
    assert await _ready_at_least(plane, "debug") == 2
    assert not before & {p.metadata.uid for p in plane.pods()}
    await until(lambda: "ConfigChanged" in {e.reason for e in plane.reader.list(Event, "default")})
    await _undo(plane, kind)
    await until(lambda: _all_see(plane, "info"), what="the object says debug, but the revision ran with info")
    await plane.restart()
    await until(lambda: plane.runtime.idle)
    assert _all_see(plane, "info")
    await _set_level(plane, "warning")
    await until(lambda: _all_see(plane, "warning"))
    assert [r.revision for r in _revisions(plane, kind)] == [2, 3, 4]


@KINDS
async def test_a_change_that_the_master_did_not_see_happen_is_rolled_out(plane: ControlPlane, kind: Kind) -> None:
    await plane.writer.create(_made(kind), by=ME)
    await until(lambda: _all_see(plane, "info"))
    async with plane.stopped():
        await _set_level(plane, "debug")
    await until(lambda: _all_see(plane, "debug"))


@KINDS
async def test_with_on_delete_a_change_waits_for_people(plane: ControlPlane, kind: Kind) -> None:
    await plane.writer.create(_made(kind, on_delete=True), by=ME)
    await until(lambda: _all_see(plane, "info"))
    await _set_level(plane, "debug")
    await until(lambda: len(_revisions(plane, kind)) == 2 and plane.runtime.idle)
    assert _all_see(plane, "info")
    victim = plane.pods()[0]
    await plane.writer.delete(key_of(victim), by=ME)
    await until(lambda: len(plane.pods()) == 3 and sorted(_levels(plane).values()) == ["debug", "info", "info"])


@KINDS
async def test_copies_go_with_the_last_revision_that_needs_them(plane: ControlPlane, kind: Kind) -> None:
    made = _made(kind)
    made.spec.revision_history_limit = 1
    await plane.writer.create(made, by=ME)
    await until(lambda: _all_see(plane, "info"))
    for level in ("debug", "warning"):
        await _set_level(plane, level)
        await until(lambda: _all_see(plane, level))  # noqa: B023 - awaited here

    def copies(message: type[Any], name: str) -> bool:
        kept = {name, *(f"{name}-{hash_of(r)}" for r in _revisions(plane, kind))}
        return len(kept) == 3 and {o.metadata.name for o in plane.reader.list(message, "default")} == kept

    await until(lambda: copies(ConfigMap, "app") and copies(Secret, "creds"))
    await plane.writer.delete(Key(kind.DESCRIPTOR.name, "default", NAMES[kind]), by=ME)
    await until(lambda: [o.metadata.name for o in plane.reader.list(ConfigMap, "default")] == ["app"])


@KINDS
async def test_history_shows_what_changed_but_no_secret(plane: ControlPlane, kind: Kind) -> None:
    await plane.writer.create(_made(kind), by=ME)
    await until(lambda: _all_see(plane, "info"))
    await _set_level(plane, "debug")
    await until(lambda: _all_see(plane, "debug"))
    await plane.writer.mutate(Secret, "default", "creds", lambda obj: obj.data.update(password=b"hidden"), by=ME)
    await until(lambda: len(_revisions(plane, kind)) == 3)

    def told() -> list[list[str]]:
        found = history(_get(plane, kind), _revisions(plane, kind), lambda r: contents_of(r, plane.reader.get))
        assert "hidden" not in str(found)
        return [list(r.changes) for r in found]

    await until(
        lambda: told() == [[], ["ConfigMap/app[LEVEL]: info -> debug"], ["Secret/creds[password]: changed"]],
        what="the copies of the third revision",
    )


@KINDS
async def test_while_copies_are_refused_what_runs_is_healed_and_nothing_is_updated(
    plane: ControlPlane, kind: Kind
) -> None:
    await plane.writer.create(_made(kind), by=ME)
    await until(lambda: _all_see(plane, "info"))
    quota = ResourceQuota()
    quota.metadata.namespace, quota.metadata.name = "default", "few"
    quota.spec.hard["configmaps"] = "2"
    await plane.writer.create(quota, by=ME)
    await _set_level(plane, "debug")
    await until(lambda: "FailedPin" in {e.reason for e in plane.reader.list(Event, "default")})
    victim = plane.pods()[0]
    await plane.writer.delete(key_of(victim), by=ME)
    await until(lambda: _all_see(plane, "info") and victim.metadata.uid not in {p.metadata.uid for p in plane.pods()})
    await plane.writer.delete(Key("ResourceQuota", "default", "few"), by=ME)
    await until(lambda: _all_see(plane, "debug"), seconds=20)


async def test_below_the_partition_pods_keep_the_content_of_their_revision(plane: ControlPlane) -> None:
    await plane.writer.create(_made(StatefulSet, partition=1), by=ME)
    await until(lambda: _all_see(plane, "info"))
    await _set_level(plane, "debug")
    await until(lambda: _levels(plane) == {"db-0": "info", "db-1": "debug", "db-2": "debug"})
    first = next(p for p in plane.pods() if p.metadata.name == "db-0")
    await plane.writer.delete(key_of(first), by=ME)
    await until(lambda: len(plane.pods()) == 3 and first.metadata.uid not in {p.metadata.uid for p in plane.pods()})
    assert _levels(plane)["db-0"] == "info"


@KINDS
async def test_a_copy_that_was_deleted_is_made_again_and_what_is_in_its_place_is_told(
    plane: ControlPlane, kind: Kind
) -> None:
    await plane.writer.create(_made(kind), by=ME)
    await until(lambda: _all_see(plane, "info"))
    copy = Key("ConfigMap", "default", f"app-{hash_of(_revisions(plane, kind)[0])}")
    await plane.writer.delete(copy, by=ME)
    await until(lambda: _all_see(plane, "info"))
    async with plane.stopped():
        await plane.writer.delete(copy, by=ME)
        await plane.writer.create(config_map(copy.name, {"LEVEL": "mine"}, namespace="default"), by=ME)
    told = "is not the copy that"
    await until(lambda: any(told in e.message for e in plane.reader.list(Event, "default")))
    await plane.writer.delete(copy, by=ME)
    await until(lambda: _all_see(plane, "info"))


@KINDS
async def test_turned_off_again_pods_use_the_objects_themselves(plane: ControlPlane, kind: Kind) -> None:
    await plane.writer.create(_made(kind), by=ME)
    await until(lambda: _all_see(plane, "info"))

    def never(obj: Any) -> None:
        obj.spec.config_rollout = "Never"

    def used() -> set[str]:
        return {p.spec.containers[0].env_from[0].config_map_ref.name for p in plane.pods()}

    await plane.writer.mutate(kind, "default", NAMES[kind], never, by=ME)
    await until(lambda: len(plane.pods()) == 3 and used() == {"app"})
    assert not _get(plane, kind).status.observed_config


# ---------------------------------------------------------------- on hollow nodes


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[HollowCluster]:
    async with hollow_cluster(tmp_path) as running:
        for name in ("node1", "node2", "node3"):
            await running.add_node(name, volumes=host_volumes(tmp_path / name))
        await until(lambda: len(running.ready_nodes()) == 3)
        yield running


def _shown(cluster: HollowCluster, tmp_path: Path) -> list[str]:
    """The file that each running pod has on its node."""
    alive = [p for p in cluster.pods(phase="Running") if not p.metadata.HasField("deletion_timestamp")]
    files = [tmp_path / p.spec.node_name / p.metadata.uid / "files" / "LEVEL" for p in alive]
    return [file.read_text() if file.exists() else "" for file in files]


@KINDS
async def test_pods_on_nodes_are_shown_what_their_revision_pinned(
    cluster: HollowCluster, tmp_path: Path, kind: Kind
) -> None:
    made: Any = stateful_set() if kind is StatefulSet else daemon_set()
    made.spec.config_rollout = "Automatic"
    made.spec.template.spec.volumes.add(name="files").config_map.name = "app"
    made.spec.template.spec.containers[0].volume_mounts.add(name="files", mount_path="/etc/app")
    await cluster.writer.create(config_map("app", {"LEVEL": "info"}, namespace="default"), by=ADMIN)
    await cluster.writer.create(made, by=ADMIN)
    await until(lambda: _shown(cluster, tmp_path) == ["info"] * 3, seconds=30)
    await cluster.writer.mutate(ConfigMap, "default", "app", lambda obj: obj.data.update(LEVEL="debug"), by=ADMIN)
    await until(lambda: _shown(cluster, tmp_path) == ["debug"] * 3, seconds=30)
    key = ObjectKey(kind=kind.DESCRIPTOR.name, namespace="default", name=NAMES[kind])
    async with cluster.admin() as channel:
        rollouts: Any = RolloutsStub(channel)
        told = await rollouts.History(RolloutHistoryRequest(key=key))
        assert list(told.revisions[-1].changes) == ["ConfigMap/app[LEVEL]: info -> debug"]
        await rollouts.Undo(RolloutUndoRequest(key=key))
    await until(lambda: _shown(cluster, tmp_path) == ["info"] * 3, seconds=30)
