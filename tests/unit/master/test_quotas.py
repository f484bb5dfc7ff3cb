"""ResourceQuotas: which are refused, and what objects use of them."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

import copy
from typing import Any

import pytest

from master.admission import apply_defaults, validate
from podium.objects.quotas import SCOPES, Terms
from tests.support.policies import bounded_pod, claim, named, quota

NOW = 1_000.0


def refusals(obj: Any, old: Any = None) -> dict[str, str]:
    return {violation.field: str(violation) for violation in validate(obj, old)}


@pytest.mark.parametrize(
    ("made", "field", "words"),
    [
        (quota({"cpus": 1}), "spec.hard[cpus]", 'did you mean "cpu"?'),
        (quota({"count/widgets.example.com": 1}), "spec.hard[count/widgets.example.com]", "is nothing that a quota can bound"),
        (quota({"count/events": 1}), "spec.hard[count/events]", "is nothing that a quota can bound"),
        (quota({"limits.example.com/gpu": 1}), "spec.hard[limits.example.com/gpu]", "is nothing that a quota can bound"),
        (quota({"pods": -1}), "spec.hard[pods]", "must be at least 0, not -1"),
        (quota({"pods": "500m"}), "spec.hard[pods]", "must be a whole number, not 500m"),
        (quota({"requests.example.com/gpu": "0.5"}), "spec.hard[requests.example.com/gpu]", "must be a whole number"),
        (quota({"pods": 1}, scopes=["Ending"]), "spec.scopes[0]", 'not "Ending"'),
        (quota({"pods": 1}, scopes=["BestEffort", "BestEffort"]), "spec.scopes[1]", "must be once"),
        (quota({"pods": 1}, scopes=["Terminating", "NotTerminating"]), "spec.scopes", "must not hold both Terminating and NotTerminating"),
        (quota({"pods": 1, "cpu": 1}, scopes=["BestEffort"]), "spec.scopes[0]", "is a scope of pods only, not of cpu"),
        (quota({"secrets": 1}, scopes=["Terminating"]), "spec.scopes[0]", "not of secrets"),
        (quota({"pods": 1}, scopeSelector={"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}),
         "spec.scopeSelector.matchExpressions[0].values", "is required with the operator In"),
        (quota({"pods": 1}, scopeSelector={"matchExpressions": [{"scopeName": "BestEffort", "operator": "DoesNotExist"}]}),
         "spec.scopeSelector.matchExpressions[0].operator", 'must be "Exists" for the scope BestEffort'),
        (quota({"pods": 1}, scopeSelector={"matchExpressions": [{"operator": "Exists"}]}),
         "spec.scopeSelector.matchExpressions[0].scopeName", "is required"),
    ],
)  # fmt: skip
def test_quotas_that_are_refused(made: Any, field: str, words: str) -> None:
    apply_defaults(made)
    assert words in refusals(made)[field]


@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_can_be_listed_and_selected(scope: str) -> None:
    selector = {"matchExpressions": [{"scopeName": scope, "operator": "Exists"}]}
    for made in (quota({"pods": 1}, scopes=[scope]), quota({"pods": 1}, scopeSelector=selector)):
        apply_defaults(made)
        assert refusals(made) == {}


def test_bounds_may_change_and_scopes_may_not() -> None:
    old = quota({"pods": 1}, scopes=["BestEffort"])
    new = copy.deepcopy(old)
    new.spec.hard["pods"] = "2"
    assert refusals(new, old) == {}
    new.spec.scopes[0] = "NotBestEffort"
    assert list(refusals(new, old)) == ["spec.scopes"]


# ---------------------------------------------------------------- what is used


def used(obj: Any, hard: dict[str, Any], now: float = NOW, **spec: Any) -> dict[str, str]:
    """What an object uses of a quota, where it is not nothing."""
    apply_defaults(obj)
    terms = Terms.of(quota(hard, **spec))
    return {name: text for name, text in terms.quantities(terms.usage(obj, now)).items() if text != "0"}


ALL = dict.fromkeys(
    ("pods", "count/pods", "cpu", "requests.cpu", "memory", "requests.memory", "limits.cpu", "limits.memory",
     "requests.example.com/gpu", "secrets", "count/secrets", "count/deployments.apps", "persistentvolumeclaims",
     "requests.storage", "fast.storageclass.storage.k8s.io/requests.storage",
     "fast.storageclass.storage.k8s.io/persistentvolumeclaims"), 100
)  # fmt: skip


def test_a_pod_uses_what_its_containers_ask_for_together() -> None:
    pod = bounded_pod(
        requests={"cpu": "250m", "memory": "64Mi", "example.com/gpu": 1},
        limits={"cpu": "1", "memory": "128Mi", "example.com/gpu": 1},
        spec={"initContainers": [{"name": "i", "image": "i:1", "resources": {"requests": {"cpu": "300m"}}}]},
    )
    assert used(pod, ALL) == {
        "pods": "1", "count/pods": "1", "cpu": "300m", "requests.cpu": "300m", "limits.cpu": "1",
        "memory": "64Mi", "requests.memory": "64Mi", "limits.memory": "128Mi", "requests.example.com/gpu": "1",
    }  # fmt: skip


def test_a_pod_that_is_over_is_only_an_object() -> None:
    pod = bounded_pod(requests={"cpu": "1"})
    pod.status.phase = "Succeeded"
    assert used(pod, ALL) == {"count/pods": "1"}


def test_a_pod_on_its_way_out_counts_until_twice_its_grace_has_passed() -> None:
    pod = bounded_pod()
    pod.metadata.deletion_timestamp.seconds, pod.metadata.deletion_grace_period_seconds = 1_000, 30
    assert used(pod, {"pods": 1}, now=1_030) == {"pods": "1"}
    assert used(pod, {"pods": 1}, now=1_031) == {}


def test_other_objects_are_counted_by_kind() -> None:
    assert used(named("Secret", "s"), ALL) == {"secrets": "1", "count/secrets": "1"}
    assert used(named("LimitRange", "l", spec={"limits": []}), ALL) == {}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    deployment = named(
        "Deployment", "d", "apps/v1", spec={"selector": {"matchLabels": {"a": "b"}}, "template": template}
    )
    assert used(deployment, ALL) == {"count/deployments.apps": "1"}


def test_a_claim_uses_storage_of_its_class() -> None:
    assert used(claim("5Gi"), ALL) == {"persistentvolumeclaims": "1", "requests.storage": "5Gi"}
    assert used(claim("5Gi", storage_class="fast"), ALL) == {
        "persistentvolumeclaims": "1",
        "requests.storage": "5Gi",
        "fast.storageclass.storage.k8s.io/requests.storage": "5Gi",
        "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
    }
    assert "persistentvolumeclaims" in used(claim(storage_class="slow"), ALL)


BALANCED = {"services": 9, "count/services": 9, "services.nodeports": 9, "services.loadbalancers": 9}


@pytest.mark.parametrize(
    ("type_", "node_ports", "balancers"),
    [("ClusterIP", None, None), ("NodePort", "2", None), ("LoadBalancer", "2", "1"), ("ExternalName", None, None)],
)
def test_a_service_uses_ports_of_the_nodes(type_: str, node_ports: str | None, balancers: str | None) -> None:
    ports = [] if type_ == "ExternalName" else [{"name": "a", "port": 80}, {"name": "b", "port": 443}]
    service = named("Service", "s", spec={"type": type_, "ports": ports})
    expected = {"services": "1", "count/services": "1", "services.nodeports": node_ports,
                "services.loadbalancers": balancers}  # fmt: skip
    assert used(service, BALANCED) == {name: text for name, text in expected.items() if text is not None}


def _affine(kind: str, how: str, **term: Any) -> Any:
    made: dict[str, Any] = {"topologyKey": "zone", "labelSelector": {}} | term
    terms = [made] if how.startswith("required") else [{"weight": 1, "podAffinityTerm": made}]
    return bounded_pod(spec={"affinity": {kind: {f"{how}DuringSchedulingIgnoredDuringExecution": terms}}})


@pytest.mark.parametrize("kind", ["podAffinity", "podAntiAffinity"])
@pytest.mark.parametrize("how", ["required", "preferred"])
@pytest.mark.parametrize(
    ("term", "counted"), [({}, False), ({"namespaces": ["other"]}, True), ({"namespaceSelector": {}}, True)]
)
def test_affinity_to_pods_of_other_namespaces_is_a_scope(
    kind: str, how: str, term: dict[str, Any], counted: bool
) -> None:
    scopes = ["CrossNamespacePodAffinity"]
    assert bool(used(_affine(kind, how, **term), {"pods": 1}, scopes=scopes)) is counted


def _priority(operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("spec", "plain", "ending", "asking", "high"),
    [
        ({"scopes": ["Terminating"]}, False, True, False, False),
        ({"scopes": ["NotTerminating"]}, True, False, True, True),
        ({"scopes": ["BestEffort"]}, True, True, False, True),
        ({"scopes": ["NotBestEffort"]}, False, False, True, False),
        ({"scopes": ["NotTerminating", "BestEffort"]}, True, False, False, True),
        ({"scopes": ["PriorityClass"]}, False, False, False, True),
        ({"scopeSelector": _priority("In", "high")}, False, False, False, True),
        ({"scopeSelector": _priority("In", "low")}, False, False, False, False),
        ({"scopeSelector": _priority("NotIn", "high")}, True, True, True, False),
        ({"scopeSelector": _priority("DoesNotExist")}, True, True, True, False),
        ({"scopes": ["BestEffort"], "scopeSelector": _priority("Exists")}, False, False, False, True),
    ],
)
def test_scopes_choose_pods(spec: dict[str, Any], plain: bool, ending: bool, asking: bool, high: bool) -> None:
    pods = (
        (bounded_pod(), plain),
        (bounded_pod(spec={"activeDeadlineSeconds": 5}), ending),
        (bounded_pod(requests={"cpu": "1"}), asking),
        (bounded_pod(spec={"priorityClassName": "high"}), high),
    )
    for pod, counted in pods:
        assert bool(used(pod, {"pods": 1}, **spec)) is counted
    assert not used(named("Secret", "s"), {"secrets": 1}, **spec)


def test_what_a_quota_must_know_and_is_not_said() -> None:
    terms = Terms.of(
        quota({"requests.cpu": 1, "memory": 1, "limits.memory": 1, "pods": 1, "requests.example.com/gpu": 1})
    )
    assert terms.unsaid(bounded_pod()) == "limits.memory for: c; memory for: c; requests.cpu for: c"
    pod = bounded_pod(requests={"cpu": 1, "memory": 1}, spec={"initContainers": [{"name": "i", "image": "i:1"}]})
    assert terms.unsaid(pod) == "limits.memory for: i,c; memory for: i; requests.cpu for: i"
    scoped = Terms.of(quota({"cpu": 1}, scopes=["Terminating"]))
    assert scoped.unsaid(bounded_pod()) == ""
