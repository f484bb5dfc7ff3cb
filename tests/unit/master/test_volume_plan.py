"""Volumes: their phases, and how the ones that Podium made are reclaimed."""

from __future__ import annotations

from typing import Any

import pytest

from master.controllers.claim_plan import provisioned
from master.controllers.volume_plan import Free, Leave, Remove, Settle, Unhold, plan_volume
from podium.objects import storage
from podium.v1.storage_pb2 import PersistentVolume
from tests.support.storage import World, bind, claim, node, storage_class, volume


def made(*, policy: str = "Delete") -> PersistentVolume:
    """A volume of podium.dev/local on n1, whose claim `c` is bound."""
    cls = storage_class()
    cls.reclaim_policy = policy
    its = provisioned(claim(), cls, node("n1"))
    its.metadata.finalizers.append(storage.VOLUME_PROTECTION)
    its.status.phase = storage.BOUND
    return its


def run(its: PersistentVolume, world: World) -> list[Any]:
    """Every action until the volume rests."""
    done: list[Any] = []
    while not isinstance(action := plan_volume(its, world), Leave):
        done.append(action)
        match action:
            case Settle(phase, reason, message):
                its.status.phase, its.status.reason, its.status.message = phase, reason, message
            case Free():
                its.spec.ClearField("claim_ref")
            case Remove():
                its.metadata.deletion_timestamp.seconds = 1
            case Unhold(finalizer):
                its.metadata.finalizers.remove(finalizer)
        assert len(done) < 10, done
    return done


def test_phases_follow_the_claim() -> None:
    its, wanted = volume("v"), claim()
    assert run(its, World()) == [Settle(storage.AVAILABLE)]
    bind(its, wanted)
    its.status.phase = storage.AVAILABLE
    assert run(its, World(wanted, node("n1"))) == [Settle(storage.BOUND)]
    assert run(its, World()) == [Settle(storage.RELEASED, message="claim default/c is gone; the data is kept")]


def test_a_claim_of_the_same_name_is_another_claim() -> None:
    its, another = volume("v"), claim()
    bind(its, claim())
    another.metadata.uid = "another"
    assert plan_volume(its, World(another)) == Settle(
        storage.RELEASED, message="claim default/c is gone; the data is kept"
    )


def test_a_volume_kept_for_a_claim_is_available() -> None:
    its = volume("v")
    its.spec.claim_ref.namespace, its.spec.claim_ref.name = "default", "c"
    assert run(its, World()) == [Settle(storage.AVAILABLE, message="kept for claim default/c")]


def test_a_static_volume_is_never_deleted() -> None:
    its = volume("v")
    its.spec.persistent_volume_reclaim_policy = "Delete"
    bind(its, claim())
    [action] = run(its, World())
    assert (action.phase, action.reason) == (storage.FAILED, "VolumeFailedDelete")


def test_a_volume_that_its_claim_did_not_take_is_free_again() -> None:
    its, wanted = volume("v"), claim()
    bind(its, wanted)
    wanted.spec.volume_name = "other"
    its.metadata.annotations[storage.BOUND_BY_CONTROLLER] = "yes"
    assert run(its, World(wanted)) == [Free(), Settle(storage.AVAILABLE)]


def test_a_made_volume_is_held_until_its_node_removed_the_folder() -> None:
    its, world = made(), World(node("n1"))
    assert not storage.is_condemned(its)
    *_, removed, unheld, waits = run(its, world)
    assert (removed, unheld) == (Remove(), Unhold(storage.VOLUME_PROTECTION))
    assert waits.message == "waits for node n1 to remove /data/n1/pvc-uid-c"
    assert storage.is_condemned(its)
    assert list(its.metadata.finalizers) == [storage.LOCAL_DATA]


def test_a_node_that_is_away_is_waited_for_and_one_that_is_gone_is_not() -> None:
    its, world = made(), World(node("n1", ready=False))
    assert "delete its Node object" in run(its, world)[-1].message
    world.hosts.clear()
    [action] = run(its, world)
    assert action.finalizer == storage.LOCAL_DATA
    assert "could not be removed" in action.warning
    assert not its.metadata.finalizers


def test_what_the_node_said_of_its_failure_stays() -> None:
    its, world = made(), World(node("n1"))
    _ = run(its, world)
    its.status.reason, its.status.message = "VolumeFailedDelete", "read-only file system"
    assert run(its, world) == []


@pytest.mark.parametrize("claimed", [True, False])
def test_a_kept_volume_that_is_deleted_leaves_its_data(claimed: bool) -> None:
    its = made(policy="Retain")
    its.metadata.deletion_timestamp.seconds = 1
    world = World(node("n1"), *([claim()] if claimed else []))
    if claimed:
        world.claims["c"].spec.volume_name = its.metadata.name
        assert run(its, world) == []
        assert storage.VOLUME_PROTECTION in its.metadata.finalizers
        return
    _ = run(its, world)
    assert not its.metadata.finalizers


def test_a_bound_volume_says_when_its_node_is_gone() -> None:
    its, wanted = made(), claim()
    wanted.spec.volume_name = its.metadata.name
    [action] = run(its, World(wanted))
    assert (action.phase, action.reason, action.warning) == (storage.BOUND, "NodeGone", True)
    assert run(its, World(wanted, node("n1"))) == [Settle(storage.BOUND)]
