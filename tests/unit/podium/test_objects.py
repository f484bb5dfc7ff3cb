"""What objects mean: conditions, owners, names, templates, kinds."""

from __future__ import annotations

import datetime
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import BadRequest
from podium.objects import conditions, kinds, meta, owners, template
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.core_pb2 import Node, Pod, PodTemplateSpec

T0 = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
T1 = T0 + datetime.timedelta(seconds=10)


def test_a_transition_time_moves_only_with_the_status() -> None:
    status = Pod().status
    assert conditions.set_condition(status.conditions, "Ready", "False", now=T0, reason="Starting")
    assert not conditions.set_condition(status.conditions, "Ready", "False", now=T1, reason="Starting")
    assert conditions.set_condition(status.conditions, "Ready", "False", now=T1, reason="Probing")
    [ready] = status.conditions
    assert meta.to_datetime(ready.last_transition_time) == T0
    assert conditions.set_condition(status.conditions, "Ready", "True", now=T1)
    assert meta.to_datetime(ready.last_transition_time) == T1
    assert conditions.is_true(status.conditions, "Ready")
    assert conditions.condition_status(status.conditions, "Other") == "Unknown"


def test_an_update_time_is_kept_where_it_is_wanted() -> None:
    status = Deployment().status
    conditions.set_condition(status.conditions, "Progressing", "True", now=T0, stamp_update=True)
    conditions.set_condition(status.conditions, "Progressing", "True", now=T1, message="2 of 3", stamp_update=True)
    [progressing] = status.conditions
    assert meta.to_datetime(progressing.last_update_time) == T1
    assert meta.to_datetime(progressing.last_transition_time) == T0


def test_removing_a_condition() -> None:
    status = Pod().status
    conditions.set_condition(status.conditions, "Ready", "True", now=T0)
    assert conditions.remove_condition(status.conditions, "Ready")
    assert not conditions.remove_condition(status.conditions, "Ready")


def _replica_set() -> ReplicaSet:
    owner = ReplicaSet()
    owner.metadata.name, owner.metadata.uid = "web-1", "u1"
    return owner


def test_owners() -> None:
    owner, pod = _replica_set(), Pod()
    assert owners.controller_of(pod) is None
    pod.metadata.owner_references.append(owners.owner_reference(Node(), controller=False))
    pod.metadata.owner_references.append(owners.owner_reference(owner))
    reference = owners.controller_of(pod)
    assert reference is not None
    assert (reference.api_version, reference.kind, reference.name) == ("apps/v1", "ReplicaSet", "web-1")
    assert reference.block_owner_deletion
    assert owners.is_controlled_by(pod, owner)
    assert owners.is_owned_by(pod, "u1")
    assert owners.remove_owner(pod, "u1")
    assert not owners.remove_owner(pod, "u1")


@given(st.text("abc-", min_size=1, max_size=80))
def test_generated_names_fit_a_label_and_keep_their_beginning(prefix: str) -> None:
    name = meta.generate_name(prefix)
    assert len(name) <= 63
    assert name.startswith(prefix[:58])
    assert re.fullmatch(r"[b-df-hj-np-tv-xz2-9]{5}", name[-5:])


def test_a_time_is_cut_and_not_rounded_however_far_away() -> None:
    moment = datetime.datetime(4148, 1, 1, 0, 0, 0, 999_993, tzinfo=datetime.UTC)
    assert meta.to_datetime(meta.timestamp(moment)) == moment.replace(microsecond=0)


@given(st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(9000, 1, 1), timezones=st.just(datetime.UTC)))
def test_times_survive(moment: datetime.datetime) -> None:
    assert meta.to_datetime(meta.micro_timestamp(moment)) == moment
    assert meta.to_datetime(meta.timestamp(moment)) == moment.replace(microsecond=0)


def _template(image: str = "web:1", **labels: str) -> PodTemplateSpec:
    made = PodTemplateSpec()
    made.metadata.labels.update(labels)
    made.spec.containers.add(name="web", image=image)
    return made


def test_equal_templates_have_equal_hashes_whatever_the_order_of_labels() -> None:
    left, right = _template(a="1", b="2"), _template(b="2", a="1")
    assert template.template_hash(left) == template.template_hash(right)
    assert re.fullmatch(r"[b-df-hj-np-tv-xz2-9]{10}", template.template_hash(left))


def test_the_hash_label_itself_does_not_count() -> None:
    plain, labelled = _template(a="1"), _template(a="1", **{template.HASH_LABEL: "x"})
    assert template.same_template(plain, labelled)
    assert template.template_hash(plain) == template.template_hash(labelled)
    assert template.HASH_LABEL in labelled.metadata.labels


def test_what_differs_has_another_hash_and_a_collision_makes_another() -> None:
    hashes = {template.template_hash(_template()), template.template_hash(_template("web:2"))}
    hashes |= {template.template_hash(_template(), collision) for collision in (1, 2)}
    assert len(hashes) == 4


def test_the_hash_is_the_same_in_every_release() -> None:
    assert template.template_hash(_template(app="web")) == EXPECTED_HASH, "changing it rolls every Deployment over"


EXPECTED_HASH = "wbncblp2jr"


@pytest.mark.parametrize("word", ["deploy", "Deployment", "deployments", "deployment.apps", "deployments.apps"])
def test_kinds_by_any_of_their_names(word: str) -> None:
    assert kinds.lookup(word).message is Deployment


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(BadRequest, match='did you mean "deployments"'):
        kinds.lookup("deploymens")
