"""How services, slices and policies are described."""

from __future__ import annotations

from typing import Any

from podium.aio.clock import SystemClock
from podium.cli.describe.objects import describe
from podium.cli.describe.page import Page
from podium.codec.json import object_from_dict


def _said(kind: str, api_version: str, **body: Any) -> str:
    page = Page()
    made = object_from_dict({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **body})
    describe(page, made, SystemClock().now())
    return "\n".join(" ".join(line.split()) for line in str(page).split("\n"))


def test_a_service_says_where_it_is_reached_and_who_answers() -> None:
    ports = [
        {"name": "http", "port": 80, "targetPort": "web", "nodePort": 30080, "appProtocol": "http"},
        {"port": 53, "protocol": "UDP"},
    ]
    spec = {"type": "LoadBalancer", "selector": {"app": "web"}, "clusterIP": "10.63.0.9", "ports": ports}
    said = _said("Service", "v1", spec=spec, status={"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}})
    for line in ("Selector: app=web", "Address: 10.63.0.9", "Load Balancer: 192.0.2.1", "http 80/TCP web 30080 http",
                 "<unnamed> 53/UDP 53 - -"):  # fmt: skip
        assert line in said
    assert "Load Balancer: <pending>" in _said("Service", "v1", spec=spec)


def test_a_headless_service_and_a_mere_name() -> None:
    headless = _said("Service", "v1", spec={"type": "ClusterIP", "clusterIP": "None"})
    assert "Headless: its name leads to its pods" in headless
    assert "Selector: <none>" in headless
    name = _said("Service", "v1", spec={"type": "ExternalName", "externalName": "example.com"})
    assert "External Name: example.com" in name
    assert "Address" not in name


def test_a_slice_says_who_is_asked() -> None:
    conditions: dict[str, dict[str, bool]] = {
        "10.64.1.1": {}, "10.64.1.2": {"ready": False},
        "10.64.1.3": {"ready": False, "serving": True, "terminating": True},
    }  # fmt: skip
    endpoints = [
        {"addresses": [a], "conditions": c, "nodeName": "n1", "targetRef": {"kind": "Pod", "name": f"p{a[-1]}"}}
        for a, c in conditions.items()
    ]
    ports = [{"name": "http", "port": 8080, "appProtocol": "kubernetes.io/h2c"}]
    said = _said("EndpointSlice", "discovery.k8s.io/v1", addressType="IPv4", endpoints=endpoints, ports=ports)
    for line in ("Ports: http 8080/TCP, speaks kubernetes.io/h2c", "10.64.1.1 ready n1 p1", "10.64.1.2 not ready n1 p2",
                 "10.64.1.3 ending, answers n1 p3"):  # fmt: skip
        assert line in said


def test_a_slice_says_how_a_canary_shares() -> None:
    endpoints = [
        {"addresses": [f"10.64.1.{n}"], "split": {"deployment": "web", "canary": n == 2, "weight": 10}} for n in (1, 2)
    ]
    said = _said("EndpointSlice", "discovery.k8s.io/v1", addressType="IPv4", endpoints=endpoints)
    assert "10.64.1.1 ready, of the 90% for what is stable of web" in said
    assert "10.64.1.2 ready, of the 10% for the canary of web" in said


def test_a_policy_is_told_in_words() -> None:
    peers = [
        {"podSelector": {"matchLabels": {"app": "web"}}},
        {"namespaceSelector": {"matchLabels": {"team": "ops"}}},
        {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.9/32"]}},
    ]
    ports = [{"protocol": "TCP", "port": 5432}, {"protocol": "UDP", "port": 100, "endPort": 200}]
    spec = {
        "podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": peers, "ports": ports}],
    }  # fmt: skip
    said = _said("NetworkPolicy", "networking.k8s.io/v1", spec=spec)
    assert "Pods: pods (app=db)" in said
    assert (
        "Ingress: from pods (app=web) or pods (all) of namespaces (team=ops) or 192.0.2.0/24 but 192.0.2.9/32, "
        "5432/TCP, 100-200/UDP"
    ) in said
    assert "Egress: nothing is let out" in said
    everything = _said("NetworkPolicy", "networking.k8s.io/v1", spec={"policyTypes": ["Ingress"], "ingress": [{}]})
    assert "Pods: pods (all)" in everything
    assert "Ingress: from everywhere, all ports" in everything
