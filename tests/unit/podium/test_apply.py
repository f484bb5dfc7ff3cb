"""Server-side apply: ownership, conflicts, removal; and what always holds."""

from __future__ import annotations

import copy
import datetime
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.codec.apply import read_owners, server_side_apply, track_update
from podium.codec.json import from_dict, to_dict
from podium.errors import Conflict, Invalid
from podium.objects import fields, ownership
from podium.objects.schema import of_message
from podium.v1.apps_pb2 import Deployment
from podium.v1.core_pb2 import EnvVar
from tests.support.messages import messages

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
LATER = NOW + datetime.timedelta(hours=1)


def manifest(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": spec,
    }


def template(*containers: dict[str, Any], labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"metadata": {"labels": labels or {"app": "web"}}, "spec": {"containers": list(containers)}}


def container(name: str = "web", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": f"{name}:1"} | more


def apply(live: Any, wanted: dict[str, Any], manager: str = "me", force: bool = False, now: Any = NOW) -> Any:
    return server_side_apply(live, wanted, manager, force, now)


def owned(obj: Any, manager: str) -> set[str]:
    return {
        fields.describe(path)
        for owner in read_owners(obj.metadata.managed_fields)
        if owner.manager == manager
        for path in owner.fields
    }


def changed(obj: Any, manager: str, change: Any) -> Any:
    new = copy.deepcopy(obj)
    change(new)
    return track_update(obj, new, manager, LATER)


def test_creating_owns_what_the_manifest_has() -> None:
    created = apply(None, manifest(replicas=3, paused=False, template=template(container())))
    assert created.metadata.name == "web"
    assert owned(created, "me") == {
        ".spec.replicas",
        ".spec.paused",
        ".spec.template.metadata.labels.app",
        '.spec.template.spec.containers[name="web"]',
        '.spec.template.spec.containers[name="web"].name',
        '.spec.template.spec.containers[name="web"].image',
    }
    [entry] = created.metadata.managed_fields
    assert (entry.operation, entry.api_version, entry.fields_type) == ("Apply", "apps/v1", "FieldsV1")


def test_another_value_of_an_owned_field_is_a_conflict_that_names_field_and_manager() -> None:
    live = changed(apply(None, manifest(replicas=3)), "scaler", lambda d: setattr(d.spec, "replicas", 5))
    with pytest.raises(Conflict, match=r'1 conflict: .spec.replicas is owned by "scaler" \(Update\)') as caught:
        apply(live, manifest(replicas=3))
    assert caught.value.details == {".spec.replicas": "scaler"}


def test_force_takes_the_field_over() -> None:
    live = changed(apply(None, manifest(replicas=3)), "scaler", lambda d: setattr(d.spec, "replicas", 5))
    forced = apply(live, manifest(replicas=3), force=True)
    assert forced.spec.replicas == 3
    assert owned(forced, "scaler") == set()
    assert owned(forced, "me") == {".spec.replicas"}


def test_the_same_value_is_owned_together() -> None:
    live = apply(apply(None, manifest(replicas=3)), manifest(replicas=3), manager="you")
    assert owned(live, "me") == owned(live, "you") == {".spec.replicas"}
    left = apply(live, manifest(paused=True))
    assert left.spec.replicas == 3, "still owned by the other"


def test_quantities_are_compared_by_amount() -> None:
    live = apply(None, manifest(template=template(container(resources={"limits": {"cpu": "500m"}}))))
    again = manifest(template=template(container(resources={"limits": {"cpu": 0.5}})))
    assert apply(live, again, manager="you").spec == live.spec


def test_fields_left_out_are_removed_with_what_they_held() -> None:
    probed = container(livenessProbe={"tcpSocket": {"port": 80}})
    live = apply(None, manifest(replicas=3, template=template(probed, container("log"))))
    live.spec.template.spec.containers[0].liveness_probe.period_seconds = 10  # by defaulting: nobody's
    after = apply(live, manifest(template=template(container())))
    assert not after.spec.HasField("replicas")
    assert [c.name for c in after.spec.template.spec.containers] == ["web"]
    assert not after.spec.template.spec.containers[0].HasField("liveness_probe")
    assert after.metadata.name == "web"


def test_fields_of_others_stay() -> None:
    live = apply(None, manifest(template=template(container())))
    live = apply(live, manifest(template=template({"name": "log", "image": "log:1"})), manager="you")
    after = apply(live, manifest(template=template(container("web2"))))
    assert {c.name for c in after.spec.template.spec.containers} == {"log", "web2"}


def test_an_applied_zero_resets_a_field() -> None:
    live = apply(None, manifest(paused=True))
    assert apply(live, manifest(paused=False)).spec.paused is False


def test_ports_are_told_apart_by_port_and_protocol() -> None:
    live = apply(None, manifest(template=template(container(ports=[{"containerPort": 53}]))))
    live.spec.template.spec.containers[0].ports[0].protocol = "TCP"  # by defaulting
    ports = [{"containerPort": 53, "name": "dns"}, {"containerPort": 53, "protocol": "UDP"}]
    after = apply(live, manifest(template=template(container(ports=ports))))
    assert [(p.name, p.protocol) for p in after.spec.template.spec.containers[0].ports] == [("dns", "TCP"), ("", "UDP")]


def test_an_object_that_was_never_applied_belonged_to_someone() -> None:
    live = from_dict(Deployment, manifest(replicas=2, minReadySeconds=5))
    with pytest.raises(Conflict, match="before-first-apply"):
        apply(live, manifest(replicas=3))
    after = apply(live, manifest(replicas=2))
    assert owned(after, "before-first-apply") == {".spec.replicas", ".spec.minReadySeconds"}
    assert owned(after, "me") == {".spec.replicas"}


def test_applying_the_same_again_changes_nothing_not_even_the_time() -> None:
    wanted = manifest(replicas=3, template=template(container()))
    once = apply(None, wanted)
    assert apply(once, wanted, now=LATER) == once


def test_status_and_server_metadata_are_not_applied() -> None:
    wanted = manifest(replicas=1)
    wanted["metadata"] |= {"creationTimestamp": None, "generation": 7, "resourceVersion": "9", "uid": "u"}
    wanted["status"] = {"replicas": 5}
    created = apply(None, wanted)
    assert not created.HasField("status")
    assert created.metadata.generation == 0
    assert (created.metadata.resource_version, created.metadata.uid) == ("9", "u"), "for the writer to check"


def test_secrets_are_applied_as_data() -> None:
    wanted = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "default"},
        "stringData": {"a": "x"},
    }
    created = apply(None, wanted)
    assert dict(created.data) == {"a": b"x"}
    assert owned(created, "me") == {".data.a"}


