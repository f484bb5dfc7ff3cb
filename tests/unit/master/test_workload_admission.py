"""What the kinds of workloads are given by default, and what of them is refused, by path."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from master.admission import apply_defaults, validate
from podium.codec import yaml
from podium.codec.json import object_from_dict
from podium.objects.kinds import kind_of

LABELS = {"app": "x"}


def template(**spec: Any) -> dict[str, Any]:
    """A pod template that `LABELS` select."""
    return {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "i:1"}], **spec}}


def workload(kind: str, api_version: str = "apps/v1", **spec: Any) -> Any:
    """A defaulted object; `spec` is laid over its template, and None takes a field away."""
    body = {k: v for k, v in ({"template": template()} | spec).items() if v is not None}
    obj = object_from_dict({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": body})
    apply_defaults(obj)
    return obj


def refusals(obj: Any, old: Any = None) -> dict[str, str]:
    """What is refused, by path."""
    return {violation.field: violation.description for violation in validate(obj, old)}


def test_the_manifests_of_the_documentation_are_admitted() -> None:
    text = (Path(__file__).parents[3] / "docs/workloads.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, flags=re.S)
    kinds = []
    for obj in (obj for block in blocks for obj in yaml.load_all(block)):
        apply_defaults(obj)
        assert refusals(obj) == {}
        kinds.append(kind_of(obj).name)
    assert kinds == ["ReplicationController", "DaemonSet", "StatefulSet"]


# ---------------------------------------------------------------- ReplicationController


def controller(**spec: Any) -> Any:
    return workload("ReplicationController", "v1", **spec)


def test_a_replication_controller_takes_selector_and_labels_from_its_template() -> None:
    made = controller()
    assert dict(made.spec.selector) == dict(made.metadata.labels) == LABELS
    assert made.spec.replicas == 1
    assert refusals(made) == {}


def test_a_replication_controllers_own_selector_stays_and_may_change() -> None:
    made = controller(selector={"app": "x"}, template={**template(), "metadata": {"labels": {"app": "x", "v": "1"}}})
    assert dict(made.spec.selector) == {"app": "x"}
    assert refusals(made, controller()) == {}


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"selector": {"app": "y"}}, "spec.template.metadata.labels", 'must match the selector "app=y"'),
        ({"selector": {"a b": "y"}}, "spec.selector", "must be letters"),
        ({"template": None}, "spec.template", "is required"),
        ({"template": {**template(), "metadata": {}}}, "spec.template.metadata.labels", "must not be empty"),
        ({"template": template(restartPolicy="Never")}, "spec.template.spec.restartPolicy", 'must be "Always"'),
        ({"replicas": -1}, "spec.replicas", "at least 0"),
        ({"minReadySeconds": -1}, "spec.minReadySeconds", "at least 0"),
    ],
)
def test_replication_controllers_that_are_refused(spec: dict[str, Any], field: str, words: str) -> None:
    found = refusals(controller(**spec))
    assert words in found[field]


# ---------------------------------------------------------------- DaemonSet


def daemon_set(**spec: Any) -> Any:
    return workload("DaemonSet", **({"selector": {"matchLabels": LABELS}} | spec))


def rolling(**limits: Any) -> dict[str, Any]:
    return {"updateStrategy": {"rollingUpdate": limits}}


def test_a_daemon_set_rolls_a_node_at_a_time() -> None:
    made = daemon_set()
    strategy = made.spec.update_strategy
    assert (strategy.type, made.spec.revision_history_limit) == ("RollingUpdate", 10)
    assert (strategy.rolling_update.max_unavailable.int_value, strategy.rolling_update.max_surge.int_value) == (1, 0)
    assert refusals(made) == {}
    assert refusals(daemon_set(**rolling(maxUnavailable=0, maxSurge="25%"))) == {}


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"selector": None}, "spec.selector", "is required"),
        ({"selector": {}}, "spec.selector", "must not be empty"),
        ({"template": template(restartPolicy="OnFailure")}, "spec.template.spec.restartPolicy", 'must be "Always"'),
        ({"revisionHistoryLimit": -1}, "spec.revisionHistoryLimit", "at least 0"),
        ({"updateStrategy": {"type": "Recreate"}}, "spec.updateStrategy.type", "OnDelete"),
        ({"configRollout": "Always"}, "spec.configRollout", "Automatic"),
        (
            {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {}}},
            "spec.updateStrategy.rollingUpdate",
            "must not",
        ),
        (rolling(maxUnavailable=0), "spec.updateStrategy.rollingUpdate.maxUnavailable", "must not be 0"),
        (rolling(maxUnavailable="101%"), "spec.updateStrategy.rollingUpdate.maxUnavailable", "at most 100%"),
        (rolling(maxUnavailable="many"), "spec.updateStrategy.rollingUpdate.maxUnavailable", "an integer, or"),
        (rolling(maxSurge=1), "spec.updateStrategy.rollingUpdate.maxSurge", "must be 0 when maxUnavailable is 1"),
    ],
)
def test_daemon_sets_that_are_refused(spec: dict[str, Any], field: str, words: str) -> None:
    assert words in refusals(daemon_set(**spec))[field]


def test_a_daemon_sets_selector_stays() -> None:
    other = {
        "selector": {"matchLabels": {"app": "y"}},
        "template": {**template(), "metadata": {"labels": {"app": "y"}}},
    }
    assert "is immutable" in refusals(daemon_set(**other), daemon_set())["spec.selector"]


# ---------------------------------------------------------------- StatefulSet


def stateful_set(**spec: Any) -> Any:
    return workload("StatefulSet", **({"selector": {"matchLabels": LABELS}} | spec))


def test_a_stateful_set_goes_in_order() -> None:
    made = stateful_set()
    strategy = made.spec.update_strategy
    assert (made.spec.replicas, made.spec.pod_management_policy) == (1, "OrderedReady")
    assert (strategy.type, strategy.rolling_update.HasField("partition")) == ("RollingUpdate", True)
    assert made.spec.revision_history_limit == 10
    assert refusals(made) == {}


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"selector": None}, "spec.selector", "is required"),
        ({"template": template(restartPolicy="OnFailure")}, "spec.template.spec.restartPolicy", 'must be "Always"'),
        ({"replicas": -1}, "spec.replicas", "at least 0"),
        ({"serviceName": "A b"}, "spec.serviceName", "must be lower-case"),
        ({"podManagementPolicy": "Random"}, "spec.podManagementPolicy", "OrderedReady"),
        ({"ordinals": {"start": -1}}, "spec.ordinals.start", "at least 0"),
        ({"configRollout": "Always"}, "spec.configRollout", "Automatic"),
        ({"updateStrategy": {"type": "OnDelete", "rollingUpdate": {}}}, "spec.updateStrategy.rollingUpdate", "must"),
        (rolling(partition=-1), "spec.updateStrategy.rollingUpdate.partition", "at least 0"),
        (rolling(maxUnavailable=0), "spec.updateStrategy.rollingUpdate.maxUnavailable", "must not be 0"),
        (rolling(maxUnavailable="200%"), "spec.updateStrategy.rollingUpdate.maxUnavailable", "at most 100%"),
    ],
)
def test_stateful_sets_that_are_refused(spec: dict[str, Any], field: str, words: str) -> None:
    assert words in refusals(stateful_set(**spec))[field]


@pytest.mark.parametrize("name", ["a.b", "x" * 53])
def test_a_stateful_sets_name_begins_host_names(name: str) -> None:
    made = stateful_set()
    made.metadata.name = name
    assert list(refusals(made)) == ["metadata.name"]


def test_what_gives_pods_their_identity_stays() -> None:
    new = stateful_set(serviceName="other", podManagementPolicy="Parallel", replicas=5, minReadySeconds=3)
    assert sorted(refusals(new, stateful_set())) == ["spec.podManagementPolicy", "spec.serviceName"]


@pytest.mark.parametrize("made", [daemon_set, stateful_set])
def test_whether_configuration_rolls_can_change_and_is_nothing_by_default(made: Any) -> None:
    assert made().spec.config_rollout == ""
    assert refusals(made(configRollout="Automatic"), made()) == refusals(made(), made(configRollout="Automatic")) == {}


def test_the_content_of_a_revision_stays() -> None:
    made = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {"name": "x", "namespace": "d"},
        "revision": 1,
    }
    old, new = (object_from_dict(made | {"data": {"spec": value}}) for value in ("a", "b"))
    assert "is immutable" in refusals(new, old)["data"]
    new = object_from_dict(made | {"data": {"spec": "a"}, "revision": 2})
    assert refusals(new, old) == {}
