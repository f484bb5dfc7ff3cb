"""What is remembered of clients, as nft lists it, and which of it is given up."""

from __future__ import annotations

import pytest

from nodelet.network.affinity import Remembered, parse, plan_unlearn
from nodelet.network.flows import Socket, Target
from nodelet.network.services import sticky_leads
from podium.v1.networking_pb2 import Endpoint, EndpointPort, EndpointSlice, ServicePort, ServiceSpec
from podium.v1.node_session_pb2 import ServiceRoute

WEB = Socket("10.63.0.9", "tcp", 80)
A, B = ("10.64.1.2", 8080), ("10.64.2.2", 8080)

LISTED = """{"nftables": [{"metainfo": {"json_schema_version": 1}}, {"map": {"family": "ip", "name": "tcp_sticky",
"table": "podium", "flags": ["timeout"], "elem": [[{"elem": {"val": {"concat": ["192.0.2.7", "10.63.0.9", 80]},
"timeout": 100, "expires": 49}}, {"concat": ["10.64.1.2", 8080]}]]}}]}"""
"""As nft 1.0.6 does."""


def _known(target: Target, asked: Socket = WEB) -> Remembered:
    return Remembered("192.0.2.7", asked, target, 100, 49)


def test_what_nft_lists_is_read() -> None:
    assert list(parse("tcp", LISTED)) == [_known(A)]
    assert _known(A).key == "192.0.2.7 . 10.63.0.9 . 80"
    assert not list(parse("tcp", '{"nftables": [{"map": {"name": "tcp_sticky"}}]}'))


@pytest.mark.parametrize(
    ("known", "gone"),
    [
        (_known(A), False),
        (_known(B), True),
        (_known(B, Socket("10.63.0.8", "tcp", 80)), False),  # not in doubt
        (_known(B, Socket("192.0.2.1", "tcp", 30080)), True),  # a port of the node
        (_known(B, Socket("10.63.0.7", "tcp", 30080)), False),  # another service's own port
    ],
)
def test_a_client_of_who_takes_no_connections_is_forgotten(known: Remembered, gone: bool) -> None:
    doubted = {WEB: frozenset({A}), Socket("", "tcp", 30080): frozenset({A})}
    assert plan_unlearn([known], doubted, {"192.0.2.1"}) == ([known] if gone else [])


def test_clients_may_be_led_to_who_takes_connections_under_the_policy_of_their_place() -> None:
    made = EndpointSlice(ports=[EndpointPort(port=8080, protocol="TCP")])
    for address, node, ready in (("10.64.1.2", "n1", True), ("10.64.2.2", "n2", True), ("10.64.1.3", "n1", False)):
        endpoint = Endpoint(addresses=[address], node_name=node)
        endpoint.conditions.ready, endpoint.conditions.serving = ready, True
        made.endpoints.append(endpoint)
    spec = ServiceSpec(cluster_ip="10.63.0.9", ports=[ServicePort(port=80, node_port=30080)],
                       external_traffic_policy="Local", session_affinity="ClientIP")  # fmt: skip
    route = ServiceRoute(spec=spec, slices=[made])
    assert sticky_leads(route, "n1") == {WEB: frozenset({A, B}), Socket("", "tcp", 30080): frozenset({A})}
    route.spec.session_affinity = "None"
    assert not sticky_leads(route, "n1")
