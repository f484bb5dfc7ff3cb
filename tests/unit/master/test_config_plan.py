"""When configuration becomes a rollout, what a fingerprint stands for, and what copies pods use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.controllers.config_plan import (
    ConfigPlan,
    has_current,
    healing,
    is_of,
    pending,
    plan_config,
    sources_of,
    template_of,
)
from master.controllers.pods import pod_from
from podium.codec.revisions import data_of
from podium.objects.config import (
    FINGERPRINT,
    PINNED,
    Ref,
    Revision,
    config_changes,
    copy_for,
    copy_name,
    digest,
    fingerprint,
    pinned_text,
    point_to_copies,
    used_config,
)
from podium.objects.history import REVISION_LABEL
from podium.objects.template import HASH_LABEL
from podium.v1.apps_pb2 import ControllerRevision, Deployment, ReplicaSet
from podium.v1.core_pb2 import ConfigMap, Secret
from tests.support.workloads import daemon_set, deployment, replica_set, stateful_set, uid

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


def test_a_change_made_while_another_object_is_missing_is_rolled_out_when_that_is_back() -> None:
    d = _deployment(marked=fingerprint(NOW))
    d.status.observed_config.update({str(ref): content for ref, content in NOW.items()})
    changed = _secret(password=b"y")
    plan = plan_config(d, [_ran(d)], {APP: None, CREDS: changed})
    assert (plan.fingerprint, plan.observed[str(CREDS)]) == (fingerprint(NOW), NOW[CREDS])
    d.status.observed_config.update(plan.observed)
    assert list(plan_config(d, [_ran(d)], {APP: LIVE[APP], CREDS: changed}).changed) == [CREDS]


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


# ---------------------------------------------------------------- StatefulSet and DaemonSet


def _revision_of(workload: Any, name: str, pins: Mapping[Ref, object]) -> Revision:
    """A revision with the template that a workload has now."""
    if isinstance(workload, Deployment):
        rs = replica_set(name, owner=workload)
        rs.spec.template.CopyFrom(workload.spec.template)
        rs.spec.template.metadata.labels[HASH_LABEL] = name
        rs.metadata.annotations[PINNED] = pinned_text(pins)
        return rs
    made = ControllerRevision(data=data_of(workload.spec.template))
    made.metadata.name, made.metadata.namespace, made.metadata.uid = f"db-{name}", "default", uid()
    made.metadata.labels[REVISION_LABEL] = name
    made.metadata.annotations[PINNED] = pinned_text(pins)
    return made


def test_a_controller_revision_pins_as_a_replica_set_does() -> None:
    made = stateful_set()
    made.spec.template.spec.CopyFrom(_deployment().spec.template.spec)
    revision = _revision_of(made, "aaa", LIVE)
    point_to_copies(made.spec.template.spec, revision)
    container = made.spec.template.spec.containers[0]
    assert container.env_from[0].config_map_ref.name == copy_name(APP, revision) == "app-aaa"
    copy = copy_for(revision, CREDS, LIVE[CREDS])
    assert (copy.metadata.name, copy.metadata.owner_references[0].kind) == ("creds-aaa", "ControllerRevision")
    made.spec.template.spec.containers[0].env_from[0].config_map_ref.name = "app"
    assert not has_current(made, [revision]), "the password is still the copy's"


@pytest.mark.parametrize("made", [stateful_set(), daemon_set()], ids=lambda made: type(made).__name__)
def test_what_is_only_healed_has_the_earlier_template_and_is_not_updated(made: Any) -> None:
    earlier = _revision_of(made, "aaa", {})
    assert isinstance(earlier, ControllerRevision)
    made.spec.template.spec.containers[0].image = "another"
    kept = healing(made, earlier)
    assert kept.spec.template.spec.containers[0].image == "busybox"
    assert (kept.spec.update_strategy.type, made.spec.update_strategy.type) == ("OnDelete", "RollingUpdate")
    assert kept.metadata == made.metadata


# ---------------------------------------------------------------- whatever happens, in whatever order


class _World:
    """A workload that uses ConfigMap `app`, and `extra` where that is there; its revisions, and what they ran with.

    `settle` is what the controllers do about a plan, and a revision for every template that is new.
    """

    def __init__(self, workload: Any) -> None:
        self.workload = workload
        self.workload.spec.config_rollout = "Automatic"
        self.workload.spec.template.spec.containers[0].env_from.add().config_map_ref.name = "app"
        self.live: dict[Ref, ConfigMap | Secret] = {APP: _config_map(LEVEL="0")}
        self.revisions: list[Revision] = []
        self.ran: dict[str, dict[Ref, str]] = {}
        self.told: dict[Ref, str] = {}
        """What was there when nothing was missing last."""

    @property
    def mark(self) -> str:
        return str(self.workload.spec.template.metadata.annotations.get(FINGERPRINT, ""))

    @property
    def now(self) -> dict[Ref, str]:
        """The content that pods would run with if they used the objects themselves."""
        used = used_config(self.workload.spec.template.spec)
        return {ref: digest(self.live[ref]) for ref in used if ref in self.live}

    def plan(self) -> ConfigPlan:
        used = used_config(self.workload.spec.template.spec)
        return plan_config(self.workload, self.revisions, {ref: self.live.get(ref) for ref in used})

    def settle(self) -> None:
        plan = self.plan()
        self.workload.spec.template.metadata.annotations[FINGERPRINT] = plan.fingerprint
        self.workload.status.observed_config.clear()
        self.workload.status.observed_config.update(plan.observed)
        again = self.plan()
        assert (again.fingerprint, again.observed) == (plan.fingerprint, plan.observed), "comes to rest"
        assert not again.changed
        if not has_current(self.workload, self.revisions):
            self._make()
        used = used_config(self.workload.spec.template.spec)
        seen = {ref: digest(self.live.get(ref)) for ref in used}
        self.told = {ref: self.told.get(ref, seen[ref]) if APP not in self.live else seen[ref] for ref in used}

    def _make(self) -> None:
        name = f"r{len(self.revisions)}"
        made = _revision_of(self.workload, name, {})
        used = {ref: self.live.get(ref) for ref in used_config(self.workload.spec.template.spec)}
        sources = sources_of(made, self.revisions)
        if is_of(made, used):
            content = self.now
        elif sources:
            content = self.ran[sources[0].metadata.name]
        else:
            assert APP not in self.live, "what a revision is to run with is lost only with an object"
            return
        made.metadata.annotations[PINNED] = pinned_text(content)
        self.ran[made.metadata.name] = content
        self.revisions.append(made)

    def current(self) -> dict[Ref, str] | None:
        """What the revision of the template runs with; None when it has none."""
        found = [r for r in self.revisions if has_current(self.workload, [r])]
        assert len(found) <= 1, "one template is one revision"
        return self.ran[found[0].metadata.name] if found else None


def _write(world: _World, name: str, level: int) -> None:
    """Objects change, and what uses them runs with what there is then; what is missing changes nothing."""
    before, told = world.current(), world.told
    world.live[Ref("ConfigMap", name)] = _config_map(name, LEVEL=str(level))
    changed = any(digest(world.live.get(ref)) != content for ref, content in told.items())
    world.settle()
    if changed and APP in world.live:
        assert world.current() == world.now
    elif before is not None:
        assert world.current() == before


def _delete(world: _World, name: str, _: int) -> None:
    before = world.current()
    world.live.pop(Ref("ConfigMap", name), None)
    world.settle()
    if name == "app":
        assert world.current() == before, "what runs has its copies, and goes on"


def _edit(world: _World, _: str, image: int) -> None:
    before = world.current()
    world.workload.spec.template.spec.containers[0].image = f"image:{image}"
    world.settle()
    if before is not None:
        assert world.current() == before, "another image runs with what the one before it ran with"


def _use_extra(world: _World, _: str, number: int) -> None:
    sources = world.workload.spec.template.spec.containers[0].env_from
    del sources[1:]
    if number % 2:
        sources.add().config_map_ref.name = "extra"
        sources[1].config_map_ref.optional = True
    world.settle()


def _return(world: _World, _: str, number: int) -> None:
    if not world.revisions:
        return
    target = world.revisions[number % len(world.revisions)]
    template = world.workload.spec.template
    template.CopyFrom(template_of(target))
    template.metadata.labels.pop(HASH_LABEL, None)
    world.settle()
    assert world.current() == world.ran[target.metadata.name], "undo brings the content back"


ACTIONS = st.tuples(
    st.sampled_from([_write, _write, _delete, _edit, _use_extra, _return]),
    st.sampled_from(["app", "extra"]),
    st.integers(0, 3),
)


@given(st.sampled_from([deployment, stateful_set, daemon_set]), st.lists(ACTIONS, max_size=12))
def test_each_revision_runs_with_what_its_fingerprint_stands_for(make: Any, actions: list[Any]) -> None:
    world = _World(make())
    world.settle()
    for act, name, number in actions:
        act(world, name, number)
        current = world.current()
        if current is not None:
            used = used_config(world.workload.spec.template.spec)
            assert world.mark == fingerprint({ref: current.get(ref, "") for ref in used})
