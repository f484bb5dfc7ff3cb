"""What a StatefulSet does about its pods: in which order, of which revision, and what it never does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.controllers.stateful_plan import (
    Revisions,
    StatefulPlan,
    plan_stateful,
    revision_of,
    stateful_pod,
    stateful_status,
    wanted_revision,
    worked,
)
from podium.objects.history import REVISION_LABEL
from podium.objects.meta import timestamp
from podium.objects.pod import is_active, is_ready
from podium.objects.stateful import ordinal_in
from podium.v1.apps_pb2 import StatefulSet
from podium.v1.core_pb2 import Pod
from tests.support.workloads import T0, at, pod, stateful_set

OLD, BAD, NEW = "db-old", "db-bad", "db-new"
ROLLING = Revisions(current=OLD, update=NEW, worked=[OLD])


def member(ordinal: int, revision: str = NEW, how: str = "ready", *, ready_at: float = 0) -> Pod:
    """A pod of the set that is `ready`, `unready`, `crashing`, `Failed` or `terminating`."""
    made = pod(
        f"db-{ordinal}", node="n1", ready=how in ("ready", "terminating"), ready_at=ready_at,
        phase="Failed" if how == "Failed" else "", terminating=how == "terminating",
        labels={"app": "web", REVISION_LABEL: revision},
    )  # fmt: skip
    if how == "crashing":
        made.status.container_statuses.add(name="c").state.waiting.reason = "CrashLoopBackOff"
    return made


def decide(made: StatefulSet, pods: Iterable[Pod], revisions: Revisions = ROLLING) -> StatefulPlan:
    return plan_stateful(made, pods, revisions, now=at(100))


def deleted(plan: StatefulPlan) -> list[str]:
    return [p.metadata.name for p in plan.delete]


# ---------------------------------------------------------------- identity


def test_a_pod_is_named_by_its_ordinal_inside_and_out() -> None:
    made = stateful_set()
    built = stateful_pod(made, made.spec.template, NEW, 2)
    assert (built.metadata.name, built.metadata.generate_name) == ("db-2", "")
    assert (built.spec.hostname, built.spec.subdomain) == ("db-2", "dbs")
    assert dict(built.metadata.labels) == {
        "app": "web",
        "controller-revision-hash": NEW,
        "statefulset.kubernetes.io/pod-name": "db-2",
        "apps.kubernetes.io/pod-index": "2",
    }


@pytest.mark.parametrize(
    ("name", "ordinal"), [("db-0", 0), ("db-12", 12), ("db-01", None), ("db-x", None), ("other-1", None), ("db", None)]
)
def test_only_pods_named_like_it_are_members(name: str, ordinal: int | None) -> None:
    assert ordinal_in(stateful_set(), pod(name)) == ordinal


# ---------------------------------------------------------------- making and scaling


def test_pods_are_made_one_after_the_other() -> None:
    made = stateful_set(replicas=3)
    assert list(decide(made, []).create) == [0]
    assert not decide(made, [member(0, how="unready")]).create
    assert list(decide(made, [member(0)]).create) == [1]


def test_pods_are_made_at_once_in_parallel() -> None:
    assert list(decide(stateful_set(replicas=3, parallel=True), [member(1, how="unready")]).create) == [0, 2]


def test_ordinals_begin_where_asked() -> None:
    assert list(decide(stateful_set(replicas=2, parallel=True, start=5), []).create) == [5, 6]


def test_a_missing_pod_is_made_again_before_higher_ones() -> None:
    assert list(decide(stateful_set(replicas=4), [member(0), member(2)]).create) == [1]


def test_the_highest_pod_goes_first() -> None:
    pods = [member(i) for i in range(4)]
    assert deleted(decide(stateful_set(replicas=1), pods)) == ["db-3"]
    pods[3] = member(3, how="terminating")
    assert deleted(decide(stateful_set(replicas=1), pods)) == []
    assert deleted(decide(stateful_set(replicas=1, parallel=True), pods)) == ["db-2", "db-1"]


def test_scaling_down_waits_for_a_pod_that_is_not_available() -> None:
    assert deleted(decide(stateful_set(replicas=1), [member(0, how="unready"), member(1)])) == []


def test_a_pod_must_be_ready_long_enough_before_the_next_is_made() -> None:
    made = stateful_set()
    made.spec.min_ready_seconds = 30
    plan = decide(made, [member(0, ready_at=90)])
    assert (list(plan.create), plan.recheck) == ([], 20)


def test_a_failed_pod_is_replaced_after_its_back_off() -> None:
    pods = [member(0, how="Failed")]
    assert deleted(decide(stateful_set(), pods)) == ["db-0"]
    plan = plan_stateful(stateful_set(), pods, ROLLING, now=T0, patience=lambda ordinal: 4.0)
    assert (deleted(plan), plan.recheck) == ([], 4.0)


def test_nothing_is_done_while_it_is_being_deleted() -> None:
    made = stateful_set()
    made.metadata.deletion_timestamp.CopyFrom(timestamp(T0))
    assert decide(made, []) == StatefulPlan(because="is being deleted")


# ---------------------------------------------------------------- updates


def test_an_update_goes_from_the_highest_down_one_at_a_time() -> None:
    pods = [member(i, OLD) for i in range(3)]
    assert deleted(decide(stateful_set(), pods)) == ["db-2"]
    pods[2] = member(2, NEW, "unready")
    assert deleted(decide(stateful_set(parallel=True), pods)) == []
    pods[2] = member(2, NEW)
    assert deleted(decide(stateful_set(), pods)) == ["db-1"]


def test_an_update_may_take_several_at_a_time() -> None:
    pods = [member(i, OLD) for i in range(5)]
    assert deleted(decide(stateful_set(replicas=5, unavailable=2), pods)) == ["db-4", "db-3"]
    made = stateful_set(replicas=5)
    made.spec.update_strategy.rolling_update.max_unavailable.str_value = "70%"
    assert len(decide(made, pods).delete) == 3


def test_a_partition_keeps_the_lower_pods() -> None:
    made = stateful_set(partition=2)
    assert deleted(decide(made, [member(0, OLD), member(1, OLD), member(2, OLD)])) == ["db-2"]
    assert deleted(decide(made, [member(0, OLD), member(1, OLD), member(2, NEW)])) == []
    assert [wanted_revision(made, i, ROLLING) for i in range(3)] == [OLD, OLD, NEW]
    shifted = stateful_set(partition=2, start=10)
    assert [wanted_revision(shifted, i, ROLLING) for i in (10, 11, 12)] == [OLD, OLD, NEW]


def test_on_delete_replaces_nothing_by_itself() -> None:
    assert not decide(stateful_set(on_delete=True), [member(i, OLD, "crashing") for i in range(3)]).delete


def test_a_broken_template_rolls_back_by_itself() -> None:
    """db-2 was made from a broken template, then the template went back: it must not be waited for."""
    undone = Revisions(current=OLD, update=OLD, worked=[OLD])
    assert deleted(decide(stateful_set(), [member(0, OLD), member(1, OLD), member(2, BAD, "unready")], undone)) == [
        "db-2"
    ]


def test_a_broken_first_template_is_mended_by_the_next() -> None:
    first = Revisions(current=BAD, update=NEW)
    assert deleted(decide(stateful_set(), [member(0, BAD, "unready")], first)) == ["db-0"]


def test_a_pod_that_crashes_is_replaced_though_its_revision_once_worked() -> None:
    assert deleted(decide(stateful_set(), [member(0, OLD, "crashing"), member(1, OLD)])) == ["db-0"]


def test_a_pod_of_a_revision_that_worked_is_waited_for() -> None:
    assert deleted(decide(stateful_set(), [member(0, OLD, "unready"), member(1, OLD), member(2, OLD)])) == []


def test_a_broken_pod_of_the_wanted_template_is_waited_for() -> None:
    assert deleted(decide(stateful_set(), [member(0, NEW, "crashing")])) == []


# ---------------------------------------------------------------- status


def test_status_counts_by_revision_and_turns_over_when_all_is_done() -> None:
    pods = [member(0, OLD), member(1, NEW, "unready"), member(2, NEW)]
    status, _ = stateful_status(stateful_set(), pods, ROLLING, now=T0)
    assert (status.replicas, status.ready_replicas, status.current_replicas, status.updated_replicas) == (3, 2, 1, 2)
    assert (status.current_revision, status.update_revision) == (OLD, NEW)
    assert not worked(stateful_set(), status)
    status, _ = stateful_status(stateful_set(), [member(i) for i in range(3)], ROLLING, now=T0)
    assert (status.current_revision, status.current_replicas) == (NEW, 3)
    assert worked(stateful_set(), status)


# ---------------------------------------------------------------- what never happens

_POD = st.tuples(
    st.sampled_from([OLD, BAD, NEW]), st.sampled_from(["ready", "unready", "crashing", "Failed", "terminating"])
)
_PODS = st.dictionaries(st.integers(0, 6), _POD, max_size=7)
_SETS = st.builds(
    stateful_set, replicas=st.integers(0, 6), parallel=st.booleans(), partition=st.integers(0, 4),
    unavailable=st.integers(1, 3), start=st.integers(0, 2),
)  # fmt: skip
_ORDERED = st.builds(stateful_set, replicas=st.integers(0, 6), partition=st.integers(0, 4), start=st.integers(0, 2))


def _world(pods: dict[int, tuple[str, str]]) -> dict[int, Pod]:
    return {ordinal: member(ordinal, revision, how) for ordinal, (revision, how) in pods.items()}


@given(_SETS, _PODS)
def test_never_two_pods_of_one_ordinal(made: StatefulSet, pods: dict[int, tuple[str, str]]) -> None:
    plan = decide(made, _world(pods).values())
    assert len(set(plan.create)) == len(plan.create)
    assert not set(plan.create) & pods.keys()


@given(_ORDERED, _PODS)
def test_order_is_kept(made: StatefulSet, pods: dict[int, tuple[str, str]]) -> None:
    there = _world(pods)
    plan = decide(made, there.values())
    start = made.spec.ordinals.start
    for ordinal in plan.create:
        assert all(is_active(there[i]) and is_ready(there[i]) for i in range(start, ordinal))
    outside = [i for i in there if not start <= i < start + made.spec.replicas]
    for condemned in (p for p in plan.delete if ordinal_in(made, p) in outside):
        assert ordinal_in(made, condemned) == max(outside)
    assert len(plan.create) + len(plan.delete) <= 1


@given(_SETS, _PODS)
def test_max_unavailable_and_partition_are_kept(made: StatefulSet, pods: dict[int, tuple[str, str]]) -> None:
    there = _world(pods)
    plan = decide(made, there.values())
    start = made.spec.ordinals.start
    wanted = range(start, start + made.spec.replicas)
    lost = [p for p in plan.delete if is_ready(p) and is_active(p) and ordinal_in(made, p) in wanted]
    limits = made.spec.update_strategy.rolling_update
    gone = [i for i in wanted if i not in there or not is_active(there[i]) or not is_ready(there[i])]
    assert not lost or len(gone) + len(lost) <= limits.max_unavailable.int_value
    kept = range(start, start + limits.partition)
    assert all(revision_of(p) != OLD for p in lost if ordinal_in(made, p) in kept)


@dataclass
class _Cluster:
    """Pods that do what they are told; those of BAD never become ready."""

    made: StatefulSet
    revisions: Revisions
    there: dict[int, Pod] = field(default_factory=dict)

    def step(self) -> bool:
        plan = decide(self.made, self.there.values(), self.revisions)
        for gone in plan.delete:
            del self.there[int(gone.metadata.name.rpartition("-")[2])]
        self.there = {i: member(i, revision_of(p), _later(p)) for i, p in self.there.items() if _later(p)}
        for ordinal in plan.create:
            self.there[ordinal] = member(ordinal, wanted_revision(self.made, ordinal, self.revisions), "unready")
        return bool(plan.create or plan.delete)


def _later(seen: Pod) -> str:
    if not is_active(seen):
        return "Failed" if seen.status.phase == "Failed" else ""
    return "unready" if revision_of(seen) == BAD else "ready"


@given(_SETS, _PODS)
def test_it_comes_to_what_is_asked_for_without_help(made: StatefulSet, pods: dict[int, tuple[str, str]]) -> None:
    cluster = _Cluster(made, ROLLING, _world(pods))
    quiet = 0
    for _ in range(100):
        quiet = 0 if cluster.step() else quiet + 1
        if quiet == 2:
            break
    start = made.spec.ordinals.start
    wanted = range(start, start + made.spec.replicas)
    assert sorted(cluster.there) == list(wanted)
    assert all(revision_of(p) == wanted_revision(made, i, ROLLING) for i, p in cluster.there.items())
