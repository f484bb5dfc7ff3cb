"""Whom a service leads pods of a node to."""

from __future__ import annotations

import pytest

from podium.objects.service import led_to
from podium.v1.networking_pb2 import Endpoint, ServiceSpec

READY, ENDING, GONE = (True, True), (False, True), (False, False)


def _endpoint(name: str, node: str, state: tuple[bool, bool]) -> Endpoint:
    made = Endpoint(addresses=["10.64.1.2"], node_name=node)
    made.target_ref.name = name
    made.conditions.ready, made.conditions.serving = state
    return made


MIXED = [
    _endpoint("a", "n1", ENDING),
    _endpoint("b", "n2", READY),
    _endpoint("c", "n3", READY),
    _endpoint("d", "n3", GONE),
]


@pytest.mark.parametrize(
    ("spec", "node", "endpoints", "names"),
    [
        ({}, "n1", MIXED, "b c"),
        ({}, "n1", MIXED[:1] + MIXED[3:], "a"),
        ({"internal_traffic_policy": "Local"}, "n1", MIXED, "a"),
        ({"internal_traffic_policy": "Local"}, "n3", MIXED, "c"),
        ({"internal_traffic_policy": "Local"}, "n4", MIXED, ""),
        ({"trafficDistribution": "PreferSameNode"}, "n3", MIXED, "c"),
        ({"trafficDistribution": "PreferSameNode"}, "n1", MIXED, "b c"),
        ({"cluster_ip": "None", "internal_traffic_policy": "Local"}, "n1", MIXED, "b c"),
        ({"cluster_ip": "None"}, "n1", MIXED[:1], ""),
    ],
)
def test_whom_a_service_leads_to(spec: dict[str, str], node: str, endpoints: list[Endpoint], names: str) -> None:
    made = ServiceSpec(
        cluster_ip=spec.get("cluster_ip", "10.63.0.9"), internal_traffic_policy=spec.get("internal_traffic_policy", ""),
        traffic_distribution=spec.get("trafficDistribution", ""),
    )  # fmt: skip
    assert " ".join(endpoint.target_ref.name for endpoint in led_to(made, endpoints, node)) == names


def test_an_endpoint_that_says_nothing_is_ready() -> None:
    bare = Endpoint(addresses=["192.0.2.7"])
    assert led_to(ServiceSpec(cluster_ip="10.63.0.9"), [bare], "n1") == [bare]
