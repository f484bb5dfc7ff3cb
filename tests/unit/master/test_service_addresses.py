"""Addresses and node ports of services: given once, kept, free again when they are given up."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.access.addresses import UNSEEN, ServiceAddresses, ServiceRanges
from master.cache.cache import WatchCache
from master.cache.item import Item
from master.store.memory import MemoryStore
from podium.errors import Invalid, Unavailable
from podium.objects.kinds import key_of
from podium.v1.networking_pb2 import Service

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SMALL = ServiceRanges(cidr="10.63.0.0/29", node_ports=(30000, 30002))


class Cluster:
    """A cache that is written by hand."""

    def __init__(self, ranges: ServiceRanges | None = None) -> None:
        self.cache = WatchCache(MemoryStore())
        self.addresses = ServiceAddresses(ranges)

    def complete(self, service: Service, old: Service | None = None, now: datetime.datetime = NOW) -> Service:
        self.addresses.complete(service, old, self.cache, now)
        return service

    def store(self, service: Service) -> Service:
        value = service.SerializeToString(deterministic=True)
        self.cache.tables["Service"].put(Item(key_of(service), value, 1))
        return service

    def remove(self, service: Service) -> None:
        self.cache.tables["Service"].remove(key_of(service))


def _service(name: str = "web", *, type: str = "ClusterIP", ip: str = "", node_port: int = 0, **fields: str) -> Service:
    made = Service()
    made.metadata.name, made.metadata.namespace = name, "default"
    made.spec.type, made.spec.cluster_ip = type, ip
    made.spec.ports.add(port=80, protocol="TCP", node_port=node_port)
    for field, value in fields.items():
        setattr(made.spec, field, value)
    return made


def test_a_service_is_given_an_address_and_keeps_it() -> None:
    cluster = Cluster()
    first = cluster.store(cluster.complete(_service()))
    assert first.spec.cluster_ip.startswith("10.63.")
    assert list(first.spec.cluster_ips) == [first.spec.cluster_ip]
    again = cluster.complete(_service(), first)
    assert again.spec.cluster_ip == first.spec.cluster_ip


def test_no_address_is_given_twice_and_all_are_given() -> None:
    cluster = Cluster(SMALL)
    given = {cluster.store(cluster.complete(_service(f"s{n}"))).spec.cluster_ip for n in range(6)}
    assert given == {f"10.63.0.{n}" for n in range(1, 7)}
    with pytest.raises(Unavailable, match=r"10\.63\.0\.0/29 has no free address"):
        cluster.complete(_service("more"))


def test_what_is_asked_for_is_given_unless_another_has_it() -> None:
    cluster = Cluster()
    cluster.store(cluster.complete(_service("a", ip="10.63.0.77")))
    with pytest.raises(Invalid, match=r"spec.clusterIP.*is the address of service default/a"):
        cluster.complete(_service("b", ip="10.63.0.77"))
    with pytest.raises(Invalid, match=r"must be in the service range 10\.63\.0\.0/16"):
        cluster.complete(_service("b", ip="192.0.2.1"))


def test_an_address_not_yet_stored_is_taken_and_one_never_stored_is_free_in_time() -> None:
    cluster = Cluster()
    cluster.complete(_service("a", ip="10.63.0.77"))
    with pytest.raises(Invalid):
        cluster.complete(_service("b", ip="10.63.0.77"))
    assert cluster.complete(_service("b", ip="10.63.0.77"), now=NOW + UNSEEN).spec.cluster_ip == "10.63.0.77"


def test_the_same_service_planned_again_keeps_what_it_was_given() -> None:
    cluster = Cluster()
    planned = cluster.complete(_service("a", type="NodePort"))
    before = planned.spec.cluster_ip, planned.spec.ports[0].node_port
    cluster.complete(planned)
    assert (planned.spec.cluster_ip, planned.spec.ports[0].node_port) == before


def test_what_a_deleted_service_had_is_free() -> None:
    cluster = Cluster()
    first = cluster.store(cluster.complete(_service("a", ip="10.63.0.77")))
    cluster.remove(first)
    assert cluster.complete(_service("b", ip="10.63.0.77"), now=NOW + UNSEEN).spec.cluster_ip == "10.63.0.77"


def test_node_ports_come_with_the_type_and_go_with_it() -> None:
    cluster = Cluster(SMALL)
    first = cluster.store(cluster.complete(_service("a", type="NodePort")))
    assert 30000 <= first.spec.ports[0].node_port <= 30002
    with pytest.raises(Invalid, match=r"nodePort.*is taken by service default/a"):
        cluster.complete(_service("b", type="NodePort", node_port=first.spec.ports[0].node_port))
    with pytest.raises(Invalid, match="must be between 30000 and 30002, not 80"):
        cluster.complete(_service("b", type="NodePort", node_port=80))
    plain = cluster.complete(_service("a", type="ClusterIP"), first)
    assert plain.spec.ports[0].node_port == 0


@pytest.mark.parametrize(("type_", "ip"), [("ClusterIP", "None"), ("ExternalName", "")])
def test_who_wants_no_address_gets_none(type_: str, ip: str) -> None:
    service = Cluster().complete(_service(type=type_, ip=ip))
    assert service.spec.cluster_ip == ip


def test_a_restart_knows_what_is_given() -> None:
    cluster = Cluster()
    cluster.store(cluster.complete(_service("a", ip="10.63.0.77")))
    cluster.addresses = ServiceAddresses()
    with pytest.raises(Invalid):
        cluster.complete(_service("b", ip="10.63.0.77"))


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans(), st.booleans()), max_size=40))
def test_no_two_stored_services_share_an_address_or_a_port(steps: list[tuple[str, bool, bool]]) -> None:
    cluster, stored = Cluster(SMALL), dict[str, Service]()
    for turn, (name, remove, node_ports) in enumerate(steps):
        now = NOW + turn * UNSEEN
        if remove:
            if name in stored:
                cluster.remove(stored.pop(name))
            continue
        try:
            service = _service(name, type="NodePort" if node_ports else "ClusterIP")
            stored[name] = cluster.store(cluster.complete(service, stored.get(name), now))
        except Unavailable:
            assert len(stored) >= 3
        addresses = [s.spec.cluster_ip for s in stored.values()]
        ports = [p.node_port for s in stored.values() for p in s.spec.ports if p.node_port]
        assert len(set(addresses)) == len(addresses)
        assert len(set(ports)) == len(ports)


def test_a_balanced_service_that_keeps_local_is_given_a_port_for_its_health_and_loses_it_again() -> None:
    cluster = Cluster(SMALL)

    def wanted(name: str) -> Service:
        return _service(name, type="LoadBalancer", external_traffic_policy="Local")

    first = cluster.store(cluster.complete(wanted("a")))
    health = first.spec.health_check_node_port
    assert 30000 <= health <= 30002
    assert health != first.spec.ports[0].node_port
    assert cluster.complete(wanted("a"), first).spec.health_check_node_port == health
    other = wanted("b")
    other.spec.health_check_node_port = health
    with pytest.raises(Invalid, match=r"healthCheckNodePort.*is taken by service default/a"):
        cluster.complete(other)
    with pytest.raises(Unavailable, match="no node port is free"):
        cluster.complete(wanted("b"))
    plain = Service()
    plain.CopyFrom(first)
    plain.spec.external_traffic_policy = "Cluster"
    assert cluster.complete(plain, first).spec.health_check_node_port == 0
