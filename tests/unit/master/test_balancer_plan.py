"""Where services of type LoadBalancer are reached."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.controllers.balancer import RESERVED
from master.controllers.balancer_plan import EXCLUDED, Balance, nodes_of, plan_balancers, reachable
from podium.objects.kinds import key_of
from podium.v1.core_pb2 import Node
from podium.v1.networking_pb2 import EndpointSlice, Service

NODES = {"n2": "192.0.2.2", "n1": "192.0.2.1"}
BOTH = Balance(("192.0.2.1", "192.0.2.2"))


def _service(name: str, *ports: int, age: int = 0, type_: str = "LoadBalancer", **fields: int | str) -> Service:
    """`age`: the smaller, the older."""
    made = Service()
    made.metadata.name, made.metadata.namespace = name, "default"
    made.metadata.creation_timestamp.seconds = age + 1
    made.spec.type = type_
    for port in ports:
        made.spec.ports.add(port=port, protocol=str(fields.get("protocol", "TCP")), node_port=fields.get("node", 0))
    return made


def _plan(*services: Service) -> dict[str, Balance]:
    return {key.name: made for key, made in plan_balancers(services, NODES, RESERVED, {}).items()}


def test_a_service_is_reached_at_every_node() -> None:
    assert _plan(_service("web", 80, 443)) == {"web": BOTH}


def test_a_port_is_the_oldest_services() -> None:
    plan = _plan(_service("new", 443, 80, age=2), _service("old", 80, age=1), _service("udp", 80, protocol="UDP"))
    assert plan["old"] == plan["udp"] == BOTH
    assert plan["new"] == Balance(refusal="port 80/TCP of the nodes leads to service default/old")


def test_who_is_refused_holds_no_port() -> None:
    plan = _plan(_service("old", 80), _service("refused", 80, 81, age=1), _service("new", 81, age=2))
    assert plan["refused"].refusal
    assert plan["new"] == BOTH


@pytest.mark.parametrize("port", [22, 7442, 7443, 7444, 7445])
def test_the_hosts_own_ports_are_nobodys(port: int) -> None:
    assert "answered by the nodes themselves" in _plan(_service("web", port))["web"].refusal


def test_node_ports_of_older_services_are_taken() -> None:
    node_port = _service("old", 80, age=1, type_="NodePort", node=30080)
    assert "default/old" in _plan(node_port, _service("new", 30080, age=2))["new"].refusal
    assert _plan(_service("older", 30080), node_port) == {"older": BOTH}
    assert _plan(_service("own", 30080, node=30080)) == {"own": BOTH}


def test_others_are_not_decided_about() -> None:
    going = _service("going", 80)
    going.metadata.deletion_timestamp.seconds = 1
    assert _plan(_service("inside", 80, type_="ClusterIP"), going) == {}


def test_a_local_service_is_reached_where_it_has_an_endpoint() -> None:
    local = _service("web", 80)
    assert plan_balancers([local], NODES, (), {key_of(local): {"n2"}}) == {key_of(local): Balance(("192.0.2.2",))}
    assert plan_balancers([local], NODES, (), {key_of(local): set()}) == {key_of(local): Balance()}


def test_only_endpoints_that_take_connections_count() -> None:
    made = EndpointSlice()
    for node, ready in (("n1", True), ("n2", False)):
        made.endpoints.add(node_name=node).conditions.ready = ready
    made.endpoints.add(node_name="n3")
    assert nodes_of([made]) == {"n1", "n3"}


def _node(ready: str = "True", label: str = "") -> Node:
    made = Node()
    made.status.conditions.add(type="Ready", status=ready)
    made.status.addresses.add(type="Hostname", address="n1")
    made.status.addresses.add(type="InternalIP", address="192.0.2.1")
    if label:
        made.metadata.labels[label] = ""
    return made


@pytest.mark.parametrize(
    ("node", "address"),
    [(_node(), "192.0.2.1"), (_node("Unknown"), ""), (_node("False"), ""), (_node(label=EXCLUDED), ""), (Node(), "")],
)
def test_which_nodes_are_asked(node: Node, address: str) -> None:
    assert reachable(node) == address


@given(st.lists(st.tuples(st.integers(0, 4), st.lists(st.integers(80, 84), min_size=1, unique=True)), max_size=8))
def test_no_port_leads_to_two_and_no_refusal_is_without_cause(wanted: list[tuple[int, list[int]]]) -> None:
    services = {f"s{i}": _service(f"s{i}", *ports, age=age) for i, (age, ports) in enumerate(wanted)}
    plan = _plan(*services.values())
    held = [port.port for name, made in plan.items() if made.addresses for port in services[name].spec.ports]
    assert len(held) == len(set(held))
    for name, made in plan.items():
        assert bool(made.refusal) != bool(made.addresses)
        if made.refusal:
            assert {port.port for port in services[name].spec.ports} & set(held)
