"""Defaults that Kubernetes writes into objects (whole objects: see test_golden)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from master.admission import apply_defaults, validate
from master.admission.defaults.pods import pull_policy
from podium.objects.kinds import KINDS, Object
from podium.v1.apps_pb2 import Deployment
from podium.v1.core_pb2 import Namespace, Node, Pod, Secret
from tests.support.messages import messages


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.14.2", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
        ("registry:5000/nginx:latest@sha256:abc", "IfNotPresent"),
    ],
)
def test_images_with_a_moving_tag_are_always_pulled(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def _pod() -> Pod:
    pod = Pod()
    pod.metadata.name = "p"
    pod.spec.containers.add(name="c", image="i:1")
    return pod


def test_what_was_said_is_kept() -> None:
    pod = _pod()
    pod.spec.restart_policy = "Never"
    pod.spec.termination_grace_period_seconds = 0
    pod.spec.containers[0].image_pull_policy = "Always"
    pod.spec.tolerations.add(key="node.kubernetes.io/unreachable", operator="Exists", toleration_seconds=300)
    apply_defaults(pod)
    assert pod.spec.restart_policy == "Never"
    assert pod.spec.termination_grace_period_seconds == 0
    assert pod.spec.containers[0].image_pull_policy == "Always"
    assert [t.toleration_seconds for t in pod.spec.tolerations] == [300, 1]


def test_one_toleration_of_everything_is_enough() -> None:
    pod = _pod()
    pod.spec.tolerations.add(operator="Exists")
    apply_defaults(pod)
    assert len(pod.spec.tolerations) == 1


def test_requests_follow_limits_in_pods_but_not_in_templates() -> None:
    pod, deployment = _pod(), Deployment()
    deployment.spec.template.spec.containers.add(name="c")
    for spec in (pod.spec, deployment.spec.template.spec):
        spec.containers[0].resources.limits["cpu"] = "0.5"
    apply_defaults(pod)
    apply_defaults(deployment)
    assert dict(pod.spec.containers[0].resources.requests) == {"cpu": "500m"}
    assert dict(deployment.spec.template.spec.containers[0].resources.requests) == {}
    assert dict(deployment.spec.template.spec.containers[0].resources.limits) == {"cpu": "500m"}


@pytest.mark.parametrize(
    ("name", "given_priority", "priority"),
    [("", None, 0), ("", 7, 7), ("system-node-critical", None, 2_000_001_000), ("other", None, 0)],
)
def test_priority(name: str, given_priority: int | None, priority: int) -> None:
    pod = _pod()
    pod.spec.priority_class_name = name
    if given_priority is not None:
        pod.spec.priority = given_priority
    apply_defaults(pod)
    assert pod.spec.priority == priority
    assert pod.spec.preemption_policy == "PreemptLowerPriority"


def test_strategy_of_recreate_has_no_rolling_update() -> None:
    deployment = Deployment()
    deployment.spec.strategy.type = "Recreate"
    apply_defaults(deployment)
    assert not deployment.spec.strategy.HasField("rolling_update")


def test_small_kinds() -> None:
    namespace, node, secret = Namespace(), Node(), Secret()
    namespace.metadata.name = "dev"
    node.spec.pod_cidr = "10.0.1.0/24"
    secret.data["a"] = b"old"
    secret.string_data["a"] = "new"
    for obj in (namespace, node, secret):
        apply_defaults(obj)
    assert namespace.metadata.labels["kubernetes.io/metadata.name"] == "dev"
    assert list(namespace.spec.finalizers) == ["kubernetes"]
    assert list(node.spec.pod_cidrs) == ["10.0.1.0/24"]
    assert (secret.type, secret.data["a"], len(secret.string_data)) == ("Opaque", b"new", 0)
    assert (namespace.metadata.namespace, secret.metadata.namespace) == ("", "default")


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=40)
@given(st.sampled_from([kind.message for kind in KINDS]).flatmap(messages))
def test_any_message_can_be_defaulted_and_judged_and_defaulting_is_idempotent(obj: Object) -> None:
    apply_defaults(obj)
    once = obj.SerializeToString(deterministic=True)
    apply_defaults(obj)
    assert obj.SerializeToString(deterministic=True) == once
    assert all(violation.field and violation.description for violation in validate(obj))