def test_a_wrong_manifest_is_refused() -> None:
    with pytest.raises(Invalid, match=r"spec.replica: unknown field"):
        apply(None, manifest(replica=1))


def test_updates_are_only_tracked_once_something_was_applied() -> None:
    live = from_dict(Deployment, manifest(replicas=2))
    assert not changed(live, "scaler", lambda d: setattr(d.spec, "replicas", 5)).metadata.managed_fields


def test_an_update_moves_ownership_of_what_it_changed_and_drops_what_it_removed() -> None:
    live = apply(None, manifest(replicas=3, paused=True, minReadySeconds=4))

    def change(new: Any) -> None:
        new.spec.replicas = 5
        new.spec.paused = False
        new.metadata.annotations["x/y.z"] = "1"

    after = changed(live, "scaler", change)
    assert owned(after, "scaler") == {".spec.replicas", ".metadata.annotations[x/y.z]"}
    assert owned(after, "me") == {".spec.minReadySeconds"}


# ---------------------------------------------------------------- properties

relaxed = settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=30)
small_specs = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 3),
        "paused": st.booleans(),
        "minReadySeconds": st.integers(0, 3),
        "template": st.builds(
            lambda names, labels: template(*map(container, names), labels=labels),
            st.lists(st.sampled_from("abc"), min_size=1, unique=True),
            st.dictionaries(st.sampled_from("xyz"), st.sampled_from("12"), min_size=1),
        ),
    },
)
managers = st.sampled_from(("alice", "bob"))


