"""What a DaemonSet does about its pods: on which nodes, in which order, and what it never does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.controllers.daemon_plan import (
    DaemonPlan,
    Destiny,
    Fate,
    daemon_pod,
    daemon_status,
    node_of,
    plan_daemons,
)
from master.controllers.patience import Patience
from podium.objects.history import REVISION_LABEL
from podium.objects.meta import is_terminating, timestamp
from podium.objects.pod import is_active
from podium.v1.apps_pb2 import DaemonSet
from podium.v1.core_pb2 import Node, NodeSelectorRequirement, Pod, Taint, Toleration
from tests.support.clock import VirtualClock
from tests.support.workloads import T0, at, daemon_set, node, pod

OLD, NEW = "old", "new"


def on(name: str, revision: str = NEW, *, node: str = "n1", ready: bool = True, **more: object) -> Pod:
    """A daemon's pod on a node."""
    made = pod(name, node=node, ready=ready, labels={"app": "web", REVISION_LABEL: revision}, **more)  # type: ignore[arg-type]
    return made


def decide(
    made: DaemonSet, nodes: Iterable[str], pods: Iterable[Pod], patience: Callable[[str], float] = lambda node: 0.0
) -> DaemonPlan:
    return plan_daemons(made, dict.fromkeys(nodes, Fate.RUN), pods, revision=NEW, now=at(100), patience=patience)


def names(pods: Iterable[Pod]) -> list[str]:
    return sorted(p.metadata.name for p in pods)


# ---------------------------------------------------------------- which nodes


def _taint(key: str, effect: str) -> Taint:
    return Taint(key=key, effect=effect)


def _ssd(taint: Taint) -> Node:
    return node("a", labels={"disk": "ssd"}, taints=(taint,))


@pytest.mark.parametrize(
    ("target", "fate"),
    [
        (node("a", labels={"disk": "ssd"}), Fate.RUN),
        (node("a", labels={"disk": "hdd"}), Fate.LEAVE),
        (node("a"), Fate.LEAVE),
        (_ssd(_taint("dedicated", "NoSchedule")), Fate.STAY),
        (_ssd(_taint("dedicated", "NoExecute")), Fate.LEAVE),
        (_ssd(_taint("dedicated", "PreferNoSchedule")), Fate.RUN),
        (_ssd(_taint("node.kubernetes.io/unschedulable", "NoSchedule")), Fate.RUN),
        (_ssd(_taint("node.kubernetes.io/disk-pressure", "NoSchedule")), Fate.RUN),
        (_ssd(_taint("node.kubernetes.io/not-ready", "NoSchedule")), Fate.STAY),
        (_ssd(_taint("node.kubernetes.io/unreachable", "NoExecute")), Fate.RUN),
        (_ssd(_taint("node.kubernetes.io/network-unavailable", "NoSchedule")), Fate.STAY),
    ],
)  # fmt: skip
def test_labels_and_taints_decide_a_nodes_fate(target: Node, fate: Fate) -> None:
    made = daemon_set()
    made.spec.template.spec.node_selector["disk"] = "ssd"
    assert Destiny(made).of(target) is fate


def test_a_daemon_on_the_hosts_network_does_not_wait_for_a_pod_network() -> None:
    made = daemon_set()
    made.spec.template.spec.host_network = True
    taint = _taint("node.kubernetes.io/network-unavailable", "NoSchedule")
    assert Destiny(made).of(node("a", taints=(taint,))) is Fate.RUN


@pytest.mark.parametrize(
    ("operator", "values", "matching"),
    [
        ("In", ["3", "4"], True), ("NotIn", ["3"], False), ("Exists", [], True), ("DoesNotExist", [], False),
        ("Gt", ["2"], True), ("Gt", ["3"], False), ("Lt", ["x"], False),
    ],
)  # fmt: skip
def test_required_affinity_decides_too(operator: str, values: list[str], matching: bool) -> None:
    made = daemon_set()
    required = made.spec.template.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution
    term = required.node_selector_terms.add()
    term.match_expressions.append(NodeSelectorRequirement(key="rack", operator=operator, values=values))
    assert Destiny(made).of(node("a", labels={"rack": "3"})) is (Fate.RUN if matching else Fate.LEAVE)


def test_a_pod_is_for_one_node_and_tolerates_what_daemons_do() -> None:
    made = daemon_set()
    made.spec.template.spec.tolerations.append(Toleration(key="mine", operator="Exists"))
    built = daemon_pod(made, NEW, "n7")
    assert node_of(built) == "n7"
    assert built.metadata.labels[REVISION_LABEL] == NEW
    keys = [t.key.rpartition("/")[2] for t in built.spec.tolerations]
    assert keys == [
        "mine",
        "not-ready",
        "unreachable",
        "disk-pressure",
        "memory-pressure",
        "pid-pressure",
        "unschedulable",
    ]


