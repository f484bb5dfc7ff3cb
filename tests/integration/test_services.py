"""Services from the API to what a node hears: addresses, slices that follow readiness, ports, balancers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest

from nodelet.hollow import HollowNetwork
from podium.aio.clock import SystemClock
from podium.objects.conditions import set_condition
from podium.objects.kinds import Key
from podium.objects.service import SERVICE_LABEL
from podium.v1.core_pb2 import Event, Node, Pod
from podium.v1.meta_pb2 import DeleteOptions, IntOrString
from podium.v1.networking_pb2 import AddressPool, Endpoint, EndpointSlice, Service
from podium.v1.node_session_pb2 import ServiceRoute
from tests.integration.test_hollow_cluster import deployment
from tests.support.cluster import ADMIN, HollowCluster, hollow_cluster
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.waiting import until
from tests.support.workloads import pod


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[HollowCluster]:
    async with hollow_cluster(tmp_path, nodes=2) as running:
        yield running


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with control_plane() as running:
        yield running


def _service(name: str = "web", type_: str = "", port: int = 80) -> Service:
    made = Service()
    made.metadata.namespace, made.metadata.name = "default", name
    made.spec.selector["app"] = "web"
    made.spec.type = type_
    made.spec.ports.add(port=port, target_port=IntOrString(int_value=8080))
    return made


def _heard(cluster: HollowCluster, node: str, name: str = "web") -> ServiceRoute | None:
    """What a hollow node knows of a service."""
    parts = cluster.members[node].node._parts
    record = cast(HollowNetwork, parts.network).cluster.records.get(f"service/default/{name}")
    return record.service if record is not None else None


def _endpoints(plane: ControlPlane, name: str = "web") -> list[Endpoint]:
    slices = plane.reader.list(EndpointSlice, "default")
    return [e for s in slices if s.metadata.labels[SERVICE_LABEL] == name for e in s.endpoints]


def _conditions(plane: ControlPlane) -> dict[str, tuple[bool, bool, bool]]:
    return {
        e.target_ref.name: (e.conditions.ready, e.conditions.serving, e.conditions.terminating)
        for e in _endpoints(plane)
    }


async def test_every_node_hears_of_a_service_and_who_answers_it(cluster: HollowCluster) -> None:
    await cluster.writer.create(deployment(3), by=ADMIN)
    made = await cluster.writer.create(_service(), by=ADMIN)
    assert made.spec.cluster_ip.startswith("10.63.")

    def answering(node: str) -> set[str]:
        route = _heard(cluster, node)
        return {a for s in route.slices for e in s.endpoints for a in e.addresses} if route is not None else set()

    await until(lambda: len(answering("node1")) == 3)
    assert answering("node1") == {p.status.pod_ip for p in cluster.pods()}
    await until(lambda: answering("node2") == answering("node1"))
    route = _heard(cluster, "node2")
    assert route is not None
    assert (route.spec.cluster_ip, route.slices[0].ports[0].port) == (made.spec.cluster_ip, 8080)
    await cluster.writer.delete(Key("Service", "default", "web"), by=ADMIN)
    await until(lambda: _heard(cluster, "node1") is None)
    await until(lambda: not cluster.reader.list(EndpointSlice, "default"), what="the slices go with their service")


async def test_nodes_hear_of_a_balancers_addresses_which_follow_readiness(cluster: HollowCluster) -> None:
    made = await cluster.writer.create(_service(type_="LoadBalancer"), by=ADMIN)
    assert made.spec.ports[0].node_port, "it has node ports, too"

    def addresses() -> list[str]:
        route = _heard(cluster, "node1")
        return list(route.load_balancer) if route is not None else []

    nodes = {n.metadata.name: n.status.addresses for n in cluster.reader.list(Node)}
    of = {name: next(a.address for a in found if a.type == "InternalIP") for name, found in nodes.items()}
    await until(lambda: sorted(addresses()) == sorted(of.values()))
    await cluster.members["node2"].kill()
    await until(lambda: addresses() == [of["node1"]], seconds=20)


def _pool(*addresses: str) -> AddressPool:
    made = AddressPool()
    made.metadata.name = "lab"
    made.spec.addresses.extend(addresses)
    return made


async def test_a_node_answers_for_an_address_of_a_pool_and_another_one_when_it_dies(cluster: HollowCluster) -> None:
    await cluster.writer.create(_service(type_="LoadBalancer"), by=ADMIN)
    await cluster.writer.create(_pool("192.0.2.10"), by=ADMIN)

    def announcer(node: str) -> str:
        route = _heard(cluster, node)
        return route.announcer if route is not None and list(route.load_balancer) == ["192.0.2.10"] else ""

    first = await until(lambda: announcer("node1"))
    await until(lambda: announcer("node2") == first, what="all nodes know who answers")
    other = "node1" if first == "node2" else "node2"
    await cluster.members[first].kill()
    await until(lambda: announcer(other) == other, seconds=20)


async def test_a_service_waits_for_a_free_address_and_says_so(plane: ControlPlane) -> None:
    for name in ("a", "b"):
        await plane.writer.create(_service(name, type_="LoadBalancer"), by=ADMIN)
    await plane.writer.create(_pool("192.0.2.10"), by=ADMIN)

    def addresses(name: str) -> list[str]:
        found = plane.reader.get(Service, "default", name)
        return [i.ip for i in found.status.load_balancer.ingress] if found is not None else []

    def reasons() -> set[str]:
        return {event.reason for event in plane.reader.list(Event) if event.involved_object.kind == "Service"}

    await until(lambda: sorted([*addresses("a"), *addresses("b")]) == ["192.0.2.10"])
    await until(lambda: "AddressPoolExhausted" in reasons())

    def counted() -> tuple[int, int]:
        pool = plane.reader.get(AddressPool, "", "lab")
        return (pool.status.total, pool.status.assigned) if pool is not None else (0, 0)

    await until(lambda: counted() == (1, 1))
    holder, waiting = ("a", "b") if addresses("a") else ("b", "a")
    await plane.writer.delete(Key("Service", "default", holder), by=ADMIN)
    await until(lambda: addresses(waiting) == ["192.0.2.10"], what="it gets what is free now")


async def test_who_is_balanced_by_others_is_left_alone(plane: ControlPlane) -> None:
    foreign = _service("foreign", type_="LoadBalancer")
    foreign.spec.load_balancer_class = "example.com/balancer"
    await plane.writer.create(foreign, by=ADMIN)

    def theirs(obj: Service) -> None:
        obj.status.load_balancer.ingress.add(ip="203.0.113.1")

    await plane.writer.mutate(Service, "default", "foreign", theirs, by=ADMIN, subresource="status")
    await plane.writer.create(_pool("192.0.2.10"), by=ADMIN)
    await plane.writer.create(_service("ours", type_="LoadBalancer"), by=ADMIN)

    def addresses(name: str) -> list[str]:
        found = plane.reader.get(Service, "default", name)
        return [i.ip for i in found.status.load_balancer.ingress] if found is not None else []

    await until(lambda: addresses("ours") == ["192.0.2.10"])
    assert addresses("foreign") == ["203.0.113.1"]


async def test_endpoints_follow_readiness_and_deletion(plane: ControlPlane) -> None:
    plane.kubelet.paused = True
    await plane.writer.create(_service(), by=ADMIN)
    await plane.writer.create(pod("a", node="n1"), by=ADMIN)

    async def status(change: Callable[[Pod], None]) -> None:
        await plane.writer.mutate(Pod, "default", "a", change, by=ADMIN, subresource="status")

    def ready(word: str) -> Callable[[Pod], None]:
        def change(obj: Pod) -> None:
            obj.status.phase, obj.status.pod_ip = "Running", "10.64.1.2"
            set_condition(obj.status.conditions, "Ready", word, now=SystemClock().now())

        return change

    await status(ready("False"))
    await until(lambda: _conditions(plane) == {"a": (False, False, False)})
    await status(ready("True"))
    await until(lambda: _conditions(plane) == {"a": (True, True, False)})
    await plane.writer.delete(Key("Pod", "default", "a"), by=ADMIN, options=DeleteOptions(grace_period_seconds=30))
    await until(lambda: _conditions(plane) == {"a": (False, True, True)})
    await plane.writer.delete(Key("Pod", "default", "a"), by=ADMIN, options=DeleteOptions(grace_period_seconds=0))
    await until(lambda: not _endpoints(plane))


async def test_a_service_keeps_its_address_and_its_port_through_its_types(plane: ControlPlane) -> None:
    first = await plane.writer.create(_service(type_="NodePort"), by=ADMIN)
    port = first.spec.ports[0].node_port
    assert 30000 <= port <= 32767

    async def become(type_: str) -> Service:
        def change(obj: Service) -> None:
            obj.spec.type = type_
            if type_ == "ClusterIP":
                obj.spec.ports[0].ClearField("node_port")
                obj.spec.ClearField("external_traffic_policy")

        return await plane.writer.mutate(Service, "default", "web", change, by=ADMIN)

    balanced = await become("LoadBalancer")
    assert (balanced.spec.cluster_ip, balanced.spec.ports[0].node_port) == (first.spec.cluster_ip, port)
    inside = await become("ClusterIP")
    assert (inside.spec.cluster_ip, inside.spec.ports[0].node_port) == (first.spec.cluster_ip, 0)
    other = _service("other", "NodePort")
    other.spec.ports[0].node_port = port
    taken = await plane.writer.create(other, by=ADMIN)
    assert taken.spec.ports[0].node_port == port, "what was given up is free"


def _reached_at(plane: ControlPlane, name: str) -> list[str]:
    service = plane.reader.get(Service, "default", name)
    return [i.ip for i in service.status.load_balancer.ingress] if service is not None else []


async def test_a_balancers_port_is_one_services_and_passes_on_when_it_goes(plane: ControlPlane) -> None:
    def address(obj: Node) -> None:
        obj.status.addresses.add(type="InternalIP", address="192.0.2.1")

    await plane.writer.mutate(Node, "", "n1", address, by=ADMIN, subresource="status")
    await plane.writer.create(_service("first", "LoadBalancer"), by=ADMIN)
    await until(lambda: _reached_at(plane, "first") == ["192.0.2.1"])
    await plane.writer.create(_service("second", "LoadBalancer"), by=ADMIN)
    await plane.writer.create(_service("ssh", "LoadBalancer", port=22), by=ADMIN)

    def told(name: str) -> list[str]:
        events = plane.reader.list(Event, "default")
        return [e.message for e in events if e.involved_object.name == name and e.reason == "LoadBalancerPortTaken"]

    await until(lambda: told("second") and told("ssh"))
    assert told("second") == ["port 80/TCP of the nodes leads to service default/first"]
    assert _reached_at(plane, "second") == _reached_at(plane, "ssh") == []
    await plane.writer.delete(Key("Service", "default", "first"), by=ADMIN)
    await until(lambda: _reached_at(plane, "second") == ["192.0.2.1"])

    def inside(obj: Service) -> None:
        obj.spec.type = "ClusterIP"
        obj.spec.ports[0].ClearField("node_port")
        obj.spec.ClearField("external_traffic_policy")

    await plane.writer.mutate(Service, "default", "second", inside, by=ADMIN)
    await until(lambda: _reached_at(plane, "second") == [])
