"""A Deployment's next step, and the story that its conditions tell."""

from __future__ import annotations

from collections.abc import Sequence

from master.controllers.deployment_plan import plan_deployment
from master.controllers.deployment_status import deployment_status
from master.controllers.strategies.sets import limits_of
from master.controllers.strategies.steps import CreateSet, DeploymentPlan, DropSet, EditSet
from podium.objects.conditions import get_condition
from podium.objects.revisions import (
    CHANGED_BY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    REVISION,
    SUCCEEDED,
)
from podium.objects.template import HASH_LABEL, template_hash
from podium.v1.apps_pb2 import Deployment, DeploymentStatus, ReplicaSet
from podium.v1.meta_pb2 import Condition
from tests.support.workloads import at, deployment, replica_set


def _sizes(plan: DeploymentPlan) -> dict[str, int]:
    return {
        s.replica_set.metadata.name: s.replicas for s in plan.steps if isinstance(s, EditSet) and s.replicas is not None
    }


def _settled(d: Deployment, name: str = "web-now", *, revision: int = 1, available: int | None = None) -> ReplicaSet:
    """The current set, sized and annotated as the controller leaves it."""
    replicas = d.spec.replicas
    rs = replica_set(
        name,
        replicas=replicas,
        available=replicas if available is None else available,
        image=d.spec.template.spec.containers[0].image,
        owner=d,
        revision=revision,
    )
    limits = limits_of(d)
    rs.metadata.annotations.update({DESIRED_REPLICAS: str(replicas), MAX_REPLICAS: str(limits.most)})
    return rs


def test_the_first_step_makes_a_replica_set_named_after_the_template() -> None:
    d = deployment(replicas=3)
    d.metadata.annotations[CHANGED_BY] = "ada"
    plan = plan_deployment(d, [])
    (step,) = plan.steps
    assert isinstance(step, CreateSet)
    made, digest = step.replica_set, template_hash(d.spec.template)
    assert made.metadata.name == f"web-{digest}"
    assert made.spec.replicas == 3
    assert made.metadata.labels[HASH_LABEL] == digest
    assert made.spec.selector.match_labels[HASH_LABEL] == digest
    assert made.spec.template.metadata.labels[HASH_LABEL] == digest
    assert made.metadata.annotations[REVISION] == "1"
    assert made.metadata.annotations[CHANGED_BY] == "ada"
    assert plan.revision == 1


def test_a_new_template_begins_within_the_surge() -> None:
    d = deployment(replicas=4, image="new", surge=2)
    plan = plan_deployment(d, [_old(d, 4, revision=3)])
    (step,) = plan.steps
    assert isinstance(step, CreateSet)
    assert step.replica_set.spec.replicas == 2
    assert plan.revision == 4


def _old(
    d: Deployment, replicas: int, *, available: int | None = None, revision: int = 1, name: str = "web-old"
) -> ReplicaSet:
    rs = replica_set(
        name,
        replicas=replicas,
        available=replicas if available is None else available,
        image="old",
        owner=d,
        revision=revision,
    )
    rs.metadata.annotations.update({DESIRED_REPLICAS: str(d.spec.replicas), MAX_REPLICAS: str(limits_of(d).most)})
    return rs


def test_growing_and_shrinking_are_one_step() -> None:
    d = deployment(replicas=4, image="new", surge=1, unavailable=1)
    new = _settled(d, "web-new", revision=2)
    new.spec.replicas, new.status.available_replicas = 2, 2
    # 5 of 5 exist, so nothing grows yet; 5 available where 3 must be, so two old ones go.
    assert _sizes(plan_deployment(d, [_old(d, 3), new])) == {"web-old": 1}
    new.spec.replicas = 1
    assert _sizes(plan_deployment(d, [_old(d, 3), new])) == {"web-old": 2, "web-new": 2}


def test_a_rollout_waits_for_new_pods() -> None:
    d = deployment(replicas=3, image="new", surge=1, unavailable=0)
    new = _settled(d, "web-new", revision=2)
    new.spec.replicas, new.status.available_replicas = 1, 0
    plan = plan_deployment(d, [_old(d, 3), new])
    assert not plan.steps
    assert plan.because == "waits for pods to become available"


def test_a_rollover_shrinks_every_other_set() -> None:
    d = deployment(replicas=3, image="newest", surge=1, unavailable=0)
    stuck = _old(d, 1, available=0, revision=2, name="web-stuck")
    plan = plan_deployment(d, [_old(d, 3), stuck, _zero(_settled(d, revision=3))])
    assert _sizes(plan) == {"web-stuck": 0}, "there is no room to grow until the stuck one is gone"


def _zero(rs: ReplicaSet) -> ReplicaSet:
    rs.spec.replicas = rs.status.replicas = rs.status.available_replicas = 0
    return rs


def test_recreate_waits_until_the_old_pods_are_gone() -> None:
    d = deployment(replicas=3, image="new", recreate=True)
    old = _old(d, 3)
    assert _sizes(plan_deployment(d, [old], old_pods_exist=True)) == {"web-old": 0}
    assert not plan_deployment(d, [_zero(old)], old_pods_exist=True).steps
    (step,) = plan_deployment(d, [_zero(old)], old_pods_exist=False).steps
    assert isinstance(step, CreateSet)
    assert step.replica_set.spec.replicas == 3


def test_a_change_of_replicas_resizes_and_renotes_the_only_active_set() -> None:
    d = deployment(replicas=3)
    current = _settled(d)
    d.spec.replicas = 7
    (step,) = plan_deployment(d, [current]).steps
    assert isinstance(step, EditSet)
    assert step.replicas == 7
    assert step.annotations[DESIRED_REPLICAS] == "7"