# ---------------------------------------------------------------- which pods


def test_every_node_without_a_pod_gets_one() -> None:
    plan = decide(daemon_set(), ["n1", "n2", "n3"], [on("a", node="n2")])
    assert list(plan.create) == ["n1", "n3"]


def test_a_pod_that_is_yet_to_be_placed_counts_for_its_node() -> None:
    made = daemon_set()
    assert not decide(made, ["n1"], [daemon_pod(made, NEW, "n1")]).create


def test_a_pod_that_terminates_holds_its_node() -> None:
    assert not decide(daemon_set(), ["n1"], [on("a", terminating=True)]).create


def test_nothing_is_done_while_it_is_being_deleted() -> None:
    made = daemon_set()
    made.metadata.deletion_timestamp.CopyFrom(timestamp(T0))
    assert decide(made, ["n1"], [on("a", node="n9")]) == DaemonPlan(
        create=(), delete=(), failed=(), recheck=None, because="is being deleted"
    )


def test_pods_leave_nodes_that_no_longer_match_and_stay_where_they_may() -> None:
    fates = {"n1": Fate.LEAVE, "n2": Fate.STAY}
    pods = [on("a", node="n1"), on("b", node="n2", revision=OLD)]
    plan = plan_daemons(daemon_set(), fates, pods, revision=NEW, now=T0)
    assert (names(plan.delete), list(plan.create)) == (["a"], [])


def test_a_pod_for_a_node_that_is_gone_is_not_waited_for() -> None:
    made = daemon_set()
    waiting, bound = daemon_pod(made, NEW, "gone"), on("bound", node="gone")
    assert decide(made, [], [waiting, bound]).delete == [waiting]


def test_a_failed_pod_is_replaced_after_its_back_off() -> None:
    failed = on("a", phase="Failed", ready=False)
    plan = decide(daemon_set(), ["n1"], [failed])
    assert (names(plan.delete), names(plan.failed), list(plan.create)) == (["a"], ["a"], [])
    plan = decide(daemon_set(), ["n1"], [failed], patience=lambda node: 7.0)
    assert (list(plan.delete), plan.recheck) == ([], 7.0)


def test_of_two_pods_the_better_stays() -> None:
    pods = [on("young", created=9), on("old", created=1), on("unready", created=0, ready=False)]
    assert names(decide(daemon_set(), ["n1"], pods).delete) == ["unready", "young"]


async def test_patience_doubles_and_forgets() -> None:
    clock = VirtualClock()
    patience = Patience(clock)
    assert patience.left("n1") == 0
    for expected in (1, 2, 4):
        patience.lose("n1")
        assert patience.left("n1") == expected
    await clock.advance(4)
    assert patience.left("n1") == 0
    await clock.advance(1801)
    patience.lose("n1")
    assert patience.left("n1") == 1
    assert patience.left("n2") == 0


# ---------------------------------------------------------------- updates


def test_a_rolling_update_replaces_as_many_as_may_be_unavailable() -> None:
    pods = [on(f"p{i}", OLD, node=f"n{i}") for i in range(5)]
    assert names(decide(daemon_set(unavailable=2), [f"n{i}" for i in range(5)], pods).delete) == ["p0", "p1"]


def test_old_pods_that_are_not_available_go_at_once() -> None:
    pods = [on("p0", OLD, node="n0"), *(on(f"p{i}", OLD, node=f"n{i}", ready=False) for i in (1, 2))]
    assert names(decide(daemon_set(), ["n0", "n1", "n2"], pods).delete) == ["p1", "p2"]


def test_an_update_waits_until_new_pods_have_been_ready_long_enough() -> None:
    made = daemon_set()
    made.spec.min_ready_seconds = 30
    pods = [on("new", NEW, node="n0", ready_at=90), on("old", OLD, node="n1", ready_at=0)]
    plan = decide(made, ["n0", "n1"], pods)
    assert (list(plan.delete), plan.recheck) == ([], 20)


def test_on_delete_replaces_nothing_by_itself() -> None:
    assert not decide(daemon_set(on_delete=True), ["n1"], [on("a", OLD)]).delete


def test_a_surge_makes_the_new_pod_first() -> None:
    made = daemon_set(unavailable=0, surge=1)
    old = [on("p0", OLD, node="n0"), on("p1", OLD, node="n1")]
    assert list(decide(made, ["n0", "n1"], old).create) == ["n0"]
    young = on("q0", NEW, node="n0", ready=False)
    plan = decide(made, ["n0", "n1"], [*old, young])
    assert (list(plan.create), list(plan.delete)) == ([], [])
    plan = decide(made, ["n0", "n1"], [*old, on("q0", NEW, node="n0")])
    assert (list(plan.create), names(plan.delete)) == (["n1"], ["p0"])


