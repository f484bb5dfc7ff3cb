"""The codec: Kubernetes' form, strictly, both ways."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.codec import yaml
from podium.codec.json import dumps, from_dict, loads, object_from_dict, parse_json, to_dict
from podium.errors import BadRequest, Invalid, Violation
from podium.objects.kinds import KINDS
from podium.v1.apps_pb2 import Deployment, Scale
from podium.v1.coordination_pb2 import Lease
from podium.v1.core_pb2 import ContainerStatus, Pod, PodSpec, Secret
from tests.support.messages import messages

objects = st.sampled_from([kind.message for kind in KINDS]).flatmap(messages)
relaxed = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None, max_examples=60
)


@relaxed
@given(objects)
def test_every_message_survives_json(obj: Message) -> None:
    assert loads(dumps(obj)) == obj


@relaxed
@given(objects)
def test_every_message_survives_yaml(obj: Message) -> None:
    assert yaml.load_all(yaml.dump(obj)) == [obj]


names = st.sampled_from(("metadata", "name", "spec", "containers", "image", "labels", "x"))
plain_data = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner)),
    max_leaves=20,
)


@relaxed
@given(plain_data)
def test_any_data_is_read_or_refused_by_name(data: Any) -> None:
    violations: Any = None
    try:
        from_dict(Pod, data)
    except Invalid as error:
        violations = error.violations
    assert violations is None or len(violations) > 0


def _pod(**container: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"} | container]},
    }


def _violations(data: Any) -> list[Violation]:
    with pytest.raises(Invalid) as caught:
        object_from_dict(data)
    return list(caught.value.violations)


def test_numbers_names_and_zeros_are_kubernetes() -> None:
    deployment = Deployment()
    deployment.spec.replicas = 0
    deployment.status.observed_generation = 3
    assert to_dict(deployment) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"replicas": 0},
        "status": {"observedGeneration": 3},
    }
    pod = Pod()
    pod.status.pod_ip = "10.0.0.1"
    assert to_dict(pod)["status"] == {"podIP": "10.0.0.1"}


def test_zeros_that_are_news_are_written() -> None:
    status = ContainerStatus(name="c")
    status.state.terminated.SetInParent()
    written = to_dict(status)
    assert written["ready"] is False
    assert written["restartCount"] == 0
    assert written["state"]["terminated"] == {"exitCode": 0}


def test_times_are_whole_seconds_unless_they_are_not() -> None:
    lease = from_dict(
        Lease, {"spec": {"renewTime": "2026-01-02T03:04:05.678901234Z", "acquireTime": "2026-01-02T05:04:05+02:00"}}
    )
    assert to_dict(lease)["spec"] == {"acquireTime": "2026-01-02T03:04:05Z", "renewTime": "2026-01-02T03:04:05.678901Z"}


def test_quantities_become_canonical() -> None:
    pod = object_from_dict(_pod(resources={"limits": {"cpu": 0.5, "memory": "1024Mi"}, "requests": {"cpu": 1}}))
    resources = pod.spec.containers[0].resources
    assert dict(resources.limits) == {"cpu": "500m", "memory": "1Gi"}
    assert dict(resources.requests) == {"cpu": "1"}


def test_null_is_absence() -> None:
    pod = object_from_dict(_pod(command=None, livenessProbe=None) | {"status": None})
    assert not pod.spec.containers[0].HasField("liveness_probe")


UNSUPPORTED = "is a Kubernetes field that is not supported by Podium"
NO_QUANTITY = "must be a quantity such as 100m, 1.5 or 64Mi, not the boolean true"
INT32 = "must be between -2147483648 and 2147483647"


@pytest.mark.parametrize(
    ("container", "path", "description", "hint"),
    [
        ({"imge": "x"}, "imge", "unknown field", 'did you mean "image"?'),
        ({"image_pull_policy": ""}, "image_pull_policy", "unknown field", 'did you mean "imagePullPolicy"?'),
        ({"volumeDevices": [{"name": "v"}]}, "volumeDevices", UNSUPPORTED, ""),
        ({"image": 80}, "image", "must be a string, not the number 80", 'quote it: "80"'),
        ({"tty": "yes"}, "tty", 'must be true or false, not the string "yes"', ""),
        (
            {"env": [{"name": "A", "value": True}]},
            "env[0].value",
            "must be a string, not the boolean true",
            'quote it: "true"',
        ),
        ({"env": {"A": "b"}}, "env", "must be a list, not a mapping", ""),
        ({"ports": [80]}, "ports[0]", "must be a mapping, not the number 80", ""),
        (
            {"ports": [{"containerPort": "80"}]},
            "ports[0].containerPort",
            'must be an integer, not the string "80"',
            "",
        ),
        ({"ports": [{"hostPort": 1.5}]}, "ports[0].hostPort", "must be an integer, not the number 1.5", ""),
        ({"ports": [{"hostPort": 2**31}]}, "ports[0].hostPort", INT32, ""),
        ({"command": ["a", None]}, "command[1]", "must be a string, not null", ""),
        ({"resources": {"limits": {"cpu": True}}}, "resources.limits[cpu]", NO_QUANTITY, ""),
        (
            {"livenessProbe": {"tcpSocket": {"port": True}}},
            "livenessProbe.tcpSocket.port",
            "must be an integer or a string, not the boolean true",
            "",
        ),
    ],
)
def test_refusals_name_path_problem_and_remedy(
    container: dict[str, Any], path: str, description: str, hint: str
) -> None:
    assert _violations(_pod(**container)) == [Violation(f"spec.containers[0].{path}", description, hint)]


def test_everything_wrong_is_said_at_once() -> None:
    data = _pod(imge="x", image=3)
    data["spec"]["restartPolicy"] = False
    data["metadata"]["lables"] = {}
    assert [v.field for v in _violations(data)] == [
        "metadata.lables",
        "spec.containers[0].image",
        "spec.containers[0].imge",
        "spec.restartPolicy",
    ]


def test_warnings_take_unknown_fields_but_not_wrong_types() -> None:
    warnings: list[Violation] = []
    pod = object_from_dict(_pod(imge="x"), warnings=warnings)
    assert pod.spec.containers[0].image == "i"
    assert [w.field for w in warnings] == ["spec.containers[0].imge"]
    with pytest.raises(Invalid):
        object_from_dict(_pod(image=3), warnings=warnings)


def test_fields_that_ask_for_nothing_are_accepted() -> None:
    data = _pod(terminationMessagePath="/dev/termination-log", volumeMounts=[])
    data["spec"] |= {"hostPID": False, "volumes": [], "schedulerName": "default-scheduler"}
    object_from_dict(data)
    data["spec"]["schedulerName"] = "other"
    assert [v.field for v in _violations(data)] == ["spec.schedulerName"]


def test_status_of_another_server_is_passed_over() -> None:
    object_from_dict(_pod() | {"status": {"hostIPs": [{"ip": "10.0.0.1"}], "phase": "Running"}})


@pytest.mark.parametrize(
    ("head", "field", "words"),
    [
        ({"kind": "CSIDriver", "apiVersion": "storage.k8s.io/v1"}, "kind", "not supported by Podium"),
        ({"kind": "Deploymnt", "apiVersion": "apps/v1"}, "kind", 'did you mean "Deployment"'),
        ({"kind": "pod", "apiVersion": "v1"}, "kind", 'did you mean "Pod"'),
        ({"apiVersion": "v1"}, "kind", "is required"),
        ({"kind": "Deployment", "apiVersion": "extensions/v1beta1"}, "apiVersion", 'must be "apps/v1" for Deployment'),
        ({"kind": "Pod"}, "apiVersion", "is required"),
    ],
)
def test_kinds_are_checked_with_hints(head: dict[str, str], field: str, words: str) -> None:
    [violation] = _violations(head | {"metadata": {"name": "x"}})
    assert violation.field == field
    assert words in str(violation)


def test_messages_that_are_no_kind() -> None:
    assert to_dict(from_dict(Scale, {"spec": {"replicas": 0}})) == {"spec": {"replicas": 0}}
    assert from_dict(PodSpec, {"hostname": "h"}).hostname == "h"


def test_bytes_are_base64() -> None:
    secret = from_dict(Secret, {"data": {"a": "aGk=\n"}})
    assert secret.data["a"] == b"hi"
    with pytest.raises(Invalid, match="plain text belongs in stringData"):
        from_dict(Secret, {"data": {"a": "not base64!"}})


@pytest.mark.parametrize("text", ["{", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a":' * 100_000, "\xff"])
def test_bad_json_is_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_json(text)
