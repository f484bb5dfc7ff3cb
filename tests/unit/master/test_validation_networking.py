"""What is refused of Services, EndpointSlices and NetworkPolicies, by path; and that nothing else is."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

import copy
from typing import Any

import pytest

from master.admission import apply_defaults, validate
from podium.codec.json import object_from_dict
from podium.errors import Invalid


def _object(kind: str, api_version: str, **body: Any) -> Any:
    obj = object_from_dict({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **body})
    apply_defaults(obj)
    return obj


def refusals(obj: Any, old: Any = None) -> dict[str, str]:
    return {violation.field: violation.description for violation in validate(obj, old)}


def service(*ports: dict[str, Any], **spec: Any) -> Any:
    return _object("Service", "v1", spec={"ports": list(ports) or [{"port": 80}], **spec})


def endpoint_slice(*addresses: str, **body: Any) -> Any:
    endpoints = [{"addresses": [address]} for address in addresses]
    return _object("EndpointSlice", "discovery.k8s.io/v1", **{"addressType": "IPv4", "endpoints": endpoints, **body})


def policy(**spec: Any) -> Any:
    return _object("NetworkPolicy", "networking.k8s.io/v1", spec=spec)


def peer(**said: Any) -> Any:
    return policy(ingress=[{"from": [said]}])


def let_in(**port: Any) -> Any:
    return policy(ingress=[{"ports": [port]}])


HTTP, HTTPS = {"name": "http", "port": 80}, {"name": "https", "port": 443}


@pytest.mark.parametrize(
    "obj",
    [
        service(), service(HTTP, HTTPS, type="NodePort"), service({"port": 53, "protocol": "UDP", "targetPort": "dns"}),
        service(HTTP, {"name": "udp", "port": 80, "protocol": "UDP"}), service(clusterIP="None"),
        service(HTTP, {"name": "also", "port": 81, "targetPort": 80}), service(externalIPs=["192.0.2.1"], externalTrafficPolicy="Local"),
        _object("Service", "v1", spec={"clusterIP": "None"}), _object("Service", "v1", spec={"type": "ExternalName", "externalName": "db.example.com"}),
        endpoint_slice("10.64.0.9"), policy(), policy(ingress=[{}], egress=[{}]), let_in(port=80, endPort=90), let_in(port="web"),
        peer(ipBlock={"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}), peer(podSelector={}, namespaceSelector={}),
    ],
)  # fmt: skip
def test_good_objects_pass_again_after_defaulting(obj: Any) -> None:
    assert refusals(obj) == {}
    again = copy.deepcopy(obj)
    apply_defaults(again)
    assert again == obj
    assert refusals(again, obj) == {}


@pytest.mark.parametrize(
    ("obj", "field", "words"),
    [
        (_object("Service", "v1", spec={}), "spec.ports", "is required"),
        (service({"port": 0}), "spec.ports[0].port", "is required"),
        (service({"port": 70000}), "spec.ports[0].port", "between 1 and 65535"),
        (service({"port": 80, "targetPort": 0}), "spec.ports[0].targetPort", "between 1 and 65535"),
        (service({"port": 80, "targetPort": "Not a name"}), "spec.ports[0].targetPort", '"Not a name"'),
        (service({"port": 80, "protocol": "SCTP"}), "spec.ports[0].protocol", "TCP"),
        (service({"port": 80, "name": "Web"}), "spec.ports[0].name", "lower-case"),
        (service(HTTP, {"port": 443}), "spec.ports[1].name", "is required when there are several"),
        (service(HTTP, {"name": "http", "port": 81}), "spec.ports[1].name", "names another port"),
        (service(HTTP, {"name": "same", "port": 80}), "spec.ports[1]", "must be once: 80/TCP"),
        (service({"port": 80, "nodePort": 30080}), "spec.ports[0].nodePort", "only be set with type NodePort"),
        (service({**HTTP, "nodePort": 30080}, {**HTTPS, "nodePort": 30080}, type="NodePort"), "spec.ports[1].nodePort", "must be once"),
        (service(type="Ingress"), "spec.type", "ClusterIP"),
        (service(clusterIP="web"), "spec.clusterIP", '"web"'),
        (service(clusterIP="10.63.0.9", clusterIPs=["10.63.0.8"]), "spec.clusterIPs", "must be [clusterIP]"),
        (service(clusterIP="None", type="NodePort"), "spec.clusterIP", "must not be None"),
        (service(externalName="example.com"), "spec.externalName", "only be set with type"),
        (service(externalTrafficPolicy="Local"), "spec.externalTrafficPolicy", "only be set with type"),
        (service(externalIPs=["example.com"]), "spec.externalIPs[0]", '"example.com"'),
        (service(type="ExternalName", externalName=""), "spec.externalName", '""'),
        (service(type="ExternalName", externalName="a", clusterIP="10.63.0.9"), "spec.clusterIP", "must not be set"),
        (service(sessionAffinity="Cookie"), "spec.sessionAffinity", "ClientIP"),
        (service(selector={"a b": "c"}), "spec.selector", "a b"),
    ],
)  # fmt: skip
def test_bad_services(obj: Any, field: str, words: str) -> None:
    found = {path: text for path, text in refusals(obj).items() if path.startswith(field)}
    assert len(found) == 1, refusals(obj)
    assert words in next(iter(found.values())) + next(iter(found))


def test_a_services_address_stays_unless_it_becomes_a_mere_name() -> None:
    old, new = service(clusterIP="10.63.0.9"), service(clusterIP="10.63.0.10")
    assert "is immutable" in refusals(new, old)["spec.clusterIP"]
    assert "is immutable" in refusals(service(clusterIP="None"), old)["spec.clusterIP"]
    name = _object("Service", "v1", spec={"type": "ExternalName", "externalName": "db.example.com"})
    assert refusals(name, old) == {}
    assert refusals(new, name) == {}


@pytest.mark.parametrize(
    ("obj", "field", "words"),
    [
        (endpoint_slice("10.64.0.9", addressType="IPv6"), "addressType", "IPv4"),
        (endpoint_slice("web"), "endpoints[0].addresses[0]", '"web"'),
        (endpoint_slice("10.64.0.9", "127.0.0.1"), "endpoints[1].addresses[0]", "other hosts can reach"),
        (endpoint_slice("169.254.1.1"), "endpoints[0].addresses[0]", "other hosts can reach"),
        (endpoint_slice("224.0.0.1"), "endpoints[0].addresses[0]", "other hosts can reach"),
        (endpoint_slice(endpoints=[{}]), "endpoints[0].addresses", "is required"),
        (endpoint_slice(endpoints=[{"addresses": ["10.64.0.9"], "hostname": "A.b"}]), "endpoints[0].hostname", "A.b"),
        (endpoint_slice(ports=[{"port": 0}]), "ports[0].port", "between 1 and 65535"),
        (endpoint_slice(*["10.64.0.9"] * 1001), "endpoints", "at most 1000"),
    ],
)  # fmt: skip
def test_bad_slices(obj: Any, field: str, words: str) -> None:
    assert words in refusals(obj)[field]


def test_who_balances_outside_is_told_of_local_endpoints_only() -> None:
    local = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}
    assert not refusals(service(**local, healthCheckNodePort=30001))
    said = refusals(service(type="LoadBalancer", healthCheckNodePort=30001))
    assert "externalTrafficPolicy Local" in said["spec.healthCheckNodePort"]
    changed = refusals(service(**local, healthCheckNodePort=30002), service(**local, healthCheckNodePort=30001))
    assert "is immutable: must be 30001" in changed["spec.healthCheckNodePort"]
    twice = refusals(service({"port": 80, "nodePort": 30001}, **local, healthCheckNodePort=30001))
    assert "must be once" in twice["spec.ports[0].nodePort"]


def pool(*addresses: str) -> Any:
    return _object("AddressPool", "podium.dev/v1", spec={"addresses": list(addresses)})


def test_good_pools() -> None:
    assert not refusals(pool("192.0.2.7", "192.0.2.16-192.0.2.31", "198.51.100.0/28"))


@pytest.mark.parametrize(
    ("obj", "field", "words"),
    [
        (pool(), "spec.addresses", "is required"),
        (pool("192.0.2.7", "web"), "spec.addresses[1]", "must be like"),
        (pool("192.0.2.9-192.0.2.7"), "spec.addresses[0]", "its lower address"),
        (pool("192.0.2.7/28"), "spec.addresses[0]", "must be like"),
        (pool("127.0.0.0/28"), "spec.addresses[0]", "other hosts can reach"),
        (pool("10.0.0.0/15"), "spec.addresses", "at most 65536 addresses, not 131072"),
    ],
)
def test_bad_pools(obj: Any, field: str, words: str) -> None:
    assert words in refusals(obj)[field]


def test_only_balanced_services_have_a_class_or_ask_for_an_address() -> None:
    said = refusals(service(loadBalancerClass="podium.dev/nodes", loadBalancerIP="192.0.2.7"))
    assert said.keys() == {"spec.loadBalancerClass", "spec.loadBalancerIP"}
    nodes = service(type="LoadBalancer", loadBalancerClass="podium.dev/nodes")
    assert not refusals(nodes)
    assert "is immutable while the type" in refusals(service(type="LoadBalancer"), nodes)["spec.loadBalancerClass"]
    assert not refusals(service(), nodes)


def test_what_is_spoken_is_a_name() -> None:
    assert not refusals(service({"port": 80, "appProtocol": "kubernetes.io/h2c"}))
    assert "spec.ports[0].appProtocol" in refusals(service({"port": 80, "appProtocol": "a b"}))


@pytest.mark.parametrize("seconds", [0, 86401])
def test_clients_are_remembered_for_a_second_to_a_day(seconds: int) -> None:
    config = {"clientIP": {"timeoutSeconds": seconds}}
    found = refusals(service(sessionAffinity="ClientIP", sessionAffinityConfig=config))
    assert "between 1 and 86400" in found["spec.sessionAffinityConfig.clientIP.timeoutSeconds"]


def test_who_remembers_nobody_has_no_time_for_it() -> None:
    obj = service(sessionAffinity="None", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 5}})
    apply_defaults(obj)
    assert not obj.spec.HasField("session_affinity_config")


def test_a_slices_type_of_address_stays() -> None:
    old = endpoint_slice("10.64.0.9")
    old.address_type = "FQDN"
    assert "is immutable" in refusals(endpoint_slice("10.64.0.9"), old)["addressType"]


@pytest.mark.parametrize(
    ("obj", "field", "words"),
    [
        (policy(policyTypes=["Both"]), "spec.policyTypes[0]", "Ingress, Egress"),
        (policy(policyTypes=["Ingress"], egress=[{}]), "spec.egress", "policyTypes has Egress"),
        (policy(policyTypes=["Egress"], ingress=[{}]), "spec.ingress", "policyTypes has Ingress"),
        (policy(egress=[{"ports": [{"port": "web"}]}]), "spec.egress[0].ports[0].port", "must be a number"),
        (peer(), "spec.ingress[0].from[0]", "must have either"),
        (peer(podSelector={}, ipBlock={"cidr": "10.0.0.0/8"}), "spec.ingress[0].from[0]", "must have either"),
        (peer(ipBlock={"cidr": "10.0.0.1/8"}), "spec.ingress[0].from[0].ipBlock.cidr", "must be an IPv4 range"),
        (peer(ipBlock={}), "spec.ingress[0].from[0].ipBlock.cidr", "is required"),
        (peer(ipBlock={"cidr": "10.0.0.0/8", "except": ["192.0.2.0/24"]}), "spec.ingress[0].from[0].ipBlock.except[0]", "within 10.0.0.0/8"),
        (peer(ipBlock={"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}), "spec.ingress[0].from[0].ipBlock.except[0]", "within 10.0.0.0/8"),
        (peer(podSelector={"matchExpressions": [{"key": "a", "operator": "Like"}]}), "spec.ingress[0].from[0].podSelector.matchExpressions[0].operator", "Like"),
        (let_in(port=0), "spec.ingress[0].ports[0].port", "between 1 and 65535"),
        (let_in(port="web", endPort=90), "spec.ingress[0].ports[0].endPort", "port that is a number"),
        (let_in(endPort=90), "spec.ingress[0].ports[0].endPort", "port that is a number"),
        (let_in(port=100, endPort=90), "spec.ingress[0].ports[0].endPort", "between port and 65535"),
        (let_in(port=80, protocol="ICMP"), "spec.ingress[0].ports[0].protocol", "TCP"),
    ],
)  # fmt: skip
def test_bad_policies(obj: Any, field: str, words: str) -> None:
    assert words in refusals(obj)[field]


@pytest.mark.parametrize("field", ["loadBalancerSourceRanges", "ipFamilies"])
def test_fields_that_are_not_supported_are_refused_by_name(field: str) -> None:
    with pytest.raises(Invalid, match=f"spec.{field}: is a Kubernetes field that is not supported"):
        service(**{field: "x"})