def test_asking_only_that_a_message_be_there_conflicts_with_nobody() -> None:
    live = apply(None, manifest(strategy={}))
    live = apply(live, manifest(strategy={"type": "Recreate"}), manager="you")
    assert apply(live, manifest(strategy={})).spec.strategy.type == "Recreate"
    selecting = apply(None, manifest(selector={"matchLabels": {"a": "b"}}))
    with pytest.raises(Conflict):
        apply(selecting, manifest(selector={}), manager="you")


@relaxed
@given(messages(Deployment))
def test_a_set_survives_its_recorded_form(obj: Deployment) -> None:
    paths = fields.field_set(ownership.owned_part(to_dict(obj)), of_message(obj))
    assert fields.from_fields_v1(fields.to_fields_v1(paths)) == paths


@relaxed
@given(st.lists(st.tuples(managers, small_specs), min_size=1, max_size=5))
def test_whatever_is_applied_by_force_is_there_and_owned(steps: list[tuple[str, dict[str, Any]]]) -> None:
    live: Any = None
    for manager, spec in steps:
        wanted = manifest(**spec)
        live = apply(live, wanted, manager, force=True)
        applied = ownership.owned_part(wanted)
        mine = fields.field_set(applied, of_message(live))
        data = to_dict(live)
        for path in mine:
            value, actual = fields.get(applied, path), fields.get(data, path)
            assert path[-1][0] == "k" or actual == value or (not value and (actual is fields.MISSING or value == {}))
        owner = next((o for o in read_owners(live.metadata.managed_fields) if o.manager == manager), None)
        assert (owner.fields if owner is not None else frozenset()) == mine


@relaxed
@given(st.lists(st.tuples(managers, small_specs), min_size=1, max_size=5))
def test_without_an_owner_nothing_remains(steps: list[tuple[str, dict[str, Any]]]) -> None:
    live: Any = None
    for manager, spec in steps:
        live = apply(live, manifest(**spec), manager, force=True)
    nothing = {name: value for name, value in manifest().items() if name != "spec"}
    for manager in ("alice", "bob"):
        live = apply(live, nothing, manager, force=True)
    assert not ownership.owned_part(to_dict(live)).get("spec")
    assert not live.metadata.managed_fields


# ---------------------------------------------------------------- large objects


def variables(count: int, value: str = "x") -> dict[str, Any]:
    named = [{"name": f"E{number}", "value": value} for number in range(count)]
    return manifest(selector={"matchLabels": {"app": "web"}}, template=template(container(env=named)))


def spent(count: int) -> float:
    """Seconds of processor that applying to an object which nobody applied before takes, and then to less."""
    began = time.process_time()
    live = apply(from_dict(Deployment, variables(count, "y")), variables(count), force=True)
    changed(live, "you", lambda obj: obj.spec.template.spec.containers[0].env[0].MergeFrom(EnvVar(value="z")))
    assert len(apply(apply(None, variables(count)), variables(3)).spec.template.spec.containers[0].env) == 3
    return time.process_time() - began


def test_the_work_grows_as_the_object_does_and_not_by_its_square() -> None:
    spent(100)
    assert spent(2400) < 30 * spent(300)


@given(st.sets(st.tuples(st.sampled_from(["f:a", "f:b"]), st.sampled_from(['k:{"n":1}', 'k:{"n":2}', "f:x"]))))
def test_removal_of_many_paths_is_that_of_each(paths: set[tuple[str, ...]]) -> None:
    data = {"a": [{"n": 1}, {"n": 2}, {"n": 2, "second": True}], "b": {"x": 1, "y": 2}, "c": 3}
    each = data
    for path in paths:
        each = fields.remove(each, [path])
    assert fields.remove(data, paths) == each
