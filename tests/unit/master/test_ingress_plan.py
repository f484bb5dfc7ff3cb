"""What the proxies are to do, what is wrong with which Ingress, and the same in HAProxy's words."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from master.controllers.ingress.certificates import Certificate
from master.controllers.ingress.haproxy import render, size_of
from master.controllers.ingress.plan import Around, Plan, Server, plan_proxy
from podium.objects.ingress import Place
from podium.objects.kinds import Key
from podium.v1.ingress_pb2 import Ingress
from podium.v1.networking_pb2 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Service
from tests.support.ingress import Path, ingress, ingresses

ONE, TWO = Certificate(b"one", ("one.com",)), Certificate(b"two", ("two.com", "*.two.com"))


def _service(name: str) -> Service | None:
    made = Service()
    made.metadata.namespace, made.metadata.name = "default", name
    made.spec.type, made.spec.cluster_ip = "ClusterIP", "10.63.0.9"
    made.spec.ports.add(name="http", port=80)
    made.spec.ports.add(name="dns", port=53, protocol="UDP")
    match name:
        case "gone":
            return None
        case "elsewhere":
            made.spec.type, made.spec.external_name = "ExternalName", "example.com"
        case "headless":
            made.spec.cluster_ip = "None"
        case _:
            pass
    return made


def _slices(name: str) -> Sequence[EndpointSlice]:
    endpoints = [
        Endpoint(addresses=["10.64.0.2"]), Endpoint(addresses=["10.64.0.1"], conditions=EndpointConditions(ready=True)),
        Endpoint(addresses=["10.64.0.3"], conditions=EndpointConditions(ready=False)),
    ]  # fmt: skip
    ports = [EndpointPort(name="http", port=8080), EndpointPort(name="dns", port=53)]
    return [EndpointSlice(endpoints=endpoints, ports=ports)] if name == "headless" else []


AROUND = Around(
    service=lambda _, name: _service(name),
    slices=lambda _, name: _slices(name),
    certificate=lambda _, name: {"one": ONE, "two": TWO}.get(name, "is not there"),
)


def _plan(*made: Ingress) -> Plan:
    return plan_proxy(made, AROUND)


def _told(plan: Plan, name: str = "i") -> list[str]:
    return [f"{p.reason}: {p.message}" for p in plan.problems.get(Key("Ingress", "default", name), ())]


def _secured(name: str, *tls: tuple[str, Sequence[str]], age: int = 0) -> Ingress:
    made = ingress(name, default="web", age=age)
    for secret, hosts in tls:
        made.spec.tls.add(secret_name=secret, hosts=hosts)
    return made


def test_a_route_leads_to_the_services_own_address() -> None:
    plan = _plan(ingress("i", Path("foo.com", "/a/", "Prefix", "web"), default="web"))
    assert plan.routes == {Place("foo.com", "/a"): "default_web_80", Place("foo.com", ""): "default_web_80"}
    assert plan.backends["default_web_80"].servers == (Server("10.63.0.9", 80),)
    assert plan.problems == {}


def test_a_headless_service_is_led_to_by_its_endpoints() -> None:
    plan = _plan(ingress("i", default="headless"))
    assert plan.backends["default_headless_80"].servers == (Server("10.64.0.1", 8080), Server("10.64.0.2", 8080))


def test_a_port_may_be_named() -> None:
    made = ingress("i", default="web")
    made.spec.default_backend.service.port.number, made.spec.default_backend.service.port.name = 0, "http"
    assert _plan(made).routes == {Place("", ""): "default_web_80"}


def test_what_is_not_there_is_told_and_answered_with_503() -> None:
    made = ingress("i", Path("", "/a", "Exact", "gone"), Path("", "/b", "Exact", "elsewhere"), default="web")
    made.spec.default_backend.service.port.number = 53
    plan = _plan(made)
    assert all(backend.missing and not backend.servers for backend in plan.backends.values())
    assert _told(plan) == [
        "BackendMissing: spec.rules[0].http.paths[0].backend: service default/gone is not there",
        "BackendMissing: spec.rules[1].http.paths[0].backend: service default/elsewhere is but another name for "
        "example.com: Ingresses lead to pods only",
        "BackendMissing: spec.defaultBackend: service default/web has no TCP port 53",
    ]


def test_what_two_claim_is_told_to_the_younger() -> None:
    old, new = (
        ingress("old", Path("", "/a", "Prefix", "web"), age=1),
        ingress("new", Path("", "/a/", "Prefix", "web"), age=2),
    )
    plan = _plan(new, old)
    assert _told(plan, "old") == []
    assert _told(plan, "new") == [
        "RouteTaken: spec.rules[0].http.paths[0].backend: host *, path /a (Prefix) is led elsewhere by Ingress default/old"
    ]
    twice = ingress("i", Path("", "/a", "Prefix", "web"), Path("", "/a/", "Prefix", "web"))
    assert _told(_plan(twice)) == [], "said twice is no mistake"
    twice.spec.rules[1].http.paths[0].backend.service.name = "headless"
    assert "an earlier rule of it" in _told(_plan(twice))[0]


def test_annotations_make_backends_of_their_own() -> None:
    plain, slow = ingress("plain", default="web"), ingress("slow", Path("x.com", "/", "Prefix", "web"), age=1)
    slow.metadata.annotations.update({"podium.dev/request-timeout": "1.5m", "podium.dev/backend-protocol": "H2C"})
    plan = _plan(plain, slow)
    assert plan.routes[Place("", "")] == "default_web_80"
    name = plan.routes[Place("x.com", "/")]
    assert name == "default_web_80_h2c_90000ms"
    config = render(plan)["haproxy.cfg"].decode()
    assert f"backend {name}\n    timeout server 90000ms\n    server s0 10.63.0.9:80 proto h2\n" in config


def test_a_services_port_may_say_that_it_speaks_http2() -> None:
    grpc = _service("grpc")
    assert grpc is not None
    grpc.spec.ports[0].app_protocol = "kubernetes.io/h2c"
    around = AROUND._replace(service=lambda *_: grpc)
    made = ingress("i", default="grpc")
    assert plan_proxy([made], around).backends["default_grpc_80_h2c"].h2c
    made.metadata.annotations["podium.dev/backend-protocol"] = "HTTP"
    assert not plan_proxy([made], around).backends["default_grpc_80"].h2c


def test_a_name_shows_the_certificate_of_the_oldest_that_has_one() -> None:
    broken, old = _secured("broken", ("gone", ["one.com"]), age=0), _secured("old", ("one", ["one.com"]), age=1)
    new = _secured("new", ("two", ["one.com", "other.com"]), age=2)
    plan = _plan(new, old, broken)
    assert plan.certificates == {ONE: ("one.com",), TWO: ("other.com",)}
    assert plan.secure == {"one.com", "other.com"}
    assert "CertificateMissing: spec.tls[0].secretName: secret default/gone is not there" in _told(plan, "broken")
    assert "CertificateTaken: spec.tls[0]: host one.com shows the certificate of Ingress default/old" in _told(
        plan, "new"
    )


def test_without_hosts_a_certificate_is_shown_for_its_own_names() -> None:
    plan = _plan(_secured("i", ("two", [])))
    assert plan.certificates == {TWO: ("*.two.com", "two.com")}


def test_no_redirect_where_it_is_not_wanted() -> None:
    made = _secured("i", ("one", ["one.com"]))
    made.metadata.annotations["podium.dev/ssl-redirect"] = "false"
    assert _plan(made).secure == frozenset()
    assert render(_plan(made))["secure.map"] == b""


def test_https_is_served_only_with_a_certificate() -> None:
    bare = render(_plan(ingress("i", default="web")))
    assert b"bind :443" not in bare["haproxy.cfg"]
    assert "shown.list" not in bare
    files = render(_plan(_secured("i", ("two", []))))
    assert b"bind :443 ssl strict-sni" in files["haproxy.cfg"]
    assert files["shown.list"] == f"{TWO.file} *.two.com two.com\n".encode()
    assert files[TWO.file] == b"two"


def test_maps() -> None:
    paths = (
        Path("foo.com", "/", "Prefix", "web"),
        Path("foo.com", "/a/", "Exact", "web"),
        Path("*.foo.com", "/b/", "Prefix", "web"),
    )
    files = render(_plan(ingress("i", *paths, default="headless"), ingress("all", Path("", "/c", "Prefix", "web"))))
    assert files["hosts.map"] == b"*.foo.com *.foo.com\nfoo.com foo.com\n"
    assert files["exact.map"] == b"foo.com/a/ default_web_80\n"
    assert files["prefix.map"] == b"*.foo.com/b/ default_web_80\n*/c/ default_web_80\nfoo.com/ default_web_80\n"
    assert files["default.map"] == b"*.foo.com default_headless_80\nfoo.com default_headless_80\n"


@settings(max_examples=50, deadline=None)
@given(ingresses(), st.randoms(use_true_random=False))
def test_the_order_in_which_ingresses_are_found_changes_nothing(made: list[Ingress], chance: object) -> None:
    shuffled = list(made)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert render(_plan(*made)) == render(_plan(*shuffled))
    assert _plan(*made).problems == _plan(*shuffled).problems


def test_a_thousand_ingresses_fit() -> None:
    made = [
        ingress(f"i{n}", *(Path(f"h{n}.example.com", f"/p{m}", "Prefix", f"s{n}") for m in range(3)))
        for n in range(1000)
    ]
    assert size_of(render(_plan(*made))) < 300_000
