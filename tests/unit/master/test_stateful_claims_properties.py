"""Whatever claims and pods a StatefulSet finds: it comes to rest, makes none twice, shrinks none, and lets none go that
it should keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from master.access.protocol import Mutate
from master.controllers.claim_writes import _write
from master.controllers.stateful_claims import ClaimStep, GrowClaim, MakeClaim, plan_stateful_claims
from master.controllers.stateful_plan import stateful_pod
from podium.objects import storage
from podium.objects.meta import is_terminating
from podium.objects.owners import owner_reference
from podium.objects.stateful import claim_name, ordinals
from podium.v1.apps_pb2 import StatefulSet
from podium.v1.core_pb2 import Pod
from podium.v1.meta_pb2 import OwnerReference
from podium.v1.storage_pb2 import PersistentVolumeClaim
from tests.support.storage import stateful_set

FOREIGN = OwnerReference(api_version="v1", kind="ConfigMap", name="somebodys", uid="uid-foreign")
ORDINALS = st.integers(0, 6)
SIZES = st.integers(1, 5)
POLICIES = st.sampled_from(["Retain", "Delete"])


@dataclass
class World:
    """A set, its pods and the claims that there are."""

    owner: StatefulSet
    pods: dict[int, Pod]
    needed: set[int]
    claims: dict[str, PersistentVolumeClaim]

    def plan(self) -> list[ClaimStep]:
        return plan_stateful_claims(self.owner, self.pods, self.needed, self.claims.get)

    def act(self, step: ClaimStep) -> None:
        """As the controller's hands do it."""
        if isinstance(step, MakeClaim):
            assert step.claim.metadata.name not in self.claims, "made twice"
            self.claims[step.claim.metadata.name] = step.claim
            return
        write: Any = _write(step, self.owner)
        assert isinstance(write, Mutate)
        write.change(self.claims[step.claim.metadata.name])

    def settle(self) -> list[ClaimStep]:
        """Every step until there is none."""
        done: list[ClaimStep] = []
        while steps := self.plan():
            for step in steps:
                self.act(step)
            done += steps
            assert len(done) < 100, "it never comes to rest"
        return done

    def ordinal_of(self, claim: PersistentVolumeClaim) -> int:
        return int(claim.metadata.name.rpartition("-")[2])


@st.composite
def claims(draw: st.DrawFn, set_: StatefulSet, ordinal: int, pod: Pod) -> PersistentVolumeClaim:
    made = PersistentVolumeClaim()
    made.metadata.namespace = set_.metadata.namespace
    made.metadata.name = claim_name(set_, "data", ordinal)
    made.spec.resources.requests[storage.STORAGE] = f"{draw(SIZES)}Gi"
    if draw(st.booleans()):
        made.spec.volume_name, made.status.phase = f"v{ordinal}", storage.BOUND
    if draw(st.integers(0, 4)) == 0:
        made.metadata.deletion_timestamp.seconds = 1
    owners = [FOREIGN, owner_reference(set_, controller=False), owner_reference(pod, controller=False)]
    made.metadata.owner_references.extend(draw(st.lists(st.sampled_from(owners), unique_by=lambda o: o.uid)))
    return made


@st.composite
def worlds(draw: st.DrawFn) -> World:
    set_ = stateful_set(draw(st.integers(0, 4)), f"{draw(SIZES)}Gi", deleted=draw(POLICIES), scaled=draw(POLICIES))
    set_.spec.ordinals.start = draw(st.integers(0, 2))
    every = {o: stateful_pod(set_, set_.spec.template, "r", o) for o in range(7)}
    for ordinal, pod in every.items():
        pod.metadata.uid = f"uid-{ordinal}"
    pods = {o: every[o] for o in draw(st.sets(ORDINALS))}
    needed = {o for o in draw(st.sets(ORDINALS)) if o in ordinals(set_)}
    there = [draw(claims(set_, o, every[o])) for o in draw(st.sets(ORDINALS))]
    return World(set_, pods, needed, {claim.metadata.name: claim for claim in there})


def uids(claim: PersistentVolumeClaim) -> set[str]:
    return {reference.uid for reference in claim.metadata.owner_references}


@given(worlds())
def test_it_comes_to_rest_and_each_pod_to_come_has_its_claims(world: World) -> None:
    before = set(world.claims)
    made = [step.claim for step in world.settle() if isinstance(step, MakeClaim)]
    assert all(claim_name(world.owner, "data", ordinal) in world.claims for ordinal in world.needed)
    assert {world.ordinal_of(claim) for claim in made} <= world.needed, "none is made that no pod waits for"
    assert before <= set(world.claims)


@given(worlds())
def test_no_claim_shrinks_and_only_bound_ones_of_its_pods_grow(world: World) -> None:
    before = {name: storage.requested_storage(claim) for name, claim in world.claims.items()}
    wanted = storage.requested_storage(world.owner.spec.volume_claim_templates[0])
    grown = {step.claim.metadata.name for step in world.settle() if isinstance(step, GrowClaim)}
    for name, size in before.items():
        claim = world.claims[name]
        may = storage.is_bound(claim) and not is_terminating(claim) and world.ordinal_of(claim) in ordinals(world.owner)
        assert storage.requested_storage(claim) == (max(size, wanted) if may else size)
        assert (name in grown) == (may and size < wanted)


@given(worlds())
def test_what_is_to_be_kept_has_no_owner_whose_end_takes_it(world: World) -> None:
    before = {name: uids(claim) for name, claim in world.claims.items()}
    world.settle()
    policy = world.owner.spec.persistent_volume_claim_retention_policy
    for name, claim in world.claims.items():
        ordinal = world.ordinal_of(claim)
        looked_after = ordinal in world.pods or ordinal in ordinals(world.owner)
        if is_terminating(claim) or not looked_after:
            assert uids(claim) == before[name], "not touched"
            continue
        assert (FOREIGN.uid in uids(claim)) == (FOREIGN.uid in before.get(name, set())), "others' references stay"
        scaled_away = ordinal not in ordinals(world.owner) and ordinal in world.pods
        by_pod = scaled_away and policy.when_scaled == "Delete"
        by_set = policy.when_deleted == "Delete" and not by_pod
        assert (f"uid-{ordinal}" in uids(claim)) == by_pod, "a pod that is only restarted never takes its data along"
        assert (world.owner.metadata.uid in uids(claim)) == by_set


@given(worlds())
def test_a_set_that_is_being_deleted_does_nothing_more(world: World) -> None:
    world.owner.metadata.deletion_timestamp.seconds = 1
    assert world.plan() == []


@given(worlds(), st.data())
def test_it_may_die_between_any_two_steps(world: World, data: st.DataObject) -> None:
    whole = World(world.owner, world.pods, world.needed, {n: _copy(c) for n, c in world.claims.items()})
    whole.settle()
    for _ in range(50):
        steps = world.plan()
        if not steps:
            break
        world.act(data.draw(st.sampled_from(steps)))
    assert world.claims == whole.claims


def _copy(claim: PersistentVolumeClaim) -> PersistentVolumeClaim:
    made = PersistentVolumeClaim()
    made.CopyFrom(claim)
    return made
