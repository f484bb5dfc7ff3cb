"""When configuration becomes a rollout, what a fingerprint stands for, and what copies pods use."""

from __future__ import annotations

import pytest

from master.controllers.config_plan import pending, plan_config
from master.controllers.pods import pod_from
from podium.objects.config import (
    FINGERPRINT,
    PINNED,
    Ref,
    config_changes,
    copy_for,
    digest,
    fingerprint,
    pinned_text,
    used_config,
)
from podium.objects.template import HASH_LABEL
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.core_pb2 import ConfigMap, Secret
from tests.support.workloads import deployment, replica_set, uid

APP, CREDS, EXTRA = Ref("ConfigMap", "app"), Ref("Secret", "creds"), Ref("ConfigMap", "extra")


def _config_map(name: str = "app", **data: str) -> ConfigMap:
    made = ConfigMap(data=data)
    made.metadata.name, made.metadata.uid = name, uid()
    return made


def _secret(**data: bytes) -> Secret:
    made = Secret(data=data)
    made.metadata.name, made.metadata.uid = "creds", "the-uid"
    return made


def _deployment(*, marked: str = "") -> Deployment:
    made = deployment()
    made.spec.config_rollout = "Automatic"
    container = made.spec.template.spec.containers[0]
    container.env_from.add().config_map_ref.name = "app"
    variable = container.env.add(name="PASSWORD")
    variable.value_from.secret_key_ref.name, variable.value_from.secret_key_ref.key = "creds", "password"
    made.spec.template.spec.volumes.add(name="v").config_map.name = "app"
    if marked:
        made.spec.template.metadata.annotations[FINGERPRINT] = marked
    return made


def _ran(d: Deployment) -> ReplicaSet:
    rs = replica_set("web-1", owner=d)
    rs.spec.template.CopyFrom(d.spec.template)
    rs.spec.template.metadata.labels[HASH_LABEL] = "aaa"
    rs.metadata.annotations[PINNED] = pinned_text([APP, CREDS])
    return rs


LIVE: dict[Ref, ConfigMap | Secret] = {APP: _config_map(LEVEL="info"), CREDS: _secret(password=b"x")}
NOW = {ref: digest(obj) for ref, obj in LIVE.items()}


def test_what_a_template_uses_and_what_it_cannot_do_without() -> None:
    spec = _deployment().spec.template.spec
    spec.volumes.add(name="w").projected.sources.add().config_map.name = "extra"
    spec.volumes[1].projected.sources[0].config_map.optional = True
    spec.image_pull_secrets.add(name="registry")
    assert used_config(spec) == {APP: True, CREDS: True, EXTRA: False}


def test_nothing_is_marked_unless_it_is_asked_for() -> None:
    d = _deployment()
    d.spec.config_rollout = ""
    assert plan_config(d, [], LIVE).fingerprint == ""
    d.spec.config_rollout = "Automatic"
    plan = plan_config(d, [], LIVE)
    assert plan.fingerprint == fingerprint(NOW)
    assert plan.observed == {str(ref): content for ref, content in NOW.items()}
    assert not plan.changed, "nothing changed: it is merely looked at for the first time"


def test_a_change_makes_another_fingerprint_and_says_what_changed() -> None:
    d = _deployment(marked=fingerprint(NOW))
    d.status.observed_config.update({str(ref): content for ref, content in NOW.items()})
    assert plan_config(d, [_ran(d)], LIVE).fingerprint == fingerprint(NOW)
    changed = {**LIVE, APP: _config_map(LEVEL="debug")}
    plan = plan_config(d, [_ran(d)], changed)
    assert (list(plan.changed), plan.fingerprint != fingerprint(NOW)) == ([APP], True)


def test_what_was_gone_back_to_keeps_its_content_until_something_changes_again() -> None:
    d = _deployment(marked="of-old")
    d.status.observed_config.update({str(ref): content for ref, content in NOW.items()})
    old = _ran(d)
    assert plan_config(d, [old], LIVE).fingerprint == "of-old"
    d.spec.template.spec.containers[0].image = "another"
    assert plan_config(d, [old], LIVE).fingerprint == "of-old", "also with another image"
    d.spec.template.spec.volumes.add(name="w").config_map.name = "extra"
    with_extra = {**LIVE, EXTRA: _config_map("extra", A="b")}
    assert plan_config(d, [old], with_extra).fingerprint not in ("of-old", fingerprint(NOW)), "nobody ran with that"


def test_a_change_waits_for_quiet_but_not_for_ever() -> None:
    first = pending(None, "a", 10)
    assert (first.until, pending(first, "a", 10.4)) == (10.5, first)
    second = pending(first, "b", 10.4)
    assert second.until == 10.9
    for turn in range(20):
        second = pending(second, str(turn), 10.4 + turn)
    assert second.until == 15


def test_an_object_that_is_deleted_is_no_rollout_and_is_remembered() -> None:
    d = _deployment(marked=fingerprint(NOW))
    d.status.observed_config.update({str(ref): content for ref, content in NOW.items()})
    plan = plan_config(d, [_ran(d)], {**LIVE, APP: None})
    assert (plan.fingerprint, list(plan.missing)) == (fingerprint(NOW), [APP])
    assert plan.observed[str(APP)] == NOW[APP]


def test_digests_follow_content_alone_and_that_of_a_secret_cannot_be_guessed() -> None:
    assert digest(_config_map(LEVEL="info")) == digest(_config_map(LEVEL="info"))
    assert digest(_config_map(LEVEL="info")) != digest(_config_map(LEVEL="debug"))
    other = _secret(password=b"x")
    assert digest(other) == digest(_secret(password=b"x"))
    other.metadata.uid = "another-uid"
    assert digest(other) != digest(_secret(password=b"x"))


def test_pods_use_the_copies_of_their_replica_set() -> None:
    d = _deployment()
    d.spec.template.spec.volumes.add(name="w").config_map.name = "extra"
    rs = _ran(d)
    pod = pod_from(rs.spec.template, rs)
    container = pod.spec.containers[0]
    assert container.env_from[0].config_map_ref.name == "app-aaa"
    assert container.env[0].value_from.secret_key_ref.name == "creds-aaa"
    assert [v.config_map.name for v in pod.spec.volumes] == ["app-aaa", "extra"]
    copy = copy_for(rs, APP, LIVE[APP])
    assert (copy.metadata.name, copy.immutable, dict(copy.data)) == ("app-aaa", True, {"LEVEL": "info"})
    assert copy.metadata.owner_references[0].uid == rs.metadata.uid


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({APP: _config_map(A="1")}, {APP: _config_map(A="2")}, ["ConfigMap/app[A]: 1 -> 2"]),
        (
            {APP: _config_map(A="1")},
            {APP: _config_map(B="2")},
            ["ConfigMap/app[A]: removed", "ConfigMap/app[B]: added"],
        ),
        ({CREDS: _secret(p=b"old")}, {CREDS: _secret(p=b"new")}, ["Secret/creds[p]: changed"]),
        ({}, {CREDS: _secret(p=b"new")}, ["Secret/creds[p]: added"]),
        ({APP: _config_map(A="1")}, {APP: _config_map(A="1")}, []),
    ],
)
def test_differences_of_config_never_show_a_secret(
    old: dict[Ref, ConfigMap | Secret], new: dict[Ref, ConfigMap | Secret], lines: list[str]
) -> None:
    assert config_changes(old, new) == lines
