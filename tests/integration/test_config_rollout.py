"""Configuration that rolls with its Deployment, over a running control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest

from master.api.rollout_view import history
from podium.objects.conditions import get_condition
from podium.objects.config import contents_of, pins_of
from podium.objects.kinds import Key
from podium.objects.revisions import bare_template, current_of, revision_of
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.core_pb2 import ConfigMap, Event, Secret
from podium.v1.policy_pb2 import ResourceQuota
from tests.support.control_plane import ME, ControlPlane, control_plane
from tests.support.waiting import until
from tests.support.workloads import deployment


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with control_plane() as running:
        config, secret = ConfigMap(data={"LEVEL": "info"}), Secret(data={"password": b"first"})
        for obj, name in ((config, "app"), (secret, "creds")):
            obj.metadata.namespace, obj.metadata.name = "default", name
            await running.writer.create(obj, by=ME)
        made = deployment(replicas=3, history=2)
        made.spec.config_rollout = "Automatic"
        container = made.spec.template.spec.containers[0]
        container.env_from.add().config_map_ref.name = "app"
        container.env_from.add().secret_ref.name = "creds"
        await running.writer.create(made, by=ME)
        await until(lambda: _settled(running, 1))
        yield running


def _settled(plane: ControlPlane, revision: int) -> bool:
    """Whether this revision is the newest, rolled out, and all that runs."""
    newest = _newest(plane)
    told = get_condition(plane.deployment().status.conditions, "Progressing")
    done = told is not None and told.reason == "NewReplicaSetAvailable" and plane.is_rolled_out()
    return done and newest is not None and revision_of(newest) == revision and len(plane.pods()) == 3


def _newest(plane: ControlPlane) -> ReplicaSet | None:
    return current_of(plane.deployment(), plane.replica_sets())


def _levels(plane: ControlPlane) -> set[str]:
    """What the pods that run see in their environment."""
    names = {p.spec.containers[0].env_from[0].config_map_ref.name for p in plane.pods()}
    found = [plane.reader.get(ConfigMap, "default", name) for name in names]
    return {obj.data["LEVEL"] if obj is not None else "missing" for obj in found}


async def _set_level(plane: ControlPlane, level: str) -> None:
    await plane.writer.mutate(ConfigMap, "default", "app", lambda obj: obj.data.update(LEVEL=level), by=ME)


async def _go_back(plane: ControlPlane, revision: int) -> None:
    target = next(rs for rs in plane.replica_sets() if revision_of(rs) == revision)
    await plane.change(lambda obj: obj.spec.template.CopyFrom(bare_template(target)))


async def test_a_change_rolls_out_and_undo_brings_the_content_back(plane: ControlPlane) -> None:
    assert _levels(plane) == {"info"}
    before = {p.metadata.uid for p in plane.pods()}
    await _set_level(plane, "debug")
    await until(lambda: _settled(plane, 2))
    assert _levels(plane) == {"debug"}
    assert not before & {p.metadata.uid for p in plane.pods()}
    await until(lambda: "ConfigChanged" in {e.reason for e in plane.reader.list(Event, "default")})
    await _go_back(plane, 1)
    await until(lambda: _settled(plane, 3))
    assert _levels(plane) == {"info"}, "though the object says debug"
    await plane.restart()
    await until(lambda: plane.runtime.idle)
    assert _settled(plane, 3)
    await plane.set_image("busybox:2")
    await until(lambda: _settled(plane, 4))
    assert _levels(plane) == {"info"}, "another image runs with what the one before it ran with"
    await _set_level(plane, "warning")
    await until(lambda: _settled(plane, 5))
    assert _levels(plane) == {"warning"}


async def test_history_shows_what_changed_but_no_secret(plane: ControlPlane) -> None:
    await _set_level(plane, "debug")
    await until(lambda: _settled(plane, 2))
    await plane.writer.mutate(Secret, "default", "creds", lambda obj: obj.data.update(password=b"hidden"), by=ME)
    await until(lambda: _settled(plane, 3))
    told = history(plane.deployment(), plane.replica_sets(), lambda rs: contents_of(rs, plane.reader.get))
    assert [list(r.changes) for r in told] == [
        [],
        ["ConfigMap/app[LEVEL]: info -> debug"],
        ["Secret/creds[password]: changed"],
    ]
    assert "hidden" not in str(told)


async def test_copies_go_with_their_revision_and_stay_with_those_that_are_kept(plane: ControlPlane) -> None:
    for turn in range(2, 6):
        await _set_level(plane, f"level-{turn}")
        await until(partial(_settled, plane, turn))
    await until(lambda: len(plane.replica_sets()) == 3)
    wanted = {"app", *(f"app-{rs.metadata.name.removeprefix('web-')}" for rs in plane.replica_sets())}
    await until(lambda: {obj.metadata.name for obj in plane.reader.list(ConfigMap, "default")} == wanted)
    assert all(len(pins_of(rs)) == 2 for rs in plane.replica_sets())


async def test_a_change_that_the_master_did_not_see_happen_is_rolled_out(plane: ControlPlane) -> None:
    async with plane.stopped():
        await _set_level(plane, "debug")
    await until(lambda: _settled(plane, 2))
    assert _levels(plane) == {"debug"}


async def test_objects_and_a_template_that_change_together_make_one_rollout(plane: ControlPlane) -> None:
    await _set_level(plane, "debug")
    await plane.writer.mutate(Secret, "default", "creds", lambda obj: obj.data.update(password=b"second"), by=ME)
    await plane.set_image("busybox:2")
    await until(lambda: _settled(plane, 2))
    assert _levels(plane) == {"debug"}
    assert {p.spec.containers[0].image for p in plane.pods()} == {"busybox:2"}


async def test_copies_that_are_refused_hold_a_rollout_up_and_say_so(plane: ControlPlane) -> None:
    quota = ResourceQuota()
    quota.metadata.namespace, quota.metadata.name = "default", "few"
    quota.spec.hard["configmaps"] = "2"
    await plane.writer.create(quota, by=ME)
    await _set_level(plane, "debug")
    await until(lambda: "FailedPin" in {e.reason for e in plane.reader.list(Event, "default")})
    assert _levels(plane) == {"info"}
    await plane.writer.delete(Key("ResourceQuota", "default", "few"), by=ME)
    await until(lambda: _settled(plane, 2), seconds=20)


async def test_a_deleted_object_leaves_what_runs_alone(plane: ControlPlane) -> None:
    before = {p.metadata.uid for p in plane.pods()}
    await plane.writer.delete(Key("ConfigMap", "default", "app"), by=ME)
    await until(lambda: "ConfigMissing" in {e.reason for e in plane.reader.list(Event, "default")})
    assert (_settled(plane, 1), {p.metadata.uid for p in plane.pods()}) == (True, before)


async def test_without_it_pods_use_the_objects_themselves(plane: ControlPlane) -> None:
    def never(obj: Deployment) -> None:
        obj.spec.config_rollout = "Never"

    await plane.change(never)
    await until(lambda: _settled(plane, 2))
    assert {p.spec.containers[0].env_from[0].config_map_ref.name for p in plane.pods()} == {"app"}
    await _set_level(plane, "debug")
    await until(lambda: plane.runtime.idle)
    assert _settled(plane, 2)
