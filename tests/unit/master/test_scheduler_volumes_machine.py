"""Claims, volumes, nodes and pods change in any order: no wake-up is lost, no volume promised twice, no claim for one
pod used by two."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from master.scheduler.ledger import Entry, PodKey, State
from podium.objects import storage
from podium.objects.storage import NO_PROVISIONER, ONCE, ONCE_POD
from podium.v1.core_pb2 import Pod
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim
from tests.support.scheduling import engine, node, pod, see, turns
from tests.support.storage import bind, claim, storage_class, volume

NODES, CLAIMS, VOLUMES = ("n1", "n2", "n3"), ("a", "b", "c"), ("v1", "v2", "v3")
CLASSES = ("local", "static")
MOST_PODS = 6


def using(name: str, claims: tuple[str, ...], on: str = "") -> Pod:
    made = pod(name, on=on)
    for wanted in claims:
        made.spec.volumes.add(name=wanted).persistent_volume_claim.claim_name = wanted
    return made


class Storage(RuleBasedStateMachine):
    """See the module. What the controller would do with promises, the machine does, or lets fail."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = engine()
        self.count = 0
        self.claims: dict[str, PersistentVolumeClaim] = {}
        self.volumes: dict[str, PersistentVolume] = {}
        self.pods: dict[str, tuple[str, ...]] = {}
        local = storage_class()
        local.allowed_topologies.add().match_label_expressions.add(key="zone", values=["x"])
        self.show(local)
        self.show(storage_class("static", NO_PROVISIONER))
        for name in NODES:
            self.toggle_node(name, "x")

    def show(self, obj: Any) -> None:
        """A copy: what is stored is never changed in place."""
        copied = type(obj)()
        copied.CopyFrom(obj)
        self.engine.see_storage(copied)

    @rule(name=st.sampled_from(NODES), zone=st.sampled_from("xxy"))
    def toggle_node(self, name: str, zone: str) -> None:
        if self.engine.cluster.row(name) is not None and zone == "x":
            self.engine.node_gone(name)
        else:
            see(self.engine, node(name, labels={"zone": zone}, pods="3"))

    @rule(name=st.sampled_from(CLAIMS), cls=st.sampled_from(CLASSES), size=st.sampled_from(["1Gi", "3Gi"]),
          mode=st.sampled_from([ONCE, ONCE_POD]))  # fmt: skip
    def toggle_claim(self, name: str, cls: str, size: str, mode: str) -> None:
        if name not in self.claims:
            made = self.claims[name] = claim(name, size, cls=cls, modes=[mode])
            self.count += 1
            made.metadata.uid = f"uid-{self.count}"
            self.show(made)
        elif not any(name in used for used in self.pods.values()):
            self.engine.see_storage(self.claims.pop(name), gone=True)

    @rule(name=st.sampled_from(VOLUMES), where=st.sampled_from(["", *NODES]), size=st.sampled_from(["2Gi", "4Gi"]))
    def toggle_volume(self, name: str, where: str, size: str) -> None:
        if name not in self.volumes:
            its = self.volumes[name] = volume(name, size, cls="static", node=where, modes=[ONCE, ONCE_POD])
            self.show(its)
        elif storage.is_free(self.volumes[name]):
            self.engine.see_storage(self.volumes.pop(name), gone=True)

    @rule(used=st.lists(st.sampled_from(CLAIMS), min_size=1, max_size=2, unique=True), count=st.integers(1, 2))
    def add_pods(self, used: list[str], count: int) -> None:
        for _ in range(count if len(self.pods) < MOST_PODS else 0):
            name, self.count = f"p{self.count}", self.count + 1
            self.pods[name] = tuple(used)
            see(self.engine, using(name, tuple(used)))

    @rule(data=st.data())
    def remove_pod(self, data: st.DataObject) -> None:
        if self.pods:
            name = data.draw(st.sampled_from(sorted(self.pods)))
            del self.pods[name]
            self.engine.pod_gone(PodKey("default", name), f"uid-{name}")

    @rule(fail=st.booleans())
    def work(self, fail: bool) -> None:
        """Bind what is assumed, claims first; or let it fail half-way."""
        for entry in self._assumed():
            if self._keep_promises(entry, fail):
                see(self.engine, using(entry.key.name, self.pods[entry.key.name], on=entry.node))
            else:
                assert self.engine.undo(entry)
                self.engine.again(entry)

    def _assumed(self) -> list[Entry]:
        turns(self.engine, limit=3)
        return [e for e in self.engine.ledger.entries.values() if e.state is State.ASSUMED]

    def _keep_promises(self, entry: Entry, fail: bool) -> bool:
        for promise in entry.promises:
            wanted = self.claims.get(promise.claim.name)
            if wanted is None or wanted.metadata.uid != promise.uid:
                return False
            if storage.is_bound(wanted):
                continue
            if promise.volume and not self._is_there(promise.volume):
                return False
            wanted.metadata.annotations[storage.SELECTED_NODE] = entry.node
            self.show(wanted)
            if fail:
                del wanted.metadata.annotations[storage.SELECTED_NODE]
                self.show(wanted)
                return False
            self._bind(promise.volume or f"pvc-{promise.uid}", entry.node, wanted)
        return True

    def _is_there(self, name: str) -> bool:
        return name in self.volumes and storage.is_free(self.volumes[name])

    def _bind(self, name: str, where: str, wanted: PersistentVolumeClaim) -> None:
        its = self.volumes.get(name) or volume(name, "9Gi", cls=wanted.spec.storage_class_name, node=where)
        self.volumes[name] = its
        bind(its, wanted)
        self.show(its)
        self.show(wanted)

    @invariant()
    def nothing_parked_fits(self) -> None:
        turns(self.engine)
        for line in self.engine.queue.lines():
            assert line.parked
            if line.claimant is None:
                assert not self.engine.profile.room(line.shape, self.engine.cluster).any()

    @invariant()
    def no_volume_is_promised_twice(self) -> None:
        promises = {p for e in self.engine.ledger.entries.values() for p in e.promises if p.volume}
        assert not [v for v, count in Counter(p.volume for p in promises).items() if count > 1]

    @invariant()
    def a_claim_for_one_pod_has_one(self) -> None:
        for name, wanted in self.claims.items():
            if ONCE_POD in wanted.spec.access_modes:
                users = [e for e in self.engine.ledger.entries.values() if e.node and name in self.pods[e.key.name]]
                assert len(users) <= 1

    @invariant()
    def who_shares_a_volume_of_one_node_is_there(self) -> None:
        for name, wanted in self.claims.items():
            its = self.volumes.get(wanted.spec.volume_name) if storage.is_bound(wanted) else None
            if its is not None and storage.nodes_of(its):
                users = [e for e in self.engine.ledger.entries.values() if e.node and name in self.pods[e.key.name]]
                assert {e.node for e in users} <= set(storage.nodes_of(its))


TestStorage = Storage.TestCase
TestStorage.settings = settings(max_examples=150, stateful_step_count=20, deadline=None)
