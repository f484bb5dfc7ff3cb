"""Volumes over whatever becomes of claims, nodes and objects: no data is given up that somebody may still want, and
nothing hangs."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from master.controllers.claim_plan import provisioned
from master.controllers.volume_plan import Free, Leave, Remove, Settle, Unhold, VolumeAction, plan_volume
from podium.objects import storage
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim
from tests.support.storage import World, bind, claim, node, storage_class, volume


class VolumeMachine(RuleBasedStateMachine):
    """One volume, bound to claim `c`; the controller's steps come in between everything else."""

    its: PersistentVolume

    @initialize(dynamic=st.booleans(), policy=st.sampled_from(["Delete", "Retain"]), by_controller=st.booleans())
    def bound(self, dynamic: bool, policy: str, by_controller: bool) -> None:
        wanted = claim()
        if dynamic:
            cls = storage_class()
            cls.reclaim_policy = policy
            self.its = provisioned(wanted, cls, node("n1"))
        else:
            self.its = volume("v")
            self.its.spec.persistent_volume_reclaim_policy = policy
            if by_controller:
                self.its.metadata.annotations[storage.BOUND_BY_CONTROLLER] = "yes"
        self.its.metadata.finalizers.append(storage.VOLUME_PROTECTION)
        bind(self.its, wanted)
        self.world = World(wanted, node("n1"))
        self.dynamic, self.policy = dynamic, policy
        self.gone = self.data_removed = self.abandoned = False
        self.wanted_by = wanted.metadata.uid

    # ------------------------------------------------------------ what others do

    @rule()
    def the_claim_is_deleted(self) -> None:
        self.world.claims.clear()

    @precondition(lambda self: not self.world.claims)
    @rule(elsewhere=st.booleans())
    def a_claim_of_the_same_name_is_made(self, elsewhere: bool) -> None:
        another: PersistentVolumeClaim = claim()
        another.metadata.uid = "another"
        another.spec.volume_name = "other" if elsewhere else ""
        self.world.claims["c"] = another

    @precondition(lambda self: not self.gone)
    @rule()
    def somebody_deletes_the_volume(self) -> None:
        self._delete()

    @rule()
    def the_node_is_deleted(self) -> None:
        self.world.hosts.clear()

    @rule(ready=st.booleans())
    def the_node_is_there(self, ready: bool) -> None:
        self.world.hosts["n1"] = node("n1", ready=ready)

    @precondition(lambda self: not self.gone and storage.is_condemned(self.its) and self.world.hosts)
    @rule(works=st.booleans())
    def the_node_removes_what_is_condemned(self, works: bool) -> None:
        if works:
            self.data_removed = True
            self._unhold(storage.LOCAL_DATA)
        else:
            self.its.status.reason, self.its.status.message = "VolumeFailedDelete", "read-only file system"

    @precondition(lambda self: not self.gone and self.policy == "Delete" and not self._is_held())
    @rule()
    def somebody_decides_to_keep_the_data(self) -> None:
        self.policy = self.its.spec.persistent_volume_reclaim_policy = "Retain"

    # ------------------------------------------------------------ what the controller does

    @precondition(lambda self: not self.gone)
    @rule()
    def the_controller_takes_a_step(self) -> None:
        self._step()

    @precondition(lambda self: not self.gone)
    @rule()
    def the_controller_comes_to_rest(self) -> None:
        for _ in range(8):
            if self.gone or isinstance(self._step(), Leave):
                return
        raise AssertionError("it never comes to rest")

    def _step(self) -> VolumeAction:
        action = plan_volume(self.its, self.world)
        held = self._is_held()
        match action:
            case Settle(phase, reason, message):
                assert not held or phase == storage.BOUND, "a volume whose claim is there is bound"
                self.its.status.phase, self.its.status.reason, self.its.status.message = phase, reason, message
            case Free():
                assert not held
                assert not self.dynamic, "a volume that was made for a claim is never another's"
                self.its.spec.ClearField("claim_ref")
            case Remove():
                assert not held
                assert self.dynamic, "only what Podium made is removed"
                assert self.policy == "Delete"
                self._delete()
            case Unhold(finalizer, warning):
                assert not held
                if finalizer == storage.LOCAL_DATA and storage.is_condemned(self.its):
                    assert not self.world.hosts, "its node could remove the folder"
                    assert warning, "what is left behind is said"
                    self.abandoned = True
                self._unhold(finalizer)
            case _:
                pass
        return action

    def _is_held(self) -> bool:
        """Whether the claim that the volume was made or taken for is there, and has it."""
        found, ref = self.world.claims.get("c"), self.its.spec.claim_ref
        name = self.its.metadata.name
        return found is not None and found.metadata.uid == ref.uid and found.spec.volume_name == name

    def _delete(self) -> None:
        self.its.metadata.deletion_timestamp.seconds = 1
        self.gone = not self.its.metadata.finalizers

    def _unhold(self, finalizer: str) -> None:
        self.its.metadata.finalizers.remove(finalizer)
        self.gone = self.its.metadata.HasField("deletion_timestamp") and not self.its.metadata.finalizers

    # ------------------------------------------------------------ what holds always

    @invariant()
    def data_is_condemned_only_when_nobody_can_want_it(self) -> None:
        if hasattr(self, "its") and storage.is_condemned(self.its):
            assert not self._is_held()
            assert (self.dynamic, self.policy) == (True, "Delete")

    @invariant()
    def data_is_removed_only_with_the_claim_gone(self) -> None:
        if hasattr(self, "its") and self.data_removed:
            assert self.world.claims.get("c", PersistentVolumeClaim()).metadata.uid != self.wanted_by

    @invariant()
    def a_volume_whose_claim_is_there_stays(self) -> None:
        if hasattr(self, "its") and self._is_held():
            assert not self.gone

    def teardown(self) -> None:
        """With the claim gone and the node back or gone for good, it ends as its policy says."""
        if not hasattr(self, "its") or self.gone:
            return
        self.world.claims.clear()
        self.world.hosts.clear()
        self.the_controller_comes_to_rest()
        if self.dynamic and self.policy == "Delete":
            assert self.gone, "nothing holds it for ever"


TestVolumeMachine = VolumeMachine.TestCase
TestVolumeMachine.settings = settings(max_examples=60, stateful_step_count=30)
