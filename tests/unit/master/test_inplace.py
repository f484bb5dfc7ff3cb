"""`resize: InPlace`, decided: who is asked and how many at once, who changes hands, who is given back."""

from __future__ import annotations

import pytest

from master.controllers.strategies.steps import CreateSet, ResizePod
from podium.objects.resizing import REFUSED, take_resources
from podium.objects.revisions import hash_of
from podium.v1.apps_pb2 import Deployment
from tests.support.inplace import World, sizes


def test_the_new_set_begins_empty() -> None:
    world = World()
    world.sets = [world.old]
    (step,) = world.plan().steps
    assert isinstance(step, CreateSet)
    assert step.replica_set.spec.replicas == 0


def test_without_being_asked_for_nothing_is_resized() -> None:
    world = World()
    world.deployment.spec.strategy.resize = ""
    assert not world.plan().resizes
    assert sizes(world.plan())["new"] == 1, "the ordinary rollout"


@pytest.mark.parametrize(("unavailable", "expected"), [(0, 1), (1, 1), (3, 3)])
def test_as_many_are_asked_at_once_as_may_be_unavailable(unavailable: int, expected: int) -> None:
    assert len(World(unavailable=unavailable, cpu="1200m").asked()) == expected


def test_those_that_are_on_their_way_count() -> None:
    world = World(unavailable=2, cpu="1200m")
    world.ask(world.pods[0])
    assert world.asked() == ["p1"]
    world.ask(world.pods[1])
    assert (world.asked(), sizes(world.plan())) == ([], {}), "waits, and replaces nothing meanwhile"
    assert world.plan().because == "waits for pods to be resized"


def test_those_that_are_not_well_count() -> None:
    world = World(unavailable=2, cpu="1200m")
    world.pods[3].status.conditions[0].status = "False"
    assert world.asked() == ["p0"]


def test_a_size_that_pods_do_not_bear_stops_after_the_first() -> None:
    world = World(cpu="1200m")
    world.old.spec.replicas, world.new.spec.replicas = 3, 1
    moved = world.pods[0] = world.pod("p0", world.new, "n1")
    moved.status.conditions[0].status = "False"
    assert (world.asked(), sizes(world.plan())) == ([], {})


def test_what_is_not_well_in_an_old_set_is_replaced_first() -> None:
    world = World(cpu="1200m")
    world.pods[3].status.conditions[0].status = "False"
    assert world.asked() == []
    assert sizes(world.plan())["new"] == 1


def test_none_is_asked_whose_node_has_no_room() -> None:
    world = World(unavailable=4, cpu="2")
    assert world.asked() == ["p0", "p1", "p2", "p3"], "two cores more on each node, where two are left"
    world.nodes["n1"].status.allocatable["cpu"] = "3"
    assert world.asked() == ["p0", "p1", "p3"]
    world.nodes["n1"].status.allocatable["cpu"] = "2"
    assert world.asked() == ["p1", "p3"]
    del world.nodes["n2"]
    assert world.asked() == []
    assert sizes(world.plan())["new"] == 1, "what has no room is replaced"


def test_less_is_always_room_enough() -> None:
    world = World(unavailable=4, cpu="500m")
    for each in world.nodes.values():
        each.status.allocatable["cpu"] = "1"
    assert len(world.asked()) == 4


def test_what_is_resized_changes_hands_with_both_sizes() -> None:
    world = World(unavailable=2)
    for each in world.pods[:2]:
        world.ask(each)
        world.grant(each)
    plan = world.plan()
    assert [move.pod.metadata.name for move in plan.moves] == ["p0", "p1"]
    assert {move.target.metadata.name for move in plan.moves} == {"new"}
    assert sizes(plan) == {"old": 2, "new": 2}


def test_what_a_node_refuses_is_given_back_noted_and_replaced() -> None:
    world = World()
    refused = world.pods[0]
    world.ask(refused)
    world.refuse(refused)
    (back,) = world.plan().resizes
    assert back == ResizePod(
        pod=refused, template=world.old.spec.template, digest="new", refused=True, why="Deferred: full"
    )
    refused.metadata.annotations[REFUSED] = hash_of(world.new)
    (again,) = world.plan().resizes
    assert again.why == "", "told once, however often it is tried"
    take_resources(refused, world.old.spec.template)
    assert "p0" not in world.asked()
    world.pods = [refused]
    assert sizes(world.plan())["new"] == 1


def test_a_pod_that_was_asked_for_a_template_of_the_past_is_asked_back() -> None:
    world = World()
    world.ask(world.pods[0])
    world.deployment.spec.template.spec.CopyFrom(world.old.spec.template.spec)
    (back,) = world.plan().resizes
    assert (back.pod, back.template, back.refused) == (world.pods[0], world.old.spec.template, False)


def test_a_pod_that_somebody_resized_by_hand_is_let_be() -> None:
    world = World()
    world.sets = [world.old]
    world.deployment.spec.template.spec.CopyFrom(world.old.spec.template.spec)
    world.pods[0].spec.containers[0].resources.requests["cpu"] = "1500m"
    assert not world.plan().resizes


def test_nothing_is_resized_while_paused() -> None:
    world = World()
    world.deployment.spec.paused = True
    assert not world.plan().resizes


def test_another_strategy_of_the_same_deployment_takes_over() -> None:
    world = World()
    other: Deployment = world.deployment
    other.spec.strategy.type = "Recreate"
    assert sizes(world.plan()) == {"old": 0}
