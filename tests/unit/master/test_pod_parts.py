"""Parts of a pod's spec that have a sub-resource of their own: what may become of them, and that nothing else does."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

from typing import Any

import pytest

from master.access.pod_parts import with_part
from master.admission import apply_defaults, validate
from master.admission.validation.pod_parts import PARTS
from master.cache.item import Item
from podium.codec.json import object_from_dict
from podium.errors import Conflict, Invalid
from podium.objects.kinds import POD_PARTS, key_of
from podium.v1.core_pb2 import Pod

TOOLS = {"name": "tools", "image": "busybox:1"}


def pod(*ephemeral: dict[str, Any], phase: str = "Running", **spec: Any) -> Pod:
    body = {
        "nodeName": "n1",
        "containers": [{"name": "app", "image": "i:1"}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    }
    made: Pod = object_from_dict(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "ns"}, "spec": body | spec}
    )
    for each in ephemeral:
        made.spec.ephemeral_containers.append(
            object_from_dict(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "spec": {"containers": body["containers"], "ephemeralContainers": [each]},
                }
            ).spec.ephemeral_containers[0]
        )
    apply_defaults(made)
    made.status.phase = phase
    return made


def stored(of: Pod) -> Item:
    return Item(key_of(of), of.SerializeToString(), 7)


def written(new: Pod, old: Pod) -> tuple[Pod, dict[str, str]]:
    """The pod that a write of the ephemeral containers makes, and what is refused of it."""
    changed, before = with_part(new, stored(old), "ephemeralcontainers")
    return changed, {v.field: v.description for v in validate(changed, before)}


def test_every_part_has_its_rules() -> None:
    assert set(PARTS) == POD_PARTS


def test_only_the_part_changes() -> None:
    new = pod(TOOLS)
    new.spec.containers[0].image = "i:2"
    new.metadata.labels["a"] = "b"
    changed, refused = written(new, pod())
    assert refused == {}
    assert [c.name for c in changed.spec.ephemeral_containers] == ["tools"]
    assert changed.spec.ephemeral_containers[0].image_pull_policy == "IfNotPresent"
    changed.spec.ClearField("ephemeral_containers")
    assert changed.spec == pod().spec
    assert not changed.metadata.labels


@pytest.mark.parametrize(
    ("ephemeral", "field", "words"),
    [
        ({"name": "app", "image": "b"}, "spec.ephemeralContainers[0].name", "must be once in a pod"),
        ({"name": "A", "image": "b"}, "spec.ephemeralContainers[0].name", "must be lower-case"),
        ({"name": "a"}, "spec.ephemeralContainers[0].image", "is required"),
        (TOOLS | {"targetContainerName": "web"}, "spec.ephemeralContainers[0].targetContainerName", "must name a container of the pod"),
        (TOOLS | {"volumeMounts": [{"name": "w", "mountPath": "/w"}]}, "spec.ephemeralContainers[0].volumeMounts[0].name", "must name a volume"),
        (TOOLS | {"volumeMounts": [{"name": "v", "mountPath": "/w", "subPath": "x"}]}, "spec.ephemeralContainers[0].volumeMounts[0].subPath", "must not be set"),
        (TOOLS | {"securityContext": {"seccompProfile": {"type": "Mine"}}}, "spec.ephemeralContainers[0].securityContext.seccompProfile.type", "must be one of"),
    ],
)  # fmt: skip
def test_what_an_ephemeral_container_may_not_be(ephemeral: dict[str, Any], field: str, words: str) -> None:
    _, refused = written(pod(ephemeral), pod())
    assert list(refused) == [field]
    assert words in refused[field]


@pytest.mark.parametrize(
    ("new", "old", "words"),
    [
        (pod(), pod(TOOLS), '"tools" must not be removed'),
        (pod(TOOLS | {"image": "busybox:2"}), pod(TOOLS), '"tools" must not be changed'),
        (pod(TOOLS), pod(nodeName=""), "not on a node yet"),
    ],
)
def test_they_are_only_added_and_only_to_a_pod_with_a_node(new: Pod, old: Pod, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        with_part(new, stored(old), "ephemeralcontainers")


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_is_over_is_not_looked_into(phase: str) -> None:
    with pytest.raises(Conflict, match="it is over"):
        with_part(pod(TOOLS), stored(pod(phase=phase)), "ephemeralcontainers")


def test_they_come_no_other_way() -> None:
    (refused,) = validate(pod(TOOLS), pod())
    assert (refused.field, "podium debug" in refused.hint) == ("spec.ephemeralContainers", True)
    (refused,) = validate(pod(TOOLS))
    assert (refused.field, refused.description) == ("spec.ephemeralContainers", "must not be set before the pod runs")


# ---------------------------------------------------------------- resources


def sized(limits: dict[str, str] | None = None, **requests: str) -> Pod:
    resources = {"requests": {k.replace("_", "-"): v for k, v in requests.items()}, "limits": limits or {}}
    return pod(containers=[{"name": "app", "image": "i:1", "resources": resources}])


def resized(new: Pod, old: Pod) -> Pod:
    changed: Pod
    changed, before = with_part(new, stored(old), "resize")
    assert validate(changed, before) == []
    return changed


def test_cpu_and_memory_can_be_resized_and_nothing_else_changes() -> None:
    new = sized(cpu="2", memory="1Gi")
    new.spec.containers[0].image = "i:2"
    (of,) = resized(new, sized(cpu="1", memory="2Gi")).spec.containers
    assert (dict(of.resources.requests), of.image) == ({"cpu": "2", "memory": "1Gi"}, "i:1")


@pytest.mark.parametrize(
    ("new", "old", "field", "words"),
    [
        (sized(memory="1Gi"), sized(cpu="1", memory="1Gi"), "spec.containers[0].resources.requests[cpu]", "must not be removed"),
        (sized(cpu="1", ephemeral_storage="1Gi"), sized(cpu="1"), "spec.containers[0].resources.requests[ephemeral-storage]", "is immutable"),
        (sized({"cpu": "1", "memory": "1Gi"}, cpu="1", memory="1Gi"), sized(cpu="1"), "spec.containers", "must leave the quality of service Burstable"),
        (sized(cpu="1"), sized(), "spec.containers", "must leave the quality of service BestEffort"),
        (
            pod(initContainers=[{"name": "i", "image": "i:1", "resources": {"requests": {"cpu": "2"}}}]),
            pod(initContainers=[{"name": "i", "image": "i:1", "resources": {"requests": {"cpu": "1"}}}]),
            "spec.initContainers[0].resources", "no sidecar",
        ),
    ],
)  # fmt: skip
def test_what_a_resize_may_not_do(new: Pod, old: Pod, field: str, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        with_part(new, stored(old), "resize")
    (violation,) = refused.value.violations
    assert violation.field == field
    assert words in violation.description


def test_resources_change_no_other_way() -> None:
    (refused,) = validate(sized(cpu="2"), sized(cpu="1"))
    assert (refused.field, "sub-resource resize" in refused.hint) == ("spec.containers", True)


def test_a_pod_that_never_restarts_restarts_for_no_resize() -> None:
    never = pod(
        restartPolicy="Never",
        containers=[
            {
                "name": "app",
                "image": "i:1",
                "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}],
            }
        ],
    )
    (refused,) = validate(never)
    assert refused.field == "spec.containers[0].resizePolicy[0].restartPolicy"
