"""Which flows are forgotten when endpoints change, and when they are looked at."""

from __future__ import annotations

import pytest

from nodelet.network.flows import Doubts, Flow, Socket, Target, plan_forget
from nodelet.network.isolation import Forward, pod_leads
from nodelet.network.services import service_leads
from podium.v1.networking_pb2 import Endpoint, EndpointPort, EndpointSlice, ServicePort, ServiceSpec
from podium.v1.node_session_pb2 import ServiceRoute

DNS = Socket("10.63.0.9", "udp", 53)
A, B = ("10.64.1.2", 5353), ("10.64.2.2", 5353)


def _said(*rounds: set[Target]) -> dict[Socket, frozenset[Target]]:
    """What is in doubt after a service had these endpoints, one after the other, the last but one looked at."""
    doubts = Doubts()
    for targets in rounds:
        doubts.begin()
        doubts.settle()
        doubts.take()
        doubts.say("service/default/dns", {DNS: frozenset(targets)})
    doubts.begin()
    doubts.settle()
    return dict(doubts.take())


@pytest.mark.parametrize(
    ("rounds", "doubted"),
    [
        ([{A, B}, {A}], True),  # one is gone
        ([{A}, {B}], True),
        ([{A}, set()], True),
        ([set(), {A}], True),  # the first
        ([{A}], True),  # who starts knows nothing of what was before
        ([{A}, {A, B}], False),  # one more
        ([{A}, {A}], False),
        ([set()], False),
    ],
)
def test_a_socket_is_in_doubt_when_an_endpoint_goes_or_the_first_one_comes(
    rounds: list[set[Target]], doubted: bool
) -> None:
    assert _said(*rounds) == ({DNS: frozenset(rounds[-1])} if doubted else {})


def test_nothing_is_looked_at_before_its_rules_are_in_force() -> None:
    doubts = Doubts()
    doubts.say("a", {DNS: frozenset({A})})
    doubts.begin()
    assert not doubts.take()
    doubts.say("a", {DNS: frozenset({B})})
    assert doubts.settle()
    assert doubts.take() == {DNS: frozenset({B})}, "who may answer is what is known by now"
    assert not doubts.settle()
    doubts.begin()
    assert doubts.settle(), "what was said meanwhile has a round of its own"
    assert doubts.take() == {DNS: frozenset({B})}
    doubts.give_back([DNS])
    doubts.say("a", {})
    assert doubts.take() == {DNS: frozenset()}


def _flow(answers: Target, asked: Socket = DNS, *, replied: bool = True) -> Flow:
    return Flow(id=1, client=("192.0.2.7", 4000), asked=asked, answers=answers, replied=replied)


NOT_LED = (DNS.address, DNS.port)
TCP = Socket("10.63.0.9", "tcp", 80)


@pytest.mark.parametrize(
    ("flow", "allowed", "forgotten"),
    [
        (_flow(A), {A, B}, False),
        (_flow(A), {B}, True),
        (_flow(A), set(), True),
        (_flow(NOT_LED), {B}, True),
        (_flow(NOT_LED), set(), False),  # nobody leads it anywhere: it would be the same again
        (_flow(A, TCP), {B}, False),  # a connection; it keeps what it has
        (_flow(A, TCP, replied=False), {B}, True),
        (_flow(A, Socket("10.63.0.8", "udp", 53)), {B}, False),  # not in doubt
    ],
)
def test_a_flow_to_nobody_who_may_answer_is_forgotten(flow: Flow, allowed: set[Target], forgotten: bool) -> None:
    doubted = {DNS: frozenset(allowed), TCP: frozenset(allowed)}
    assert plan_forget([flow], doubted, set()) == ([flow] if forgotten else [])


def test_a_port_of_the_node_is_one_at_its_own_addresses_only() -> None:
    here, through = Socket("192.0.2.1", "udp", 30053), Socket("198.51.100.7", "udp", 30053)
    doubted = {Socket("", "udp", 30053): frozenset({A})}
    flows = [_flow(B, here), _flow(("198.51.100.7", 30053), through)]
    assert plan_forget(flows, doubted, {"192.0.2.1"}) == flows[:1]


def test_flows_may_lead_to_who_is_about_to_end() -> None:
    made = EndpointSlice(ports=[EndpointPort(port=5353, protocol="UDP")])
    for address, ready, serving in (("10.64.1.2", True, True), ("10.64.2.2", False, True), ("10.64.3.2", False, False)):
        endpoint = Endpoint(addresses=[address])
        endpoint.conditions.ready, endpoint.conditions.serving = ready, serving
        made.endpoints.append(endpoint)
    spec = ServiceSpec(cluster_ip="10.63.0.9", external_ips=["192.0.2.9"],
                       ports=[ServicePort(port=53, protocol="UDP", node_port=30053)])  # fmt: skip
    leads = service_leads(ServiceRoute(spec=spec, slices=[made], load_balancer=["192.0.2.1"]))
    sockets = [DNS, Socket("192.0.2.9", "udp", 53), Socket("192.0.2.1", "udp", 53), Socket("", "udp", 30053)]
    assert leads == dict.fromkeys(sockets, frozenset({A, B}))


def test_host_ports_lead_to_their_pod() -> None:
    def forward(host_ip: str) -> Forward:
        return Forward(protocol="UDP", host_port=53, host_ip=host_ip, address=A[0], port=A[1])

    assert pod_leads([forward("0.0.0.0")]) == {Socket("", "udp", 53): frozenset({A})}
    assert pod_leads([forward("192.0.2.1")]) == {Socket("192.0.2.1", "udp", 53): frozenset({A})}
