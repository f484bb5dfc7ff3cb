"""The cluster's names: what services make of them, and how answers look on the wire."""

from __future__ import annotations

from dnslib import QTYPE, RCODE, DNSRecord
from dnslib.dns import EDNS0
from hypothesis import given
from hypothesis import strategies as st

from nodelet.dns import wire
from nodelet.dns.upstream import resolvers
from nodelet.dns.zone import Answer, Record, Zone
from podium.v1.networking_pb2 import Endpoint, EndpointPort, EndpointSlice, ServicePort, ServiceSpec
from podium.v1.node_session_pb2 import ServiceRoute

DOMAIN = "cluster.local"
WEB = "web.default.svc.cluster.local"


def _route(name: str = "web", slices: tuple[EndpointSlice, ...] = (), **spec: object) -> ServiceRoute:
    ports = [ServicePort(name="http", port=80, protocol="TCP")]
    made = ServiceSpec(**{"cluster_ip": "10.63.0.9", "ports": ports, **spec})  # type: ignore[arg-type]
    return ServiceRoute(namespace="default", name=name, spec=made, slices=slices)


def _slice(*endpoints: tuple[str, str, bool]) -> EndpointSlice:
    """Endpoints as (address, hostname, ready)."""
    made = EndpointSlice(ports=[EndpointPort(name="http", port=8080, protocol="TCP")])
    for address, hostname, ready in endpoints:
        endpoint = Endpoint(addresses=[address], hostname=hostname)
        endpoint.conditions.ready = ready
        made.endpoints.append(endpoint)
    return made


def _zone(*routes: ServiceRoute) -> Zone:
    zone = Zone(DOMAIN)
    for route in routes:
        zone.put(f"{route.namespace}/{route.name}", route)
    return zone


def _data(zone: Zone, name: str, type_: str = "A") -> list[str] | None:
    found = zone.answer(name, type_)
    return None if found is None or not found.exists else sorted(record.data for record in found.records)


def test_a_service_has_an_address_ports_and_a_way_back() -> None:
    zone = _zone(_route())
    assert _data(zone, WEB) == ["10.63.0.9"]
    assert _data(zone, f"_http._tcp.{WEB}", "SRV") == [f"0 100 80 {WEB}"]
    assert _data(zone, "9.0.63.10.in-addr.arpa", "PTR") == [WEB]
    found = zone.answer(f"_http._tcp.{WEB}", "SRV")
    assert found is not None
    assert found.additional == (Record(WEB, "A", "10.63.0.9"),)


def test_a_name_without_data_is_not_a_name_that_does_not_exist() -> None:
    zone = _zone(_route())
    assert zone.answer(WEB, "AAAA") == Answer(True)
    assert zone.answer("nobody.default.svc.cluster.local", "A") == Answer(False)
    assert zone.answer("svc.cluster.local", "A") == Answer(True)
    assert zone.answer("example.com", "A") is None, "others are asked"
    assert zone.answer("1.0.0.10.in-addr.arpa", "PTR") is None


def test_a_headless_service_leads_to_its_endpoints_and_each_has_a_name() -> None:
    slices = (_slice(("10.64.1.2", "db-0", True), ("10.64.2.2", "db-1", True), ("10.64.3.2", "db-2", False)),)
    zone = _zone(_route("db", slices, cluster_ip="None"))
    assert _data(zone, "db.default.svc.cluster.local") == ["10.64.1.2", "10.64.2.2"]
    assert _data(zone, "db-1.db.default.svc.cluster.local") == ["10.64.2.2"]
    assert _data(zone, "db-2.db.default.svc.cluster.local") is None, "not ready"
    assert _data(zone, "2.1.64.10.in-addr.arpa", "PTR") == ["db-0.db.default.svc.cluster.local"]
    assert _data(zone, "_http._tcp.db.default.svc.cluster.local", "SRV") == [
        "0 100 8080 db-0.db.default.svc.cluster.local",
        "0 100 8080 db-1.db.default.svc.cluster.local",
    ]


def test_an_external_name_stands_for_another() -> None:
    zone = _zone(_route("ext", type="ExternalName", external_name="DB.example.com.", cluster_ip=""))
    name = "ext.default.svc.cluster.local"
    alias = Record(name, "CNAME", "db.example.com")
    assert zone.answer(name, "CNAME") == zone.answer(name, "ANY") == Answer(True, (alias,))
    assert zone.answer(name, "A") == Answer(True, (alias,), onward="db.example.com"), "others are to be asked"


def _alias(name: str, target: str) -> ServiceRoute:
    return _route(name, type="ExternalName", external_name=target, cluster_ip="")