def test_a_percentage_of_nodes_rounds_up() -> None:
    made = daemon_set()
    made.spec.update_strategy.rolling_update.max_unavailable.str_value = "30%"
    pods = [on(f"p{i}", OLD, node=f"n{i}") for i in range(5)]
    assert len(decide(made, [f"n{i}" for i in range(5)], pods).delete) == 2


def test_status_counts_nodes() -> None:
    fates = {"n1": Fate.RUN, "n2": Fate.RUN, "n3": Fate.RUN, "n4": Fate.LEAVE}
    pods = [on("a", OLD, node="n1"), on("b", NEW, node="n2", ready=False), on("c", NEW, node="n4")]
    status, _ = daemon_status(daemon_set(), fates, pods, revision=NEW, now=T0)
    assert (status.desired_number_scheduled, status.current_number_scheduled, status.number_misscheduled) == (3, 2, 1)
    assert (status.updated_number_scheduled, status.number_available, status.number_unavailable) == (1, 1, 2)


# ---------------------------------------------------------------- what never happens

_POD = st.tuples(st.sampled_from([OLD, NEW]), st.sampled_from(["ready", "unready", "Failed", "terminating"]))
_STATES = st.lists(st.lists(_POD, max_size=2), min_size=1, max_size=8)


def _world(states: list[list[tuple[str, str]]]) -> list[Pod]:
    return [
        on(f"p{i}{j}", revision, node=f"n{i}", ready=how in ("ready", "terminating"),
           phase="Failed" if how == "Failed" else "", terminating=how == "terminating")
        for i, pods in enumerate(states) for j, (revision, how) in enumerate(pods)
    ]  # fmt: skip


def _ready_nodes(pods: Iterable[Pod]) -> set[str]:
    return {p.spec.node_name for p in pods if is_active(p) and p.status.conditions}


@given(_STATES, st.integers(1, 4))
def test_never_a_second_pod_on_a_node_without_surge(states: list[list[tuple[str, str]]], unavailable: int) -> None:
    pods = _world(states)
    plan = decide(daemon_set(unavailable=unavailable), [f"n{i}" for i in range(len(states))], pods)
    assert len(set(plan.create)) == len(plan.create)
    assert not set(plan.create) & {p.spec.node_name for p in pods}


@given(_STATES, st.integers(1, 4))
def test_max_unavailable_is_kept(states: list[list[tuple[str, str]]], unavailable: int) -> None:
    pods = _world(states)
    plan = decide(daemon_set(unavailable=unavailable), [f"n{i}" for i in range(len(states))], pods)
    left = [p for p in pods if p not in list(plan.delete)]
    lost = _ready_nodes(pods) - _ready_nodes(left)
    missing = len(states) - len(_ready_nodes(left))
    assert not lost or missing <= unavailable


@given(_STATES, st.integers(1, 3))
def test_max_surge_is_kept_and_no_node_loses_its_available_pod(states: list[list[tuple[str, str]]], surge: int) -> None:
    pods = _world(states)
    plan = decide(daemon_set(unavailable=0, surge=surge), [f"n{i}" for i in range(len(states))], pods)
    left = [p for p in pods if p not in list(plan.delete)]
    assert _ready_nodes(left) == _ready_nodes(pods)
    alive = Counter(p.spec.node_name for p in left if is_active(p))
    available_old = {p.spec.node_name for p in left if p.metadata.labels[REVISION_LABEL] == OLD} & _ready_nodes(left)
    doubled = {n for n in plan.create if n in available_old}
    assert len(doubled) <= surge
    assert all(alive[n] + list(plan.create).count(n) <= 2 for n in alive)


def _later(old: Pod) -> Pod:
    """A new pod becomes ready in time."""
    new = is_active(old) and old.metadata.labels[REVISION_LABEL] == NEW
    return on(old.metadata.name, NEW, node=old.spec.node_name) if new else old


@given(_STATES, st.booleans())
def test_it_comes_to_one_new_pod_on_each_node(states: list[list[tuple[str, str]]], surging: bool) -> None:
    made = daemon_set(unavailable=0, surge=1) if surging else daemon_set()
    nodes = [f"n{i}" for i in range(len(states))]
    pods = _world(states)
    for step in range(6 * len(nodes) + 6):
        plan = decide(made, nodes, pods)
        pods = [_later(p) for p in pods if p not in list(plan.delete) and not is_terminating(p)]
        pods += [on(f"s{step}{n}", NEW, node=n) for n in plan.create]
        if not plan.create and not plan.delete and step:
            break
    assert sorted(p.spec.node_name for p in pods) == nodes
    assert {p.metadata.labels[REVISION_LABEL] for p in pods} == {NEW}