def test_a_change_of_replicas_in_a_rollout_is_shared_out() -> None:
    d = deployment(replicas=10, image="new", surge=3, unavailable=2)
    new = _settled(d, "web-new", revision=2)
    new.spec.replicas = 5
    old = _old(d, 8)
    d.spec.replicas = 15
    assert _sizes(plan_deployment(d, [old, new])) == {"web-old": 11, "web-new": 7}


def test_paused_does_not_roll_but_resizes() -> None:
    d = deployment(replicas=3, image="new", paused=True)
    old = _old(d, 3)
    assert not plan_deployment(d, [old]).steps
    d.spec.replicas = 5
    assert _sizes(plan_deployment(d, [old])) == {"web-old": 5}


def test_going_back_to_an_old_template_gives_its_set_a_new_number() -> None:
    d = deployment(replicas=3, image="old", surge=1)
    d.metadata.annotations["kubernetes.io/change-cause"] = "undo"
    plan = plan_deployment(d, [_zero(_old(d, 3, revision=1)), _old_of(d, "bad", revision=2)])
    edit = next(s for s in plan.steps if s.replica_set.metadata.name == "web-old")
    assert isinstance(edit, EditSet)
    assert edit.annotations[REVISION] == "3"
    assert edit.annotations["kubernetes.io/change-cause"] == "undo"
    assert plan.revision == 3


def _old_of(d: Deployment, image: str, *, revision: int) -> ReplicaSet:
    rs = _old(d, 3, revision=revision, name=f"web-{image}")
    rs.spec.template.spec.containers[0].image = image
    return rs


def test_success_is_noted_and_then_history_is_cut() -> None:
    d = deployment(replicas=3, image="new", history=1)
    current = _settled(d, revision=4)
    sets = [_zero(_old_of(d, f"v{n}", revision=n)) for n in (1, 2, 3)] + [current]
    (note,) = plan_deployment(d, sets).steps
    assert isinstance(note, EditSet)
    assert note.annotations == {SUCCEEDED: "true"}
    current.metadata.annotations[SUCCEEDED] = "true"
    dropped = plan_deployment(d, sets).steps
    assert all(isinstance(s, DropSet) for s in dropped)
    assert [s.replica_set.metadata.name for s in dropped] == ["web-v1", "web-v2"]


def test_a_collision_count_makes_another_name() -> None:
    d = deployment()
    first = plan_deployment(d, []).steps[0].replica_set.metadata.name
    d.status.collision_count = 1
    assert plan_deployment(d, []).steps[0].replica_set.metadata.name != first


# ---------------------------------------------------------------- status


def _status(d: Deployment, sets: Sequence[ReplicaSet], seconds: float = 0) -> tuple[DeploymentStatus, float | None]:
    return deployment_status(d, sets, now=at(seconds))


def _progressing(status: DeploymentStatus) -> Condition:
    condition = get_condition(status.conditions, "Progressing")
    assert condition is not None
    return condition


def test_a_stuck_rollout_exceeds_its_deadline_and_recovers() -> None:
    d = deployment(replicas=3, deadline=60)
    rs = _settled(d, available=0)
    status, wait = _status(d, [rs])
    assert (_progressing(status).reason, wait) == ("NewReplicaSetCreated", 60)
    d.status.CopyFrom(status)
    rs.status.available_replicas = 1
    status, wait = _status(d, [rs], 50)
    assert (_progressing(status).reason, wait) == ("ReplicaSetUpdated", 60)
    d.status.CopyFrom(status)
    status, wait = _status(d, [rs], 100)
    assert (status, wait) == (d.status, 10)
    status, wait = _status(d, [rs], 110)
    assert (_progressing(status).status, _progressing(status).reason, wait) == (
        "False",
        "ProgressDeadlineExceeded",
        None,
    )
    d.status.CopyFrom(status)
    rs.status.available_replicas = rs.status.ready_replicas = 3
    status, _ = _status(d, [rs], 120)
    assert (_progressing(status).status, _progressing(status).reason) == ("True", "NewReplicaSetAvailable")


def test_a_finished_rollout_that_loses_a_pod_is_not_progressing_again() -> None:
    d = deployment(replicas=3, deadline=60)
    rs = _settled(d)
    d.status.CopyFrom(_status(d, [rs])[0])
    rs.status.available_replicas = 2
    status, wait = _status(d, [rs], 1000)
    assert (_progressing(status).reason, wait) == ("NewReplicaSetAvailable", None)
    available = get_condition(status.conditions, "Available")
    assert available is not None
    assert available.status == "False"


def test_pausing_stops_the_deadline_and_resuming_starts_it_anew() -> None:
    d = deployment(replicas=3, deadline=60)
    rs = _settled(d, available=0)
    d.status.CopyFrom(_status(d, [rs])[0])
    d.spec.paused = True
    status, wait = _status(d, [rs], 30)
    assert (_progressing(status).status, _progressing(status).reason, wait) == ("Unknown", "DeploymentPaused", None)
    d.status.CopyFrom(status)
    d.spec.paused = False
    status, wait = _status(d, [rs], 500)
    assert (_progressing(status).reason, wait) == ("DeploymentResumed", 60)


def test_counts_and_a_failure_of_a_replica_set_are_passed_on() -> None:
    d = deployment(replicas=3)
    rs = _settled(d, available=1)
    rs.status.conditions.append(Condition(type="ReplicaFailure", status="True", message="quota"))
    status, _ = _status(d, [rs, _old(d, 1, available=1)])
    assert (status.replicas, status.updated_replicas, status.available_replicas, status.unavailable_replicas) == (
        4,
        3,
        2,
        2,
    )
    failure = get_condition(status.conditions, "ReplicaFailure")
    assert failure is not None
    assert failure.message == "quota"
