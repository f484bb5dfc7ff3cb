"""What a ReplicaSet does about its pods, and what it says of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from master.controllers.ownership import plan_claims
from master.controllers.pod_writes import batches
from master.controllers.pods import pod_from
from master.controllers.replicaset import (
    DELETION_COST,
    deletion_order,
    plan_replicaset,
    replicaset_status,
)
from podium.errors import Forbidden
from podium.objects.meta import timestamp
from podium.objects.owners import controller_of
from podium.objects.selectors import from_label_selector
from podium.v1.core_pb2 import Pod
from tests.support.workloads import T0, at, pod, replica_set


def test_missing_pods_are_created() -> None:
    assert plan_replicaset(replica_set(replicas=3), [pod("a")]).create == 2


@pytest.mark.parametrize(
    "lost", [pod("b", phase="Failed"), pod("b", phase="Succeeded"), pod("b", ready=True, terminating=True)]
)
def test_pods_that_are_over_or_being_deleted_are_replaced(lost: Pod) -> None:
    assert plan_replicaset(replica_set(replicas=2), [pod("a"), lost]).create == 1


def test_surplus_pods_are_deleted() -> None:
    plan = plan_replicaset(replica_set(replicas=1), [pod("a", ready=True, node="n1"), pod("b")])
    assert plan.create == 0
    assert [p.metadata.name for p in plan.delete] == ["b"]


def test_nothing_is_done_while_it_is_being_deleted() -> None:
    rs = replica_set(replicas=3)
    rs.metadata.deletion_timestamp.CopyFrom(timestamp(T0))
    plan = plan_replicaset(rs, [])
    assert (plan.create, list(plan.delete)) == (0, [])


def _cheap(name: str) -> Pod:
    made = pod(name, node="n1", ready=True)
    made.metadata.annotations[DELETION_COST] = "-5"
    return made


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda: pod("first"), lambda: pod("second", node="n1")),
        (lambda: pod("first", node="n1"), lambda: pod("second", node="n1", phase="Running")),
        (lambda: pod("first", node="n1", phase="Running"), lambda: pod("second", node="n1", ready=True)),
        (lambda: _cheap("first"), lambda: pod("second", node="n1", ready=True)),
        (
            lambda: pod("first", node="n1", ready=True, ready_at=9),
            lambda: pod("second", node="n1", ready=True, ready_at=1),
        ),
        (
            lambda: pod("first", node="n1", ready=True, restarts=3),
            lambda: pod("second", node="n1", ready=True, restarts=1),
        ),
        (
            lambda: pod("first", node="n1", ready=True, created=9),
            lambda: pod("second", node="n1", ready=True, created=1),
        ),
    ],
    ids=["unassigned", "pending", "not ready", "deletion cost", "ready later", "restarts", "younger"],
)
def test_the_pod_that_costs_least_goes_first(first: Callable[[], Pod], second: Callable[[], Pod]) -> None:
    pods = [second(), first()]
    assert [p.metadata.name for p in deletion_order(pods, pods)] == ["first", "second"]


def test_a_node_that_holds_several_related_pods_loses_one_first() -> None:
    mine = [pod("alone", node="n1", ready=True, ready_at=9), pod("crowded", node="n2", ready=True, ready_at=1)]
    sibling = pod("sibling", node="n2", ready=True)
    assert deletion_order(mine, [*mine, sibling])[0].metadata.name == "crowded"


def test_status_counts_active_pods_and_says_when_the_next_is_available() -> None:
    rs = replica_set(replicas=4)
    rs.spec.min_ready_seconds = 10
    rs.metadata.generation = 7
    pods = [
        pod("a", ready=True, ready_at=0),
        pod("b", ready=True, ready_at=12),
        pod("c"),
        pod("d", ready=True, terminating=True),
    ]
    status, wait = replicaset_status(rs, pods, at(15), None)
    assert (status.replicas, status.ready_replicas, status.available_replicas) == (3, 2, 1)
    assert (status.fully_labeled_replicas, status.observed_generation) == (3, 7)
    assert wait == 7


def test_a_refused_creation_becomes_a_condition_and_goes_with_the_next_success() -> None:
    rs = replica_set()
    status, _ = replicaset_status(rs, [], T0, Forbidden("quota is used up"))
    condition = next(c for c in status.conditions if c.type == "ReplicaFailure")
    assert (condition.status, condition.reason, condition.message) == ("True", "FailedCreate", "quota is used up")
    rs.status.CopyFrom(status)
    status, _ = replicaset_status(rs, [], T0, None)
    assert not status.conditions


def test_a_created_pod_is_controlled_labelled_and_unnamed() -> None:
    rs = replica_set("web-1")
    made = pod_from(rs.spec.template, rs)
    owner = controller_of(made)
    assert owner is not None
    assert (owner.kind, owner.uid, owner.block_owner_deletion) == ("ReplicaSet", rs.metadata.uid, True)
    assert (made.metadata.name, made.metadata.generate_name) == ("", "web-1-")
    assert dict(made.metadata.labels) == {"app": "web"}
    assert made.spec == rs.spec.template.spec


def test_creation_starts_small_and_doubles() -> None:
    sizes = [len(batch) for batch in batches(range(1000))]
    assert sum(sizes) == 1000
    assert sizes[:4] == [16, 32, 64, 128]


def test_matching_orphans_are_adopted_and_strays_released() -> None:
    rs = replica_set()
    mine, stray = pod("mine", owner=rs), pod("stray", owner=rs, labels={"app": "other"})
    leaving = pod("leaving", owner=rs, labels={}, terminating=True)
    orphan, foreign = pod("orphan"), pod("foreign", labels={"app": "other"})
    dying = pod("dying", terminating=True)
    selector = from_label_selector(rs.spec.selector)
    claims = plan_claims(rs, selector, [mine, stray, leaving], [orphan, foreign, dying])
    assert [p.metadata.name for p in claims.kept] == ["mine", "leaving"]
    assert [p.metadata.name for p in claims.adopt] == ["orphan"]
    assert [p.metadata.name for p in claims.release] == ["stray"]
    rs.metadata.deletion_timestamp.CopyFrom(timestamp(T0))
    assert not plan_claims(rs, selector, [], [orphan]).adopt
