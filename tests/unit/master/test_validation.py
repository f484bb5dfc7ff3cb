"""What is refused of each kind, by path; and that nothing else is."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from master.admission import (
    MAX_OBJECT_BYTES,
    admit,
    admit_status,
    apply_defaults,
    check_size,
    validate,
    validate_status,
)
from podium.codec.json import object_from_dict
from podium.errors import Invalid

Change = Callable[[Any], Any]


def _object(kind: str, api_version: str = "v1", **body: Any) -> Any:
    metadata = {"name": "x"} | body.pop("metadata", {})
    obj = object_from_dict({"apiVersion": api_version, "kind": kind, "metadata": metadata, **body})
    apply_defaults(obj)
    return obj


def pod(container: dict[str, Any] | None = None, **spec: Any) -> Any:
    return _object("Pod", spec={"containers": [{"name": "c", "image": "i:1"} | (container or {})], **spec})


def deployment(template: dict[str, Any] | None = None, **spec: Any) -> Any:
    made = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    body = {"selector": {"matchLabels": {"app": "x"}}, "template": made | (template or {})} | spec
    return _object("Deployment", "apps/v1", spec=body)


def refusals(obj: Any, old: Any = None) -> dict[str, str]:
    return {violation.field: violation.description for violation in validate(obj, old)}


def replica_set() -> Any:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return _object("ReplicaSet", "apps/v1", spec={"selector": {"matchLabels": {"a": "b"}}, "template": template})


def test_good_objects_pass() -> None:
    for obj in (pod(), deployment(), replica_set(), _object("Secret"), _object("Namespace"), _object("Node")):
        assert validate(obj) == []
        assert validate(obj, copy.deepcopy(obj)) == []


# ---------------------------------------------------------------- metadata


@pytest.mark.parametrize(
    ("metadata", "field", "words"),
    [
        ({"name": ""}, "metadata.name", "is required"),
        ({"name": "Web"}, "metadata.name", "must be lower-case"),
        ({"name": "a" * 254}, "metadata.name", "at most 253"),
        ({"name": "a..b"}, "metadata.name", "must be lower-case"),
        ({"namespace": "A"}, "metadata.namespace", "must be lower-case"),
        ({"labels": {"a b": "c"}}, "metadata.labels", 'the key "a b" must be letters'),
        ({"labels": {"/a": "c"}}, "metadata.labels", "before the '/'"),
        ({"labels": {"A.B/c": "c"}}, "metadata.labels", "the part before the '/' must be lower-case"),
        ({"labels": {"a": "-"}}, "metadata.labels[a]", "must be letters"),
        ({"labels": {"a": "b" * 64}}, "metadata.labels[a]", "at most 63"),
        ({"labels": {"a" * 64: "b"}}, "metadata.labels", "at most 63"),
        ({"annotations": {"a": "b" * 2**18}}, "metadata.annotations", "at most 262144 bytes"),
        ({"annotations": {"a b": ""}}, "metadata.annotations", "must be letters"),
        ({"finalizers": ["a b"]}, "metadata.finalizers[0]", "must be letters"),
        ({"ownerReferences": [{"kind": "Pod", "name": "x", "uid": "u"}]}, "metadata.ownerReferences[0].apiVersion", "is required"),
        ({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": n, "uid": n, "controller": True} for n in "ab"]},
         "metadata.ownerReferences", "at most one controller, not a and b"),
    ],
)  # fmt: skip
def test_metadata(metadata: dict[str, Any], field: str, words: str) -> None:
    found = refusals(_object("Secret", metadata=metadata))
    assert list(found) == [field]
    assert words in found[field]


def test_cluster_scoped_objects_have_no_namespace_and_namespaces_short_names() -> None:
    node = _object("Node")
    node.metadata.namespace = "default"
    assert list(refusals(node)) == ["metadata.namespace"]
    assert list(refusals(_object("Namespace", metadata={"name": "a.b"}))) == ["metadata.name"]


def test_an_object_has_a_greatest_size() -> None:
    event = _object("Event", involvedObject={"kind": "Pod", "namespace": "default"}, message="x" * MAX_OBJECT_BYTES)
    with pytest.raises(Invalid, match=r"Event .* is invalid: metadata: the object must be at most 1572864 bytes"):
        check_size(event, event.SerializeToString())
    event.message = "x"
    check_size(event, event.SerializeToString())


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("metadata.name", lambda o: setattr(o.metadata, "name", "y")),
        ("metadata.namespace", lambda o: setattr(o.metadata, "namespace", "y")),
        ("metadata.uid", lambda o: setattr(o.metadata, "uid", "y")),
        ("metadata.creationTimestamp", lambda o: setattr(o.metadata.creation_timestamp, "seconds", 9)),
    ],
)
def test_identity_is_immutable(field: str, change: Change) -> None:
    old = _object("Secret")
    new = copy.deepcopy(old)
    change(new)
    assert list(refusals(new, old)) == [field]


def test_deletion_cannot_be_taken_back_nor_held_up_anew() -> None:
    old = _object("Secret", metadata={"finalizers": ["a/b"]})
    old.metadata.deletion_timestamp.seconds = 5
    new = copy.deepcopy(old)
    new.metadata.finalizers[:] = ["a/c"]
    assert list(refusals(new, old)) == ["metadata.finalizers"]
    new = copy.deepcopy(old)
    new.metadata.ClearField("deletion_timestamp")
    new.metadata.finalizers[:] = []
    assert list(refusals(new, old)) == ["metadata.deletionTimestamp"]


# ---------------------------------------------------------------- containers

PROBE = {"exec": {"command": ["x"]}}


@pytest.mark.parametrize(
    ("container", "field", "words"),
    [
        ({"name": ""}, "name", "is required"),
        ({"name": "A"}, "name", "must be lower-case"),
        ({"image": ""}, "image", "is required"),
        ({"image": " i"}, "image", "white space"),
        ({"imagePullPolicy": "Maybe"}, "imagePullPolicy", "must be one of Always, IfNotPresent, Never"),
        ({"restartPolicy": "Always"}, "restartPolicy", "only be set on init containers"),
        ({"ports": [{}]}, "ports[0].containerPort", "is required"),
        ({"ports": [{"containerPort": 70000}]}, "ports[0].containerPort", "between 1 and 65535"),
        ({"ports": [{"containerPort": 1, "hostPort": -1}]}, "ports[0].hostPort", "between 1 and 65535"),
        ({"ports": [{"containerPort": 1, "protocol": "SCTP"}]}, "ports[0].protocol", "must be one of TCP, UDP"),
        ({"ports": [{"containerPort": 1, "name": "Web_1"}]}, "ports[0].name", "must be lower-case"),
        ({"ports": [{"containerPort": 1, "name": "12"}]}, "ports[0].name", "at least one letter"),
        ({"ports": [{"containerPort": 1, "hostIP": "x"}]}, "ports[0].hostIP", "must be an IP address"),
        ({"ports": [{"containerPort": n, "name": "a"} for n in (1, 2)]}, "ports", 'each name once: "a"'),
        ({"env": [{"value": "x"}]}, "env[0].name", "is required"),
        ({"env": [{"name": "1A"}]}, "env[0].name", "must not start with a digit"),
        ({"env": [{"name": "A=B"}]}, "env[0].name", "must be letters"),
        ({"resources": {"limits": {"gpu": 1}}}, "resources.limits[gpu]", "must be one of cpu"),
        ({"resources": {"limits": {"x.io/gpu": "0.5"}}}, "resources.limits[x.io/gpu]", "whole number"),
        ({"resources": {"limits": {"cpu": "-1"}}}, "resources.limits[cpu]", "at least 0"),
        ({"resources": {"limits": {"cpu": 1}, "requests": {"cpu": 2}}}, "resources.requests[cpu]", "at most the limit 1, not 2"),
        ({"livenessProbe": {}}, "livenessProbe", "must have one of exec, httpGet, tcpSocket, grpc"),
        ({"livenessProbe": PROBE | {"grpc": {"port": 1}}}, "livenessProbe.grpc", "must not be set beside exec"),
        ({"livenessProbe": PROBE | {"successThreshold": 2}}, "livenessProbe.successThreshold", "must be 1"),
        ({"startupProbe": PROBE | {"periodSeconds": -1}}, "startupProbe.periodSeconds", "at least 1"),
        ({"readinessProbe": PROBE | {"terminationGracePeriodSeconds": 1}}, "readinessProbe.terminationGracePeriodSeconds", "must not be set"),
        ({"livenessProbe": {"exec": {}}}, "livenessProbe.exec.command", "is required"),
        ({"livenessProbe": {"httpGet": {}}}, "livenessProbe.httpGet.port", "is required"),
        ({"livenessProbe": {"httpGet": {"port": 0}}}, "livenessProbe.httpGet.port", "between 1 and 65535"),
        ({"livenessProbe": {"httpGet": {"port": "A"}}}, "livenessProbe.httpGet.port", "must be lower-case"),
        ({"livenessProbe": {"httpGet": {"port": 1, "scheme": "FTP"}}}, "livenessProbe.httpGet.scheme", "must be one of HTTP, HTTPS"),
        ({"livenessProbe": {"httpGet": {"port": 1, "httpHeaders": [{"name": "a b"}]}}}, "livenessProbe.httpGet.httpHeaders[0].name", "HTTP header"),
        ({"livenessProbe": {"grpc": {"port": 99999}}}, "livenessProbe.grpc.port", "between 1 and 65535"),
        ({"lifecycle": {"preStop": {}}}, "lifecycle.preStop", "must have one of exec, httpGet, sleep"),
        ({"lifecycle": {"preStop": {"sleep": {"seconds": -1}}}}, "lifecycle.preStop.sleep.seconds", "at least 1"),
        ({"securityContext": {"runAsUser": -1}}, "securityContext.runAsUser", "at least 0"),
        ({"securityContext": {"privileged": True, "allowPrivilegeEscalation": False}}, "securityContext.allowPrivilegeEscalation", "privileged"),
    ],
)  # fmt: skip
def test_containers(container: dict[str, Any], field: str, words: str) -> None:
    found = refusals(pod(container))
    assert list(found) == [f"spec.containers[0].{field}"]
    assert words in found[f"spec.containers[0].{field}"]


# ---------------------------------------------------------------- pods

MAIN = {"name": "c", "image": "i"}
TERM = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"


def _required(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


def _near(**term: Any) -> dict[str, Any]:
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"} | term]}}


def _avoided(weight: int, **term: Any) -> dict[str, Any]:
    wish = {"weight": weight, "podAffinityTerm": {"topologyKey": "zone"} | term}
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}


def _spread(**constraint: Any) -> dict[str, Any]:
    made = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"} | constraint
    return {"topologySpreadConstraints": [made]}


SPREAD = "topologySpreadConstraints[0]"
NEAR = "affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"
AVOIDED = "affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]"
APP = {"matchLabels": {"app": "x"}}
SECCOMP = "securityContext.seccompProfile"


def _seccomp(type_: str, file: str) -> dict[str, Any]:
    return {"securityContext": {"seccompProfile": {"type": type_, "localhostProfile": file}}}


def _preferred(weight: int) -> dict[str, Any]:
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": weight, "preference": {}}]}}


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"containers": []}, "containers", "is required"),
        ({"containers": [MAIN, MAIN]}, "containers", 'each name once: "c"'),
        ({"initContainers": [MAIN]}, "containers", 'each name once: "c"'),
        ({"initContainers": [MAIN | {"name": "i", "readinessProbe": PROBE}]}, "initContainers[0].readinessProbe", "must not be set"),
        ({"initContainers": [MAIN | {"name": "i", "restartPolicy": "Never"}]}, "initContainers[0].restartPolicy", "must be one of Always"),
        ({"containers": [MAIN | {"name": n, "ports": [{"containerPort": 1, "hostPort": 5}]} for n in "ab"]}, "containers[1].ports[0].hostPort", "must be used once"),
        ({"hostNetwork": True, "containers": [MAIN | {"ports": [{"containerPort": 1, "hostPort": 5}]}]}, "containers[0].ports[0].hostPort", "must equal containerPort"),
        ({"restartPolicy": "Sometimes"}, "restartPolicy", "must be one of Always, OnFailure, Never"),
        ({"dnsPolicy": "Mine"}, "dnsPolicy", "must be one of"),
        ({"dnsPolicy": "None"}, "dnsConfig.nameservers", "is required"),
        ({"dnsConfig": {"nameservers": ["x"]}}, "dnsConfig.nameservers[0]", "must be an IP address"),
        ({"dnsConfig": {"nameservers": ["10.0.0.1"] * 4}}, "dnsConfig.nameservers", "at most 3"),
        ({"dnsConfig": {"options": [{}]}}, "dnsConfig.options[0].name", "is required"),
        ({"terminationGracePeriodSeconds": -1}, "terminationGracePeriodSeconds", "at least 0"),
        ({"nodeSelector": {"a b": "c"}}, "nodeSelector", "must be letters"),
        ({"nodeName": "A"}, "nodeName", "must be lower-case"),
        ({"hostname": "a.b"}, "hostname", "must be lower-case"),
        ({"tolerations": [{"key": "a b", "operator": "Exists"}]}, "tolerations[0].key", "must be letters"),
        ({"tolerations": [{"operator": "Equal"}]}, "tolerations[0].operator", 'must be "Exists"'),
        ({"tolerations": [{"key": "a", "operator": "Is"}]}, "tolerations[0].operator", "must be one of Exists, Equal"),
        ({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}, "tolerations[0].value", "must be empty"),
        ({"tolerations": [{"key": "a", "tolerationSeconds": 1}]}, "tolerations[0].effect", 'must be "NoExecute"'),
        ({"priorityClassName": "High"}, "priorityClassName", "must be lower-case"),
        ({"priority": 2_000_000_000}, "priority", "at most 1000000000"),
        ({"priorityClassName": "system-node-critical", "priority": 5}, "priority", "must be 2000001000"),
        ({"preemptionPolicy": "Always"}, "preemptionPolicy", "must be one of"),
        ({"affinity": _near(topologyKey="")}, f"{NEAR}.topologyKey", "is required"),
        ({"affinity": _near(topologyKey="a b")}, f"{NEAR}.topologyKey", "must be letters"),
        ({"affinity": _near(namespaces=["A"])}, f"{NEAR}.namespaces[0]", "must be lower-case"),
        ({"affinity": _near(labelSelector={"matchLabels": {"a b": "c"}})}, f"{NEAR}.labelSelector.matchLabels", "must be letters"),
        ({"affinity": _near(namespaceSelector={"matchExpressions": [{"key": "a", "operator": "In"}]})}, f"{NEAR}.namespaceSelector.matchExpressions[0].values", "is required"),
        ({"affinity": _near(matchLabelKeys=["a"])}, f"{NEAR}.matchLabelKeys", "without a labelSelector"),
        ({"affinity": _near(labelSelector=APP, matchLabelKeys=["a b"])}, f"{NEAR}.matchLabelKeys[0]", "must be letters"),
        ({"affinity": _near(labelSelector=APP, matchLabelKeys=["k"], mismatchLabelKeys=["k"])}, f"{NEAR}.mismatchLabelKeys[0]", "must not be in matchLabelKeys"),
        ({"affinity": _avoided(0)}, f"{AVOIDED}.weight", "between 1 and 100"),
        ({"affinity": _avoided(101)}, f"{AVOIDED}.weight", "between 1 and 100"),
        ({"affinity": _avoided(5, topologyKey="")}, f"{AVOIDED}.podAffinityTerm.topologyKey", "is required"),
        (_spread(maxSkew=0), f"{SPREAD}.maxSkew", "is required"),
        (_spread(maxSkew=-1), f"{SPREAD}.maxSkew", "must be greater than 0"),
        (_spread(topologyKey=""), f"{SPREAD}.topologyKey", "is required"),
        (_spread(topologyKey="a b"), f"{SPREAD}.topologyKey", "must be letters"),
        (_spread(whenUnsatisfiable=""), f"{SPREAD}.whenUnsatisfiable", "is required"),
        (_spread(whenUnsatisfiable="Never"), f"{SPREAD}.whenUnsatisfiable", "must be one of DoNotSchedule, ScheduleAnyway"),
        (_spread(minDomains=0), f"{SPREAD}.minDomains", "must be greater than 0"),
        (_spread(minDomains=1, whenUnsatisfiable="ScheduleAnyway"), f"{SPREAD}.minDomains", "only be set with"),
        (_spread(nodeAffinityPolicy="Maybe"), f"{SPREAD}.nodeAffinityPolicy", "must be one of Honor, Ignore"),
        (_spread(nodeTaintsPolicy="Maybe"), f"{SPREAD}.nodeTaintsPolicy", "must be one of Honor, Ignore"),
        (_spread(matchLabelKeys=["a"]), f"{SPREAD}.matchLabelKeys", "without a labelSelector"),
        (_spread(labelSelector=APP, matchLabelKeys=["app"]), f"{SPREAD}.matchLabelKeys[0]", "must not be in labelSelector"),
        ({"topologySpreadConstraints": _spread()["topologySpreadConstraints"] * 2}, "topologySpreadConstraints[1]", "must be the only one"),
        ({"schedulingGates": [{}]}, "schedulingGates[0].name", "is required"),
        ({"schedulingGates": [{"name": "a b"}]}, "schedulingGates[0].name", "must be letters"),
        ({"schedulingGates": [{"name": "a"}, {"name": "a"}]}, "schedulingGates[1].name", "must be used once"),
        ({"schedulingGates": [{"name": "a"}], "nodeName": "n1"}, "nodeName", "until all schedulingGates"),
        ({"hostAliases": [{"hostnames": ["db"]}]}, "hostAliases[0].ip", "is required"),
        ({"hostAliases": [{"ip": "db", "hostnames": ["db"]}]}, "hostAliases[0].ip", "must be an IP address"),
        ({"hostAliases": [{"ip": "10.0.0.1"}]}, "hostAliases[0].hostnames", "is required"),
        ({"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["ok", "d b"]}]}, "hostAliases[0].hostnames[1]", "must be lower-case"),
        ({"securityContext": {"seccompProfile": {"type": "Mine"}}}, "securityContext.seccompProfile.type", "must be one of RuntimeDefault, Unconfined, Localhost"),
        ({"securityContext": {"seccompProfile": {"type": "Localhost"}}}, "securityContext.seccompProfile.localhostProfile", 'is required when type is "Localhost"'),
        (_seccomp("Unconfined", "a.json"), f"{SECCOMP}.localhostProfile", 'must be left out when type is "Unconfined"'),
        (_seccomp("Localhost", "/etc/a.json"), f"{SECCOMP}.localhostProfile", "must be a path below the node's folder"),
        (_seccomp("Localhost", "a/../../b.json"), f"{SECCOMP}.localhostProfile", 'not "a/../../b.json"'),
        ({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}, "securityContext.sysctls[0].name", "is not allowed"),
        ({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_syncookies"}]}}, "securityContext.sysctls[0].value", "is required"),
        ({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}] * 2}}, "securityContext.sysctls", "each name once"),
        ({"hostNetwork": True, "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]}}, "securityContext.sysctls[0].name", "would change the node"),
        ({"containers": [MAIN | {"terminationMessagePath": "log"}]}, "containers[0].terminationMessagePath", "absolute"),
        ({"containers": [MAIN | {"terminationMessagePolicy": "Log"}]}, "containers[0].terminationMessagePolicy", "must be one of File, FallbackToLogsOnError"),
        ({"imagePullSecrets": [{}]}, "imagePullSecrets[0].name", "is required"),
        ({"securityContext": {"runAsUser": 2**31}}, "securityContext.runAsUser", "at least 0"),
        ({"crashLoopBackOff": {"initialDelay": "0"}}, "crashLoopBackOff.initialDelay", "greater than 0"),
        ({"crashLoopBackOff": {"initialDelay": "9s", "maxDelay": "1s"}}, "crashLoopBackOff.initialDelay", "at most maxDelay"),
        ({"affinity": _required()}, f"{TERM}.nodeSelectorTerms", "is required"),
        ({"affinity": _required({"matchExpressions": [{"key": "a", "operator": "In"}]})}, f"{TERM}.nodeSelectorTerms[0].matchExpressions[0].values", "is required"),
        ({"affinity": _required({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["x"]}]})}, f"{TERM}.nodeSelectorTerms[0].matchExpressions[0].values", "one integer"),
        ({"affinity": _required({"matchExpressions": [{"key": "a", "operator": "Is"}]})}, f"{TERM}.nodeSelectorTerms[0].matchExpressions[0].operator", "must be one of"),
        ({"affinity": _required({"matchFields": [{"key": "spec.x", "operator": "In", "values": ["x"]}]})}, f"{TERM}.nodeSelectorTerms[0].matchFields[0].key", 'must be "metadata.name"'),
        ({"affinity": _preferred(101)}, "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight", "between 1 and 100"),
    ],
)  # fmt: skip
def test_pods(spec: dict[str, Any], field: str, words: str) -> None:
    found = refusals(_object("Pod", spec={"containers": [MAIN]} | spec))
    assert list(found) == [f"spec.{field}"]
    assert words in found[f"spec.{field}"]


def test_a_refused_spec_is_refused_again() -> None:
    assert refusals(pod(hostname="A")) == refusals(pod(hostname="A")) != {}


def test_messages_that_never_saw_the_codec_are_checked_too() -> None:
    obj = pod()
    obj.spec.containers[0].resources.limits["cpu"] = "lots"
    assert "is not a quantity" in refusals(obj)["spec.containers[0].resources.limits[cpu]"]


@pytest.mark.parametrize(
    "change",
    [
        lambda p: setattr(p.spec.containers[0], "image", "i:2"),
        lambda p: p.spec.tolerations.add(key="a", operator="Exists"),
        lambda p: p.metadata.labels.update(a="b"),
    ],
)
def test_what_may_change_of_a_pod(change: Change) -> None:
    old = pod()
    new = copy.deepcopy(old)
    change(new)
    assert refusals(new, old) == {}


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("spec.containers", lambda p: p.spec.containers.add(name="d", image="i")),
        ("spec.containers", lambda p: p.spec.containers[0].command.append("x")),
        ("spec.tolerations", lambda p: p.spec.tolerations.pop()),
        ("spec.nodeName", lambda p: setattr(p.spec, "node_name", "n")),
        ("spec.terminationGracePeriodSeconds", lambda p: setattr(p.spec, "termination_grace_period_seconds", 0)),
        ("spec.hostname", lambda p: setattr(p.spec, "hostname", "h")),
    ],
)
def test_what_may_not_change_of_a_pod(field: str, change: Change) -> None:
    old = pod()
    new = copy.deepcopy(old)
    change(new)
    assert refusals(new, old) == {field: "is immutable"}


def _gated(**spec: Any) -> Any:
    return pod(schedulingGates=[{"name": "a"}, {"name": "b"}], **spec)


ZONED = _required({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]})


def _terms(obj: Any) -> Any:
    affinity = obj.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution
    return affinity.node_selector_terms


@pytest.mark.parametrize(
    ("spec", "change", "refused"),
    [
        ({}, lambda p: p.spec.scheduling_gates.pop(), ""),
        ({}, lambda p: p.spec.ClearField("scheduling_gates"), ""),
        ({}, lambda p: p.spec.scheduling_gates.add(name="c"), "schedulingGates"),
        ({}, lambda p: setattr(p.spec.scheduling_gates[0], "name", "c"), "schedulingGates"),
        ({}, lambda p: p.spec.node_selector.update(disk="ssd"), ""),
        ({"nodeSelector": {"a": "b"}}, lambda p: p.spec.node_selector.update(a="c"), "nodeSelector"),
        ({"nodeSelector": {"a": "b"}}, lambda p: p.spec.node_selector.clear(), "nodeSelector"),
        ({}, lambda p: _terms(p).add().match_expressions.add(key="z", operator="Exists"), ""),
        ({"affinity": ZONED}, lambda p: _terms(p)[0].match_expressions.add(key="z", operator="Exists"), ""),
        ({"affinity": ZONED}, lambda p: _terms(p).add().match_expressions.add(key="z", operator="Exists"), "affinity"),
        ({"affinity": ZONED}, lambda p: _terms(p)[0].match_expressions[0].values.append("b"), "affinity"),
        ({"affinity": _required({})}, lambda p: _terms(p)[0].match_expressions.add(key="z", operator="Exists"), "affinity"),
        ({"affinity": _preferred(5)}, lambda p: p.spec.ClearField("affinity"), ""),
    ],
)  # fmt: skip
def test_a_gated_pod_can_only_be_narrowed(spec: dict[str, Any], change: Change, refused: str) -> None:
    old = _gated(**spec)
    new = copy.deepcopy(old)
    change(new)
    assert list(refusals(new, old)) == ([f"spec.{refused}"] if refused else [])


def test_a_pod_without_gates_gets_none_and_keeps_its_directives() -> None:
    old = pod()
    new = copy.deepcopy(old)
    new.spec.scheduling_gates.add(name="a")
    new.spec.node_selector["a"] = "b"
    assert set(refusals(new, old)) == {"spec.schedulingGates", "spec.nodeSelector"}


# ---------------------------------------------------------------- workloads


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"selector": None}, "selector", "is required"),
        ({"template": None}, "template", "is required"),
        ({"selector": {}}, "selector", "must not be empty"),
        ({"selector": {"matchLabels": {"app": "y"}}}, "template.metadata.labels", 'must match the selector "app=y"'),
        ({"selector": {"matchExpressions": [{"key": "app", "operator": "Is"}]}}, "selector.matchExpressions[0].operator", "must be one of"),
        ({"selector": {"matchExpressions": [{"key": "z", "operator": "DoesNotExist", "values": ["x"]}]}}, "selector.matchExpressions[0].values", "must be empty"),
        ({"replicas": -1}, "replicas", "at least 0"),
        ({"minReadySeconds": -1}, "minReadySeconds", "at least 0"),
        ({"revisionHistoryLimit": -1}, "revisionHistoryLimit", "at least 0"),
        ({"minReadySeconds": 600}, "progressDeadlineSeconds", "greater than minReadySeconds"),
        ({"strategy": {"type": "Blue"}}, "strategy.type", "must be one of Recreate, RollingUpdate"),
        ({"strategy": {"type": "Recreate", "rollingUpdate": {}}}, "strategy.rollingUpdate", "must not be set"),
        ({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}}, "strategy.rollingUpdate.maxUnavailable", "must not be 0 when maxSurge is 0"),
        ({"strategy": {"rollingUpdate": {"maxSurge": "half"}}}, "strategy.rollingUpdate.maxSurge", "a percentage such as 25%"),
        ({"strategy": {"rollingUpdate": {"maxUnavailable": "120%"}}}, "strategy.rollingUpdate.maxUnavailable", "at most 100%"),
        ({"strategy": {"rollingUpdate": {"maxUnavailable": -1}}}, "strategy.rollingUpdate.maxUnavailable", "at least 0"),
    ],
)  # fmt: skip
def test_deployments(spec: dict[str, Any], field: str, words: str) -> None:
    bare = {key: value for key, value in spec.items() if value is not None}
    made = deployment(**bare)
    for name in spec.keys() - bare.keys():
        made.spec.ClearField(name)
    found = refusals(made)
    assert list(found) == [f"spec.{field}"]
    assert words in found[f"spec.{field}"]


def test_templates_are_checked_like_pods_and_restart_always() -> None:
    template: dict[str, Any] = {"metadata": {"labels": {"app": "x"}}}
    template["spec"] = {"restartPolicy": "Never", "containers": [{"name": "C", "image": "i"}]}
    assert list(refusals(deployment(template))) == [
        "spec.template.spec.containers[0].name",
        "spec.template.spec.restartPolicy",
    ]


def test_the_selector_is_immutable() -> None:
    old = deployment()
    new = copy.deepcopy(old)
    new.spec.selector.match_labels["b"] = "c"
    new.spec.template.metadata.labels["b"] = "c"
    assert refusals(new, old) == {"spec.selector": "is immutable"}


# ---------------------------------------------------------------- the rest of the core


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"data": {"a b": ""}}, "data", 'the key "a b" must be letters'),
        ({"data": {"..": ""}}, "data", 'must not be "." nor start with ".."'),
        ({"type": "kubernetes.io/basic-auth", "stringData": {"x": "y"}}, "data", "must have username or password"),
        ({"type": "kubernetes.io/ssh-auth", "stringData": {"x": "y"}}, "data[ssh-privatekey]", "is required"),
        ({"type": "kubernetes.io/tls", "stringData": {"tls.crt": "x"}}, "data[tls.key]", "is required"),
        ({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "x"}}, "data[.dockerconfigjson]", "must be a JSON object"),
        ({"stringData": {"a": "x" * (2**20 + 1)}}, "data", "at most 1048576 bytes"),
    ],
)  # fmt: skip
def test_secrets(body: dict[str, Any], field: str, words: str) -> None:
    found = refusals(_object("Secret", **body))
    assert list(found) == [field]
    assert words in found[field]


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [(None, 5, True), (5, 3, True), (5, 6, False), (5, None, False)],
)
def test_a_pods_deadline_can_only_come_nearer(before: int | None, after: int | None, allowed: bool) -> None:
    old, new = (pod() if n is None else pod(activeDeadlineSeconds=n) for n in (before, after))
    assert refusals(new, old) == ({} if allowed else {"spec.activeDeadlineSeconds": "is immutable"})


def test_immutable_secrets_stay() -> None:
    old = _object("Secret", stringData={"a": "1"}, immutable=True)
    new = copy.deepcopy(old)
    new.type, new.immutable = "other", False
    new.data["a"] = b"2"
    assert set(refusals(new, old)) == {"type", "immutable", "data"}


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"taints": [{"effect": "NoExecute"}]}, "taints[0].key", "is required"),
        ({"taints": [{"key": "a"}]}, "taints[0].effect", "is required"),
        ({"taints": [{"key": "a", "effect": "Go"}]}, "taints[0].effect", "must be one of NoSchedule"),
        ({"taints": [{"key": "a", "effect": "NoExecute", "value": "-"}]}, "taints[0].value", "must be letters"),
        ({"taints": [{"key": "a", "effect": "NoExecute", "value": v} for v in "xy"]}, "taints[1]", "must be once"),
        ({"podCIDRs": ["10.0.0.1/24"]}, "podCIDRs[0]", "without host bits"),
        ({"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.1.0/24"]}, "podCIDRs[0]", "must be podCIDR"),
    ],
)
def test_nodes(spec: dict[str, Any], field: str, words: str) -> None:
    found = refusals(_object("Node", spec=spec))
    assert list(found) == [f"spec.{field}"]
    assert words in found[f"spec.{field}"]


def test_a_nodes_range_stays_once_it_is_set() -> None:
    old = _object("Node")
    new = _object("Node", spec={"podCIDR": "10.0.0.0/24"})
    assert refusals(new, old) == {}
    assert "spec.podCIDR" in refusals(old, new)


def test_a_nodes_resources_are_readable() -> None:
    old = _object("Node")
    new = copy.deepcopy(old)
    new.status.capacity["cpu"] = "many"
    new.status.allocatable["memory"] = "-1"
    found = {violation.field for violation in validate_status(new, old)}
    assert found == {"status.capacity[cpu]", "status.allocatable[memory]"}


def test_events_are_where_their_object_is() -> None:
    assert refusals(_object("Event", involvedObject={"kind": "Node", "name": "n"})) == {}
    about = {"kind": "Pod", "name": "p", "namespace": "other"}
    assert list(refusals(_object("Event", involvedObject=about))) == ["involvedObject.namespace"]


# ---------------------------------------------------------------- admission


def test_admission_defaults_then_names_everything() -> None:
    obj = object_from_dict({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "P"}, "spec": {"hostname": "H"}})
    with pytest.raises(Invalid, match='Pod "P" is invalid') as caught:
        admit(obj)
    assert [v.field for v in caught.value.violations] == ["metadata.name", "spec.containers", "spec.hostname"]


def test_status_is_checked_by_itself() -> None:
    old = pod()
    new = copy.deepcopy(old)
    new.status.conditions.add(type="Ready", status="Maybe")
    new.status.phase = "Flying"
    assert [v.field for v in validate_status(new, old)] == ["status.phase", "status.conditions[0].status"]
    with pytest.raises(Invalid):
        admit_status(new, old)
    assert validate_status(old, old) == []


# ---------------------------------------------------------------- volumes, ConfigMap

EMPTY = {"name": "v", "emptyDir": {}}


@pytest.mark.parametrize(
    ("volumes", "mounts", "field", "words"),
    [
        ([{"name": "V", "emptyDir": {}}], [], "spec.volumes[0].name", "must be lower-case"),
        ([{"emptyDir": {}}], [], "spec.volumes[0].name", "is required"),
        ([{"name": "v"}], [], "spec.volumes[0]", "must have one source"),
        ([EMPTY, EMPTY], [], "spec.volumes[1].name", "must be once"),
        ([EMPTY], [{"name": "w", "mountPath": "/a"}], "spec.containers[0].volumeMounts[0].name", "must name a volume"),
        ([EMPTY], [{"mountPath": "/a"}], "spec.containers[0].volumeMounts[0].name", "is required"),
        ([EMPTY], [{"name": "v"}], "spec.containers[0].volumeMounts[0].mountPath", "is required"),
        ([EMPTY], [{"name": "v", "mountPath": "a"}], "spec.containers[0].volumeMounts[0].mountPath", "must be an absolute path"),
        ([EMPTY], [{"name": "v", "mountPath": "//"}], "spec.containers[0].volumeMounts[0].mountPath", "must not be the root"),
        ([EMPTY], [{"name": "v", "mountPath": "/a:b"}], "spec.containers[0].volumeMounts[0].mountPath", "must not contain ':'"),
        ([EMPTY], [{"name": "v", "mountPath": "/a/../b"}], "spec.containers[0].volumeMounts[0].mountPath", 'must not contain ".."'),
        ([EMPTY], [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a/"}], "spec.containers[0].volumeMounts[1].mountPath", "must be once"),
    ],
)  # fmt: skip
def test_volumes_and_mounts(volumes: list[Any], mounts: list[Any], field: str, words: str) -> None:
    assert words in refusals(pod({"volumeMounts": mounts}, volumes=volumes))[field]


def test_a_good_volume_passes() -> None:
    assert (
        refusals(pod({"volumeMounts": [{"name": "v", "mountPath": "/a/b", "readOnly": True}]}, volumes=[EMPTY])) == {}
    )


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"data": {"a b": "x"}}, "data", 'the key "a b" must be'),
        ({"data": {"..": "x"}}, "data", 'must not be "."'),
        ({"binaryData": {"..a": ""}}, "binaryData", 'must not be "."'),
        ({"data": {"k": "x"}, "binaryData": {"k": "eA=="}}, "binaryData[k]", "must not be in data, too"),
        ({"data": {"k": "é" * (512 * 1024 + 1)}}, "data", "must be at most 1048576 bytes in all, not 1048578"),
    ],
)
def test_config_map(body: dict[str, Any], field: str, words: str) -> None:
    assert words in refusals(_object("ConfigMap", **body))[field]


def test_an_immutable_config_map_stays() -> None:
    old = _object("ConfigMap", data={"k": "v"}, immutable=True)
    assert refusals(_object("ConfigMap", data={"k": "w"}, immutable=True), old).keys() == {"data"}
    assert refusals(_object("ConfigMap", data={"k": "v"}), old).keys() == {"immutable"}
    assert refusals(_object("ConfigMap", data={"k": "v"}, immutable=True), old) == {}
    assert refusals(_object("ConfigMap", data={"k": "w"}, immutable=True), _object("ConfigMap", data={"k": "v"})) == {}


def _volume(**source: Any) -> Any:
    return pod(volumes=[{"name": "v", **source}])


def _downward(**item: Any) -> Any:
    return _volume(downwardAPI={"items": [{"path": "p", **item}]})


def _env(**value_from: Any) -> Any:
    return pod({"env": [{"name": "V", "valueFrom": value_from}]})


ITEM = "spec.volumes[0].downwardAPI.items[0]"
VALUE = "spec.containers[0].env[0].valueFrom"


@pytest.mark.parametrize(
    ("obj", "field", "words"),
    [
        (_volume(emptyDir={}, hostPath={"path": "/a"}), "spec.volumes[0].hostPath", "must not be set beside emptyDir"),
        (_volume(emptyDir={"medium": "HugePages"}), "spec.volumes[0].emptyDir.medium", "must be one of Memory"),
        (_volume(emptyDir={"sizeLimit": "-1"}), "spec.volumes[0].emptyDir.sizeLimit", "must be at least 0"),
        (_volume(hostPath={}), "spec.volumes[0].hostPath.path", "is required"),
        (_volume(hostPath={"path": "a"}), "spec.volumes[0].hostPath.path", "must be an absolute path"),
        (_volume(hostPath={"path": "/a/../b"}), "spec.volumes[0].hostPath.path", 'must not contain ".."'),
        (_volume(hostPath={"path": "/a", "type": "Dir"}), "spec.volumes[0].hostPath.type", "must be one of"),
        (_volume(configMap={}), "spec.volumes[0].configMap.name", "is required"),
        (_volume(secret={"secretName": "S"}), "spec.volumes[0].secret.secretName", "must be lower-case"),
        (_volume(secret={"secretName": "s", "defaultMode": 512}), "spec.volumes[0].secret.defaultMode", "must be between 0 and 511"),
        (_volume(configMap={"name": "c", "items": [{"key": "k"}]}), "spec.volumes[0].configMap.items[0].path", "is required"),
        (_volume(configMap={"name": "c", "items": [{"key": "k", "path": "/a"}]}), "spec.volumes[0].configMap.items[0].path", "must be a relative path"),
        (_volume(configMap={"name": "c", "items": [{"key": "k", "path": "a/../b"}]}), "spec.volumes[0].configMap.items[0].path", 'must not contain ".."'),
        (_volume(configMap={"name": "c", "items": [{"key": "k", "path": "..x"}]}), "spec.volumes[0].configMap.items[0].path", 'must not start with ".."'),
        (_downward(), ITEM, "must have one source: fieldRef, resourceFieldRef"),
        (_downward(fieldRef={"fieldPath": "status.podIP"}), f"{ITEM}.fieldRef.fieldPath", "must be one of metadata.name"),
        (_downward(fieldRef={"fieldPath": "metadata.labels['a b']"}), f"{ITEM}.fieldRef.fieldPath", 'the key "a b" must be'),
        (_downward(resourceFieldRef={"resource": "limits.cpu"}), f"{ITEM}.resourceFieldRef.containerName", "is required in a volume"),
        (_downward(resourceFieldRef={"containerName": "x", "resource": "limits.cpu"}), f"{ITEM}.resourceFieldRef.containerName", "must name a container of the pod"),
        (_volume(projected={"sources": [{}]}), "spec.volumes[0].projected.sources[0]", "must have one source: configMap, secret, downwardAPI"),
        (
            _volume(projected={"sources": [{kind: {"name": "n", "items": [{"key": "k", "path": "p"}]}} for kind in ("configMap", "secret")]}),
            "spec.volumes[0].projected.sources[1].secret.items[0].path",
            "must be once in a volume",
        ),
        (_env(), VALUE, "must have one source"),
        (_env(fieldRef={"fieldPath": "metadata.labels"}), f"{VALUE}.fieldRef.fieldPath", "must be one of metadata.name"),
        (_env(fieldRef={"fieldPath": "metadata.name", "apiVersion": "v2"}), f"{VALUE}.fieldRef.apiVersion", "must be one of v1"),
        (_env(resourceFieldRef={"resource": "limits.gpu"}), f"{VALUE}.resourceFieldRef.resource", "must be one of limits.cpu"),
        (_env(resourceFieldRef={"resource": "limits.cpu", "containerName": "x"}), f"{VALUE}.resourceFieldRef.containerName", "must name a container"),
        (_env(secretKeyRef={"name": "s"}), f"{VALUE}.secretKeyRef.key", "is required"),
        (_env(secretKeyRef={"name": "s", "key": "k"}, configMapKeyRef={"name": "s", "key": "k"}), f"{VALUE}.secretKeyRef", "must not be set beside"),
        (pod({"env": [{"name": "V", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}), VALUE, "must not be set beside value"),
        (pod({"envFrom": [{}]}), "spec.containers[0].envFrom[0]", "must have one source: configMapRef, secretRef"),
        (pod({"envFrom": [{"prefix": "1", "configMapRef": {"name": "c"}}]}), "spec.containers[0].envFrom[0].prefix", "must not start with a digit"),
        (
            pod({"volumeMounts": [{"name": "v", "mountPath": "/a", "subPath": "a/../b"}]}, volumes=[EMPTY]),
            "spec.containers[0].volumeMounts[0].subPath",
            'must not contain ".."',
        ),
        (
            pod({"volumeMounts": [{"name": "v", "mountPath": "/a", "subPath": "a", "subPathExpr": "b"}]}, volumes=[EMPTY]),
            "spec.containers[0].volumeMounts[0].subPathExpr",
            "must not be set beside subPath",
        ),
        (pod(securityContext={"fsGroup": -1}), "spec.securityContext.fsGroup", "must be at least 0"),
    ],
)  # fmt: skip
def test_sources_of_volumes_and_variables(obj: Any, field: str, words: str) -> None:
    found = refusals(obj)
    assert list(found) == [field]
    assert words in found[field]
