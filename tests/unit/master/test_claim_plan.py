"""Binding: which claim gets which volume, when one is made, and what is said when none can be had."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.controllers.claim_plan import Adopt, Complete, Deselect, Grow, Lose, Make, Release, Rest, Take
from podium.objects import storage
from podium.objects.storage import MANY, NO_PROVISIONER, ONCE, ONCE_POD, ONLY_MANY
from tests.support.storage import World, bind, claim, node, storage_class, volume


def _terminating(obj: Any) -> Any:
    obj.metadata.deletion_timestamp.seconds = 1
    return obj


# ---------------------------------------------------------------- static volumes


def test_the_smallest_volume_that_fits_is_taken_then_the_claim_completed() -> None:
    world = World(claim(size="2Gi"), volume("small", "1Gi"), volume("large", "9Gi"), volume("right", "3Gi"))
    assert world.step() == Take(world.volumes["right"])
    assert world.step() == Complete(world.volumes["right"])
    assert world.settle() == Rest()
    assert world.claims["c"].status.capacity[storage.STORAGE] == "3Gi"


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (volume("v", "1Mi"), "1 too small"),
        (volume("v", modes=[MANY]), "1 without the access mode"),
        (volume("v", cls="fast"), "for this claim"),
        (_terminating(volume("v")), "1 in use"),
    ],
)
def test_a_volume_that_does_not_fit_is_left_alone_and_said_why(other: Any, why: str) -> None:
    rest = World(claim(), other).settle()
    assert rest.reason == "FailedBinding"
    assert why in rest.message


def test_a_selector_narrows_the_choice() -> None:
    wanted = claim()
    wanted.spec.selector.match_labels["disk"] = "ssd"
    world = World(wanted, volume("a"), volume("b", "5Gi", labels={"disk": "ssd"}))
    assert world.step() == Take(world.volumes["b"])


def test_a_volume_kept_for_a_claim_goes_to_it_and_to_no_other() -> None:
    kept = volume("kept")
    kept.spec.claim_ref.namespace, kept.spec.claim_ref.name = "default", "c"
    world = World(claim("other"), claim(), kept)
    assert world.settle("other").reason == "FailedBinding"
    assert world.step() == Take(kept)


def test_a_claim_that_names_its_volume() -> None:
    named = claim()
    named.spec.volume_name = "v"
    assert "not found" in World(named).settle().message
    assert isinstance(World(named, volume("v")).step(), Take)
    assert World(named, volume("v", "1Mi")).settle().reason == "VolumeMismatch"
    taken = volume("v")
    bind(taken, claim("other"))
    assert "already bound to a different claim" in World(named, taken).settle().message


def test_whoever_died_between_the_two_writes_is_completed() -> None:
    taken = volume("v")
    taken.spec.claim_ref.namespace, taken.spec.claim_ref.name, taken.spec.claim_ref.uid = "default", "c", "uid-c"
    world = World(claim(), taken, volume("smaller", "1Gi"))
    assert world.step() == Complete(taken)


# ---------------------------------------------------------------- classes


def test_a_claim_without_class_gets_the_default_when_there_is_one() -> None:
    world = World(claim(cls=None), storage_class("a", default=True), storage_class("b"))
    assert world.step() == Adopt("a")
    assert World(claim(cls=""), storage_class("a", default=True)).settle().reason == "FailedBinding"


@pytest.mark.parametrize(
    ("cls", "reason", "words"),
    [
        (None, "ProvisioningFailed", 'storageclass.storage.k8s.io "local" not found'),
        (storage_class(), "WaitForFirstConsumer", "first consumer"),
        (storage_class(provisioner="nfs.example.com/x", mode="Immediate"), "ExternalProvisioning", "nfs.example.com/x"),
        (storage_class(provisioner=NO_PROVISIONER, mode="Immediate"), "FailedBinding", "makes none"),
        (storage_class(mode="Immediate"), "ProvisioningFailed", "none of 1 nodes"),
    ],
)
def test_why_a_claim_waits(cls: Any, reason: str, words: str) -> None:
    rest = World(claim(cls="local"), cls, node("n1", ready=False)).settle()
    assert rest.reason == reason
    assert words in rest.message


def test_a_delayed_class_waits_though_a_volume_is_there() -> None:
    world = World(claim(cls="local"), storage_class(), volume("v", cls="local"))
    assert world.settle().reason == "WaitForFirstConsumer"


# ---------------------------------------------------------------- provisioning


def test_a_volume_is_made_on_the_selected_node() -> None:
    wanted = claim(size="2Gi", cls="local")
    wanted.metadata.annotations[storage.SELECTED_NODE] = "n2"
    world = World(wanted, storage_class(), node("n1"), node("n2"))
    action = world.step()
    assert isinstance(action, Make)
    made = action.volume
    assert (made.metadata.name, action.node, storage.where(made)) == ("pvc-uid-c", "n2", "n2:/data/n2/pvc-uid-c")
    assert made.spec.claim_ref.uid == "uid-c"
    assert storage.LOCAL_DATA in made.metadata.finalizers
    assert world.settle() == Rest()
    assert storage.is_bound(wanted)


def test_a_pod_that_came_to_its_node_without_the_scheduler_selects_it() -> None:
    world = World(claim(cls="local"), storage_class(), node("n1"), node("n2"), volume("v", cls="local", node="n1"))
    world.pods["c"] = [("p", "n2")]
    assert isinstance(world.step(), Make)
    world = World(claim(cls="local"), storage_class(), node("n1"), volume("v", cls="local", node="n1"))
    world.pods["c"] = [("p", "n1")]
    assert world.step() == Take(world.volumes["v"])


def test_at_once_it_is_made_where_fewest_are() -> None:
    world = World(
        claim(cls="local"),
        storage_class(mode="Immediate"),
        node("n1"),
        node("n2"),
        node("n0", ready=False),
        volume("v"),
    )
    action = world.step()
    assert isinstance(action, Make)
    assert action.node == "n2"


def test_a_selected_node_that_is_gone_or_not_allowed_is_chosen_anew() -> None:
    wanted = claim(cls="local")
    wanted.metadata.annotations[storage.SELECTED_NODE] = "n9"
    world = World(wanted, storage_class(), node("n1"))
    assert isinstance(world.step(), Deselect)
    assert world.settle().reason == "WaitForFirstConsumer"
    wanted.metadata.annotations[storage.SELECTED_NODE] = "n1"
    world.classes["local"].allowed_topologies.add().match_label_expressions.add(key="zone", values=["a"])
    assert isinstance(world.step(), Deselect)


@pytest.mark.parametrize("mode", [MANY, ONLY_MANY])
def test_a_local_volume_cannot_be_shared_by_nodes(mode: str) -> None:
    for binding in ("Immediate", "WaitForFirstConsumer"):
        rest = World(claim(cls="local", modes=[mode]), storage_class(mode=binding), node("n1")).settle()
        assert f"{mode} is not possible" in rest.message
    shared = volume("v", cls="local", modes=[mode], node="")
    assert World(claim(cls="local", modes=[mode]), storage_class(), shared).settle().reason == "WaitForFirstConsumer"


def test_none_is_made_for_a_selector() -> None:
    wanted = claim(cls="local")
    wanted.spec.selector.match_labels["a"] = "b"
    assert "selector" in World(wanted, storage_class(mode="Immediate"), node("n1")).settle().message


# ---------------------------------------------------------------- bound


def _bound(size: str = "1Gi", cls: str = "local") -> World:
    world = World(claim(size=size, cls=cls), storage_class(mode="Immediate"), node("n1"))
    _ = world.settle()
    return world


def test_a_request_that_grew_makes_the_volume_grow_when_its_class_allows() -> None:
    world = _bound()
    world.claims["c"].spec.resources.requests[storage.STORAGE] = "5Gi"
    assert world.step() == Grow(world.volumes["pvc-uid-c"], "5Gi")
    assert world.settle() == Rest()
    assert world.claims["c"].status.capacity[storage.STORAGE] == "5Gi"
    world.classes["local"].allow_volume_expansion = False
    world.claims["c"].spec.resources.requests[storage.STORAGE] = "6Gi"
    assert world.settle().reason == "ExpansionNotAllowed"


def test_a_volume_that_podium_did_not_make_is_grown_by_its_owner() -> None:
    world = World(claim(cls="local"), storage_class(NO_PROVISIONER), storage_class("local"), volume("v", cls="local"))
    bind(world.volumes["v"], world.claims["c"])
    world.claims["c"].spec.resources.requests[storage.STORAGE] = "5Gi"
    assert world.settle().reason == "ExternalExpanding"
    world.volumes["v"].spec.capacity[storage.STORAGE] = "5Gi"
    assert world.settle() == Rest()


def test_a_claim_whose_volume_is_gone_is_lost_and_found_again() -> None:
    world = _bound()
    kept = world.volumes.pop("pvc-uid-c")
    assert isinstance(world.step(), Lose)
    assert world.settle().reason == "ClaimLost"
    world.volumes["pvc-uid-c"] = kept
    assert world.settle() == Rest()
    assert storage.is_bound(world.claims["c"])
    bind(kept, claim("other"))
    assert world.step().reason == "ClaimMisbound"  # type: ignore[union-attr]


def test_a_claim_in_use_is_not_let_go() -> None:
    world = _bound()
    _terminating(world.claims["c"])
    world.pods["c"] = [("web-1", "n1"), ("web-0", "n1")]
    rest = world.settle()
    assert (rest.reason, rest.about) == ("InUse", "Deleting")
    assert "web-0, web-1" in rest.message
    world.pods.clear()
    assert world.step() == Release()


# ---------------------------------------------------------------- properties

SIZES = ["1Gi", "2Gi", "3Gi", "4Gi"]
MODES = st.one_of(st.just([ONCE_POD]), st.lists(st.sampled_from([ONCE, MANY, ONLY_MANY]), min_size=1, unique=True))
CLASSES = st.sampled_from(["", "local", "static"])


@given(
    sizes=st.lists(st.tuples(st.sampled_from(SIZES), MODES, CLASSES), max_size=6),
    wishes=st.lists(st.tuples(st.sampled_from(SIZES), MODES, CLASSES), max_size=6),
    order=st.lists(st.integers(0, 5), max_size=40),
)
def test_whatever_the_order_no_volume_has_two_claims_and_none_is_too_small(
    sizes: list[Any], wishes: list[Any], order: list[int]
) -> None:
    world = World(
        storage_class(mode="Immediate"),
        storage_class("static", NO_PROVISIONER, mode="Immediate"),
        node("n1"),
        *(volume(f"v{i}", size, modes=modes, cls=cls) for i, (size, modes, cls) in enumerate(sizes)),
        *(claim(f"c{i}", size, modes=modes, cls=cls) for i, (size, modes, cls) in enumerate(wishes)),
    )
    for turn in order:  # single steps of different claims interleave as they like
        if turn < len(wishes):
            _ = world.step(f"c{turn}")
            _check(world)
    for name in world.claims:
        _ = world.settle(name)
    _check(world)
    for waiting in world.claims.values():
        if not storage.is_bound(waiting):
            assert storage.smallest_fit(waiting, world.volumes.values()) is None


def _check(world: World) -> None:
    bound = [c for c in world.claims.values() if storage.is_bound(c)]
    assert not [name for name, count in Counter(c.spec.volume_name for c in bound).items() if count > 1]
    for one in bound:
        its = world.volumes[one.spec.volume_name]
        assert storage.belongs_to(its, one)
        assert storage.misfit(its, one) == ""