def test_an_alias_of_a_name_of_the_cluster_is_followed() -> None:
    zone = _zone(_route(), _alias("one", WEB), _alias("two", "one.default.svc.cluster.local"))
    found = zone.answer("two.default.svc.cluster.local", "A")
    assert found is not None
    assert [record.data for record in found.records] == ["one.default.svc.cluster.local", WEB, "10.63.0.9"]
    assert (found.exists, found.onward, found.endless) == (True, "", False)
    nobody = _zone(_alias("one", WEB)).answer("one.default.svc.cluster.local", "A")
    assert nobody == Answer(False, (Record("one.default.svc.cluster.local", "CNAME", WEB),)), "RFC 6604"
    query = wire.read(DNSRecord.question("one.default.svc.cluster.local", "A").pack())
    assert query is not None
    reply = DNSRecord.parse(wire.answer(query, nobody, DOMAIN))
    assert (reply.header.rcode, [rr.rtype for rr in reply.auth]) == (RCODE.NXDOMAIN, [QTYPE.SOA])


def test_aliases_that_lead_back_to_themselves_lead_nowhere() -> None:
    zone = _zone(_alias("one", "two.default.svc.cluster.local"), _alias("two", "one.default.svc.cluster.local"))
    found = zone.answer("one.default.svc.cluster.local", "A")
    assert found is not None
    assert found.endless


CHANGES = st.lists(
    st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.lists(st.integers(2, 5), max_size=3))), max_size=20
)


@given(CHANGES)
def test_a_zone_that_follows_is_as_one_that_is_made_anew(changes: list[tuple[str, list[int] | None]]) -> None:
    zone, routes = Zone(DOMAIN), dict[str, ServiceRoute]()
    for name, hosts in changes:
        if hosts is None:
            routes.pop(name, None)
        else:
            slices = (_slice(*((f"10.64.1.{host}", f"h{host}", True) for host in hosts)),)
            routes[name] = _route(name, slices, cluster_ip="None")
        zone.put(f"default/{name}", routes.get(name))
    fresh = _zone(*routes.values())
    names = [f"{n}.default.svc.{DOMAIN}" for n in "abc"]
    names += [f"h{h}.{n}" for n in names for h in range(2, 6)] + [f"{h}.1.64.10.in-addr.arpa" for h in range(2, 6)]
    for name in names:
        for type_ in ("A", "SRV", "PTR"):
            assert _data(zone, name, type_) == _data(fresh, name, type_)


# ---------------------------------------------------------------- on the wire


def test_an_answer_keeps_the_question_as_it_was_asked() -> None:
    asked = DNSRecord.question("WeB.default.svc.Cluster.local.", "A")
    query = wire.read(asked.pack())
    assert query is not None
    assert (query.name, query.type, query.room) == (WEB, "A", 512)
    found = _zone(_route()).answer(query.name, query.type)
    assert found is not None
    reply = DNSRecord.parse(wire.answer(query, found, DOMAIN))
    assert reply.header.id == asked.header.id
    assert str(reply.q.qname) == "WeB.default.svc.Cluster.local."
    assert [str(rr.rdata) for rr in reply.rr] == ["10.63.0.9"]
    assert (reply.header.aa, reply.header.rcode) == (1, RCODE.NOERROR)


def test_no_such_name_says_for_how_long() -> None:
    query = wire.read(DNSRecord.question("nobody.svc.cluster.local", "A").pack())
    assert query is not None
    reply = DNSRecord.parse(wire.answer(query, Answer(False), DOMAIN))
    assert reply.header.rcode == RCODE.NXDOMAIN
    assert [rr.rtype for rr in reply.auth] == [QTYPE.SOA]


def test_what_does_not_fit_into_a_datagram_is_to_be_asked_over_tcp() -> None:
    endpoints = [(f"10.64.{n // 250}.{n % 250 + 2}", "", True) for n in range(60)]
    zone = _zone(_route("many", (_slice(*endpoints),), cluster_ip="None"))
    asked = DNSRecord.question("many.default.svc.cluster.local", "A")
    query = wire.read(asked.pack())
    assert query is not None
    found = zone.answer(query.name, query.type)
    assert found is not None
    whole = wire.answer(query, found, DOMAIN)
    cut = DNSRecord.parse(wire.fitting(whole, query))
    assert (cut.header.tc, len(cut.rr)) == (1, 0)
    asked.add_ar(EDNS0(udp_len=4096))
    roomy = wire.read(asked.pack())
    assert roomy is not None
    assert len(wire.fitting(wire.answer(roomy, found, DOMAIN), roomy)) > 512


@given(st.binary(max_size=64))
def test_rubbish_is_no_query(data: bytes) -> None:
    found = wire.read(data)
    assert found is None or found.message.header.qr == 0


def test_the_hosts_resolvers_without_this_node_itself() -> None:
    text = "# made by hand\nsearch example.com\nnameserver 10.64.1.1\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n"
    assert resolvers(text, own=["10.64.1.1"]) == ["192.0.2.53", "fe80::1"]
