"""Waiting: who is told what, what wakes whom, and that no wake-up is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from master.scheduler.allowance import Allowance
from master.scheduler.engine import Engine
from master.scheduler.ledger import PodKey, State
from podium.v1.core_pb2 import Node, Taint
from tests.support.clock import VirtualClock
from tests.support.scheduling import bound, engine, node, pod, refused, see, turns

TAINT = Taint(key="team", value="db", effect="NoSchedule")


def gone(made: Engine, name: str) -> None:
    made.pod_gone(PodKey("default", name), f"uid-{name}")


def test_the_refusal_is_kubernetes_sentence() -> None:
    made = engine(node("n1", cpu="1"), node("n2", cpu="1"), node("n3", taints=[TAINT]), pod("a", cpu="2"))
    assert refused(turns(made)) == {
        "a": "0/3 nodes are available: 1 node(s) had untolerated taint {team: db}, 2 Insufficient cpu. "
        "preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, "
        "2 No preemption victims found for incoming pod."
    }


def test_a_pod_that_joins_a_parked_line_is_told_at_once() -> None:
    made = engine(node(cpu="1"), pod("a", cpu="2"))
    first = refused(turns(made))
    see(made, pod("b", cpu="2"))
    assert refused(turns(made)) == {"b": first["a"]}


def test_nothing_is_told_twice() -> None:
    made = engine(node(cpu="1"), pod("a", cpu="2"))
    turns(made)
    see(made, pod("a", cpu="2"))
    assert turns(made) == []


@pytest.mark.parametrize(
    "helpful",
    [
        node("n2"),
        node("n1"),
        node("n1", cpu="2", taints=[TAINT]),
    ],
)
def test_a_change_of_nodes_wakes_only_what_it_helps(helpful: Node) -> None:
    made = engine(node("n1", cpu="1", taints=[TAINT]), pod("a", cpu="2"))
    turns(made)
    see(made, helpful)
    helps = not helpful.spec.taints
    assert bool(bound(turns(made))) is helps


def test_a_pod_that_leaves_wakes_as_many_as_fit() -> None:
    made = engine(node(pods="1"), pod("there", on="n1"), pod("a"), pod("b"))
    turns(made)
    gone(made, "there")
    assert bound(turns(made)) == {"a": "n1"}
    gone(made, "a")
    assert bound(turns(made)) == {"b": "n1"}


def test_a_change_that_cannot_help_wakes_nobody() -> None:
    made = engine(node("n1", cpu="1"), pod("there", on="n1", cpu="500m"), pod("a", cpu="2"))
    turns(made)
    gone(made, "there")
    assert turns(made) == []


def test_what_a_pod_waits_for_follows_what_refuses_it() -> None:
    """Parked for a taint; the node fills; the taint goes, which does not help; then room comes: that must."""
    made = engine(node(cpu="2", taints=[TAINT]), pod("a", cpu="2"))
    turns(made)
    see(made, pod("there", cpu="2", on="n1"), node(cpu="2"))
    assert bound(turns(made)) == {}
    gone(made, "there")
    assert bound(turns(made)) == {"a": "n1"}


def test_a_pod_that_loses_the_race_for_room_is_not_told_the_same_again() -> None:
    made = engine(node(cpu="2"), pod("there", cpu="2", on="n1"), pod("a", cpu="2"), pod("b", cpu="2", group="web"))
    assert refused(turns(made)).keys() == {"a", "b"}
    gone(made, "there")
    taken = turns(made)
    assert bound(taken) == {"a": "n1"}
    assert refused(taken) == {}


def test_a_failed_binding_is_undone_and_tried_again() -> None:
    made = engine(node(cpu="1"), pod("a", cpu="1"), pod("b", cpu="1"))
    (entry,) = (e for turn in turns(made) for e in turn.bound)
    assert entry.key.name == "a"
    assert made.undo(entry)
    assert bound(turns(made)) == {"b": "n1"}
    made.again(entry)
    assert "a" in refused(turns(made))


def test_a_binding_seen_done_is_not_undone() -> None:
    made = engine(node(), pod("a"))
    (entry,) = (e for turn in turns(made) for e in turn.bound)
    see(made, pod("a", on="n1"))
    assert entry.state is State.BOUND
    assert not made.undo(entry)
    assert made.cluster.resource("pods").used.sum() == 1


def test_a_pod_bound_by_somebody_else_counts_there() -> None:
    made = engine(node("n1"), node("n2"), pod("a", cpu="1"))
    turns(made)
    see(made, pod("a", cpu="1", on="n2"))
    assert [made.cluster.resource("cpu").used[made.cluster.row(n)] for n in ("n1", "n2")] == [0, 1000]


def test_a_pod_made_again_under_its_name_is_another() -> None:
    made = engine(node(), pod("a", cpu="1", on="n1"))
    again = pod("a", cpu="2")
    again.metadata.uid = "other"
    see(made, again)
    assert bound(turns(made)) == {"a": "n1"}
    assert made.cluster.resource("cpu").used.sum() == 2000


def test_a_terminating_pod_does_not_wait() -> None:
    leaving = pod("a")
    leaving.metadata.deletion_timestamp.seconds = 1
    made = engine(node(), leaving)
    assert turns(made) == []


def test_a_gated_pod_is_not_considered_until_its_gates_are_gone() -> None:
    made = engine(node(), pod("a", gates=["quota", "licence"]))
    assert turns(made) == []
    see(made, pod("a", gates=["licence"]))
    assert turns(made) == []
    see(made, pod("a"))
    assert bound(turns(made)) == {"a": "n1"}


async def test_an_allowance_is_a_burst_and_then_a_rate() -> None:
    clock = VirtualClock()
    allowance = Allowance(clock, burst=2, per_second=4.0)
    assert [allowance.take() for _ in range(3)] == [True, True, False]
    await clock.advance(0.25)
    assert [allowance.take() for _ in range(2)] == [True, False]
    await clock.advance(60)
    assert [allowance.take() for _ in range(3)] == [True, True, False]


NAMES = tuple(f"n{i}" for i in range(4))
KINDS = (
    {"cpu": "1"},
    {"cpu": "3"},
    {"memory": "2Gi", "selector": {"zone": "a"}},
    {"host_port": 80},
    {"cpu": "2", "priority": 10},
    {"cpu": "2", "priority": 10, "never": True},
    {"app": "web", "near": ("web", "zone")},
    {"app": "db", "apart": ("db", "zone")},
    {"app": "db", "apart": ("web", "kubernetes.io/hostname"), "priority": 10},
    {"app": "api", "near": ("db", "zone")},
    {"app": "even", "spread": "zone"},
    {"app": "even", "spread": "kubernetes.io/hostname", "priority": 10},
)


class Cluster(RuleBasedStateMachine):
    """Arbitrary changes in any order; whatever happens, a parked pod fits nowhere and no limit is broken."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = engine()
        self.count = 0
        self.pods: dict[str, dict[str, object]] = {}

    @rule(
        name=st.sampled_from(NAMES),
        cpu=st.integers(0, 4),
        zone=st.sampled_from("ab"),
        tainted=st.booleans(),
        cordoned=st.booleans(),
    )
    def set_node(self, name: str, cpu: int, zone: str, tainted: bool, cordoned: bool) -> None:
        taints = [TAINT] if tainted else []
        see(self.engine, node(name, cpu=str(cpu), labels={"zone": zone}, taints=taints, cordoned=cordoned, pods="3"))

    @rule(name=st.sampled_from(NAMES))
    def remove_node(self, name: str) -> None:
        self.engine.node_gone(name)

    @rule(kind=st.sampled_from(KINDS), count=st.integers(1, 4))
    def add_pods(self, kind: dict[str, object], count: int) -> None:
        for _ in range(count):
            name = f"p{self.count}"
            self.count += 1
            self.pods[name] = kind
            see(self.engine, pod(name, **kind))  # type: ignore[arg-type]

    @rule(data=st.data())
    def begin_to_remove_pod(self, data: st.DataObject) -> None:
        """Its deletion is asked for; it goes on using what it uses."""
        placed = sorted(e.key.name for e in self.engine.ledger.entries.values() if e.state is State.BOUND)
        if placed:
            name = data.draw(st.sampled_from(placed))
            on = self.engine.ledger.entries[PodKey("default", name)].node
            leaving = pod(name, on=on, **self.pods[name])  # type: ignore[arg-type]
            leaving.metadata.deletion_timestamp.seconds = 1
            see(self.engine, leaving)

    @rule(data=st.data())
    def remove_pod(self, data: st.DataObject) -> None:
        if self.pods:
            name = data.draw(st.sampled_from(sorted(self.pods)))
            del self.pods[name]
            gone(self.engine, name)

    @rule(fail=st.integers(0, 3))
    def work(self, fail: int) -> None:
        for turn in turns(self.engine, limit=3):
            for making in turn.evictions:
                for victim in making.eviction.victims:
                    self.pods.pop(victim.key.name, None)
                    gone(self.engine, victim.key.name)
            for entry in turn.bound:
                if fail and self.engine.undo(entry):
                    fail -= 1
                    self.engine.again(entry)
                elif entry.state is State.ASSUMED:
                    see(self.engine, pod(entry.key.name, on=entry.node, **self.pods[entry.key.name]))  # type: ignore[arg-type]

    @invariant()
    def nothing_parked_fits(self) -> None:
        turns(self.engine)
        for line in self.engine.queue.lines():
            assert line.parked
            if line.claimant is None:
                assert not self.engine.profile.room(line.shape, self.engine.cluster).any()

    @invariant()
    def the_ledger_is_right(self) -> None:
        cluster = self.engine.cluster
        for name in ("cpu", "memory", "pods"):
            expected = np.zeros(cluster.capacity, dtype=np.int64)
            for entry in self.engine.ledger.entries.values():
                row = cluster.row(entry.node) if entry.node else None
                if row is not None:
                    expected[row] += dict(entry.footprint.requests).get(name, 0)
            assert (cluster.resource(name).used == expected).all()

    @invariant()
    def every_pod_is_somewhere(self) -> None:
        waiting = {entry.key.name for line in self.engine.queue.lines() for entry in line.pods.values()}
        placed = {e.key.name for e in self.engine.ledger.entries.values() if e.node}
        assert waiting | placed == set(self.pods)
        assert not waiting & placed


TestCluster = Cluster.TestCase
TestCluster.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
