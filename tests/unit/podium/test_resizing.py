"""What may be resized in place, what a pod was asked for, and what its node says to that."""

from __future__ import annotations

from typing import Any

import pytest

from podium.codec.json import object_from_dict
from podium.objects.resizing import asks_for, in_place, is_settled, refusal, take_resources
from podium.v1.core_pb2 import Pod, PodTemplateSpec

SMALL = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}}
LARGE = {"requests": {"cpu": "200m", "memory": "64Mi"}, "limits": {"cpu": "2", "memory": "64Mi"}}
MORE_MEMORY = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}


def pod(resources: dict[str, Any], *, image: str = "i", status: dict[str, Any] | None = None, **container: Any) -> Pod:
    spec = {"containers": [{"name": "main", "image": image, "resources": resources} | container]}
    made: Any = object_from_dict(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec, "status": status or {}}
    )
    typed: Pod = made
    return typed


def template(resources: dict[str, Any], **how: Any) -> PodTemplateSpec:
    made = PodTemplateSpec()
    made.metadata.labels["app"] = "web"
    made.spec.CopyFrom(pod(resources, **how).spec)
    return made


def with_init(resources: dict[str, Any], *, sidecar: bool) -> PodTemplateSpec:
    made = template(SMALL)
    init = made.spec.init_containers.add(name="init", image="i")
    init.restart_policy = "Always" if sidecar else ""
    init.resources.CopyFrom(template(resources).spec.containers[0].resources)
    return made


RESTARTS = {"resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (template(SMALL), template(LARGE), True),
        (template(LARGE), template(SMALL), True),
        (template(SMALL), template(SMALL), False),
        (template(SMALL), template(LARGE, image="other"), False),
        (template(SMALL), template({}), False),
        (template({}), template(SMALL), False),
        (template(SMALL), template({"requests": {"cpu": "100m", "memory": "64Mi"}}), False),
        (template(SMALL), template(SMALL | {"limits": {"cpu": "100m", "memory": "64Mi"}}), False),
        (template(SMALL, **RESTARTS), template(MORE_MEMORY, **RESTARTS), False),
        (template(SMALL, **RESTARTS), template(LARGE, **RESTARTS), True),
        (with_init(SMALL, sidecar=True), with_init(LARGE, sidecar=True), True),
        (with_init(SMALL, sidecar=False), with_init(LARGE, sidecar=False), False),
    ],
    ids=[
        "more", "less", "the same", "another image too", "none any more", "none before", "no limits any more",
        "another quality of service", "a restart is asked for", "a restart is asked for of what stays", "a sidecar",
        "an init container",
    ],
)  # fmt: skip
def test_in_place(old: PodTemplateSpec, new: PodTemplateSpec, expected: bool) -> None:
    assert in_place(old, new) is expected


def test_what_is_only_limited_is_requested_as_in_every_pod() -> None:
    limited = template({"limits": {"cpu": "1", "memory": "64Mi"}})
    asked = pod(SMALL)
    assert not asks_for(asked, limited)
    take_resources(asked, limited)
    assert asks_for(asked, limited)
    assert dict(asked.spec.containers[0].resources.requests) == {"cpu": "1", "memory": "64Mi"}


def told(resources: dict[str, Any], *conditions: dict[str, Any]) -> dict[str, Any]:
    container = {"name": "main", "ready": True, "resources": resources, "allocatedResources": resources["requests"]}
    return {"containerStatuses": [container], "conditions": [{"status": "True"} | each for each in conditions]}


DEFERRED = {"type": "PodResizePending", "reason": "Deferred", "message": "no room"}
RUNNING = {"type": "PodResizeInProgress"}
FAULTY = {"type": "PodResizeInProgress", "reason": "Error", "message": "uses more"}


@pytest.mark.parametrize(
    ("status", "settled", "refused"),
    [
        ({}, False, ""),
        (told(SMALL), False, ""),
        (told(LARGE), True, ""),
        (told(SMALL, DEFERRED), False, "Deferred: no room"),
        (told(SMALL, RUNNING), False, ""),
        (told(LARGE, RUNNING), False, ""),
        (told(SMALL, FAULTY), False, "Error: uses more"),
    ],
    ids=["silent", "not looked at yet", "done", "deferred", "begun", "under way", "faulty"],
)
def test_what_the_node_says(status: dict[str, Any], settled: bool, refused: str) -> None:
    asked = pod(LARGE, status=status)
    assert (is_settled(asked), refusal(asked)) == (settled, refused)
