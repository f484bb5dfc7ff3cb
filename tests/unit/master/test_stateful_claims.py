"""Claims of StatefulSets: made for each pod, grown with their template, kept or given up as the set says."""

from __future__ import annotations

from typing import Any

import pytest

from master.admission import validate
from master.controllers.stateful_claims import GrowClaim, MakeClaim, OwnClaim, add_volumes, plan_stateful_claims
from master.controllers.stateful_plan import stateful_pod
from podium.objects import storage
from podium.objects.owners import owner_reference
from podium.objects.stateful import claim_owner
from podium.v1.apps_pb2 import StatefulSet
from podium.v1.core_pb2 import Pod
from podium.v1.storage_pb2 import PersistentVolumeClaim
from tests.support.storage import stateful_set


def pod(ordinal: int) -> Pod:
    made = stateful_pod(stateful_set(), stateful_set().spec.template, "r", ordinal)
    made.metadata.uid = f"uid-{ordinal}"
    return made


def claim(ordinal: int, size: str = "1Gi", owner: Any = None) -> PersistentVolumeClaim:
    made = PersistentVolumeClaim()
    made.metadata.namespace, made.metadata.name = "default", f"data-db-{ordinal}"
    made.spec.resources.requests[storage.STORAGE] = size
    made.spec.volume_name, made.status.phase = f"v{ordinal}", storage.BOUND
    if owner is not None:
        made.metadata.owner_references.append(owner_reference(owner, controller=False))
    return made


def plan(
    set_: StatefulSet, *claims: PersistentVolumeClaim, pods: tuple[int, ...] = (), need: tuple[int, ...] = ()
) -> Any:
    by_name = {c.metadata.name: c for c in claims}
    return plan_stateful_claims(set_, {o: pod(o) for o in pods}, need, by_name.get)


def test_a_claim_is_made_for_each_pod_that_is_to_come() -> None:
    steps = plan(stateful_set(3), claim(0), need=(0, 1))
    [step] = steps
    assert isinstance(step, MakeClaim)
    made = step.claim
    assert (made.metadata.namespace, made.metadata.name) == ("default", "data-db-1")
    assert dict(made.metadata.labels) == {"tier": "gold", "app": "db"}
    assert made.spec.resources.requests[storage.STORAGE] == "1Gi"
    assert not made.metadata.owner_references


def test_a_pod_gets_its_claims_as_volumes() -> None:
    made = pod(1)
    assert [(v.name, v.persistent_volume_claim.claim_name) for v in made.spec.volumes] == [("data", "data-db-1")]
    other = Pod()
    other.spec.volumes.add(name="data").empty_dir.SetInParent()
    other.spec.volumes.add(name="more").empty_dir.SetInParent()
    add_volumes(other, stateful_set(), 0)
    assert [v.name for v in other.spec.volumes] == ["data", "more"]
    assert other.spec.volumes[0].persistent_volume_claim.claim_name == "data-db-0"


def test_claims_grow_with_their_template_and_never_shrink() -> None:
    assert plan(stateful_set(2, "5Gi"), claim(0), claim(1, "9Gi")) == [GrowClaim(claim(0), "5Gi")]


def test_a_claim_that_is_not_bound_yet_grows_later() -> None:
    waiting = claim(0)
    waiting.status.phase = storage.PENDING
    assert plan(stateful_set(1, "5Gi"), waiting) == []


@pytest.mark.parametrize(
    ("policy", "ordinal", "owner"),
    [
        ({}, 0, ""),
        ({"deleted": "Delete"}, 0, "uid-db"),
        ({"scaled": "Delete"}, 0, ""),
        ({"scaled": "Delete"}, 2, "uid-2"),
        ({"deleted": "Delete"}, 2, "uid-db"),
        ({"deleted": "Delete", "scaled": "Delete"}, 2, "uid-2"),
    ],
)
def test_whose_end_is_a_claims(policy: dict[str, str], ordinal: int, owner: str) -> None:
    steps = plan(stateful_set(2, **policy), claim(ordinal), pods=(ordinal,))
    owners = [r.uid for step in steps if isinstance(step, OwnClaim) for r in step.references]
    assert owners == ([owner] if owner else [])


def test_a_pod_that_is_wanted_again_gives_its_claim_back() -> None:
    held = claim(1, owner=pod(1))
    foreign = stateful_set()
    foreign.metadata.uid, foreign.metadata.name = "another", "another"
    held.metadata.owner_references.append(owner_reference(foreign, controller=False))
    assert plan(stateful_set(2, scaled="Delete"), held, pods=(1,)) == [OwnClaim(held, ())]


def test_claims_of_an_ordinal_without_pod_are_left_alone() -> None:
    assert plan(stateful_set(1, "5Gi", scaled="Delete", deleted="Delete"), claim(7)) == []


def test_whose_pods_a_claim_is() -> None:
    assert claim_owner(stateful_set(), "data-db-12") == "db-12"
    assert [claim_owner(stateful_set(), name) for name in ("data-db-x", "data-db2-1", "log-db-1", "db-1")] == [""] * 4


# ---------------------------------------------------------------- admission


def test_a_mount_of_a_claim_template_is_a_mount_of_a_volume() -> None:
    assert validate(stateful_set()) == []
    wrong = stateful_set()
    wrong.spec.template.spec.containers[0].volume_mounts.add(name="log", mount_path="/log")
    assert [v.field for v in validate(wrong)] == ["spec.template.spec.containers[0].volumeMounts[1].name"]


def test_what_is_refused_of_claim_templates() -> None:
    twice = stateful_set()
    twice.spec.volume_claim_templates.append(twice.spec.volume_claim_templates[0])
    assert [v.field for v in validate(twice)] == ["spec.volumeClaimTemplates[1].metadata.name"]
    empty = stateful_set()
    empty.spec.volume_claim_templates[0].spec.resources.Clear()
    assert [v.field for v in validate(empty)] == ["spec.volumeClaimTemplates[0].spec.resources.requests[storage]"]


def test_claim_templates_can_only_grow() -> None:
    old = stateful_set(size="2Gi")
    assert validate(stateful_set(size="3Gi"), old) == []
    [shrunk] = validate(stateful_set(size="1Gi"), old)
    assert (shrunk.field, shrunk.description) == (
        "spec.volumeClaimTemplates[0].spec.resources.requests[storage]", "must not shrink",
    )  # fmt: skip
    other = stateful_set(size="2Gi")
    other.spec.volume_claim_templates[0].spec.storage_class_name = "fast"
    assert [v.field for v in validate(other, old)] == ["spec.volumeClaimTemplates[0]"]
    del other.spec.volume_claim_templates[:]
    assert "spec.volumeClaimTemplates" in [v.field for v in validate(other, old)]
