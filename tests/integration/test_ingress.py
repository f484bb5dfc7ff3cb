"""Ingresses from the API to what the proxies mount: configuration, statuses, events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from master.controllers.ingress import controller
from master.controllers.ingress.controller import PROXY_SECRET
from master.controllers.ingress.haproxy import size_of
from podium.aio.clock import SystemClock
from podium.objects.conditions import set_condition
from podium.objects.ingress import CONTROLLER, DEFAULT_CLASS, PROXY_LABEL
from podium.objects.kinds import Key
from podium.v1.core_pb2 import Event, Namespace, Node, Pod, Secret
from podium.v1.ingress_pb2 import Ingress, IngressClass
from podium.v1.networking_pb2 import Service
from tests.support.certificates import self_signed, tls_secret
from tests.support.cluster import ADMIN
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.ingress import Path, ingress
from tests.support.waiting import until
from tests.support.workloads import pod

SYSTEM = "podium-system"


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with control_plane() as running:
        running.kubelet.paused = True
        system = Namespace()
        system.metadata.name = SYSTEM
        await running.writer.create(system, by=ADMIN)
        yield running


def _class(name: str = "podium", controller: str = CONTROLLER) -> IngressClass:
    made = IngressClass()
    made.metadata.name, made.spec.controller = name, controller
    made.metadata.annotations[DEFAULT_CLASS] = "true"
    return made


def _service(name: str = "web", **spec: str) -> Service:
    made = Service()
    made.metadata.namespace, made.metadata.name = "default", name
    made.spec.selector["app"] = "web"
    for key, value in spec.items():
        setattr(made.spec, key, value)
    made.spec.ports.add(port=80)
    return made


def _new(made: Ingress, class_name: str = "") -> Ingress:
    """As a user writes it."""
    made.metadata.ClearField("uid")
    made.metadata.ClearField("creation_timestamp")
    made.spec.ingress_class_name = class_name
    return made


def _file(plane: ControlPlane, name: str) -> str:
    secret = plane.reader.get(Secret, SYSTEM, PROXY_SECRET)
    return secret.data[name].decode() if secret is not None and name in secret.data else ""


def _events(plane: ControlPlane, name: str) -> list[str]:
    found = [e for e in plane.reader.list(Event, "default") if e.involved_object.name == name]
    return [f"{e.reason}: {e.message}" for e in found]


def _addresses(plane: ControlPlane, name: str = "web") -> list[str]:
    found = plane.reader.get(Ingress, "default", name)
    return [i.ip for i in found.status.load_balancer.ingress] if found is not None else []


async def _proxy(plane: ControlPlane, name: str, address: str) -> None:
    made = pod(name, node="n1")
    made.metadata.namespace = SYSTEM
    made.metadata.labels[PROXY_LABEL] = "true"
    await plane.writer.create(made, by=ADMIN)
    await plane.writer.mutate(Pod, SYSTEM, name, _ready(address), by=ADMIN, subresource="status")


def _ready(address: str, word: str = "True") -> Callable[[Pod], None]:
    def change(obj: Pod) -> None:
        obj.status.phase, obj.status.host_ip = "Running", address
        set_condition(obj.status.conditions, "Ready", word, now=SystemClock().now())

    return change


async def test_nothing_is_written_without_a_class(plane: ControlPlane) -> None:
    await plane.writer.create(_new(ingress("web", default="web")), by=ADMIN)
    await plane.writer.create(_class("other", "example.com/other"), by=ADMIN)
    await plane.writer.create(_new(ingress("later", default="web")), by=ADMIN)
    later = plane.reader.get(Ingress, "default", "later")
    assert later is not None
    assert later.spec.ingress_class_name == "other", "the default at that time"
    await until(lambda: plane.runtime.idle)
    assert plane.reader.get(Secret, SYSTEM, PROXY_SECRET) is None
    await plane.writer.create(_class(), by=ADMIN)
    await until(lambda: _file(plane, "haproxy.cfg"))
    assert _file(plane, "default.map") == "", "neither of the two is of this class"


async def test_an_ingress_is_served_as_its_parts_come_and_go(plane: ControlPlane) -> None:
    await plane.writer.create(_class(), by=ADMIN)
    made = ingress("web", Path("foo.com", "/", "Prefix", "web"))
    made.spec.tls.add(secret_name="web-tls")
    await plane.writer.create(_new(made), by=ADMIN)
    await until(lambda: _file(plane, "prefix.map") == "foo.com/ missing__default_web_80\n")
    await until(lambda: len(_events(plane, "web")) == 2)
    assert sorted(e.split(":")[0] for e in _events(plane, "web")) == ["BackendMissing", "CertificateMissing"]

    service = await plane.writer.create(_service(), by=ADMIN)
    await until(lambda: _file(plane, "prefix.map") == "foo.com/ default_web_80\n")
    assert f"server s0 {service.spec.cluster_ip}:80\n" in _file(plane, "haproxy.cfg")
    await plane.writer.create(tls_secret("web-tls", *self_signed("foo.com")), by=ADMIN)
    await until(lambda: _file(plane, "secure.map") == "foo.com 1\n")
    shown = _file(plane, "shown.list").split()[0]
    assert _file(plane, shown).endswith("-----END PRIVATE KEY-----\n")

    def renew(secret: Secret) -> None:
        secret.data.update(tls_secret("x", *self_signed("foo.com")).data)

    await plane.writer.mutate(Secret, "default", "web-tls", renew, by=ADMIN)
    await until(lambda: _file(plane, "shown.list").split()[0] != shown)
    assert _file(plane, shown) == "", "the key before is gone"
    await plane.writer.delete(Key("Ingress", "default", "web"), by=ADMIN)
    await until(lambda: _file(plane, "prefix.map") == "")
    assert _file(plane, "shown.list") == ""


async def test_what_others_do_to_the_configuration_is_mended(plane: ControlPlane) -> None:
    await plane.writer.create(_class(), by=ADMIN)
    await until(lambda: _file(plane, "haproxy.cfg"))
    await plane.writer.delete(Key("Secret", SYSTEM, PROXY_SECRET), by=ADMIN)
    await until(lambda: _file(plane, "haproxy.cfg"))

    def spoil(secret: Secret) -> None:
        secret.data["haproxy.cfg"] = b"x"

    await plane.writer.mutate(Secret, SYSTEM, PROXY_SECRET, spoil, by=ADMIN)
    await until(lambda: len(_file(plane, "haproxy.cfg")) > 1)


async def test_many_changes_are_few_configurations(plane: ControlPlane) -> None:
    await plane.writer.create(_class(), by=ADMIN)
    await until(lambda: _file(plane, "haproxy.cfg"))
    seen = set[str]()

    def last() -> bool:
        secret = plane.reader.get(Secret, SYSTEM, PROXY_SECRET)
        assert secret is not None
        seen.add(secret.metadata.resource_version)
        return _file(plane, "default.map").count("\n") == 30

    for number in range(30):
        made = ingress(f"i{number}", default="web")
        made.spec.rules.add(host=f"h{number}.com")
        await plane.writer.create(_new(made), by=ADMIN)
        last()
    await until(last)
    assert len(seen) <= 4


async def test_addresses_are_those_of_hosts_whose_proxy_is_ready(plane: ControlPlane) -> None:
    await plane.writer.create(_class(), by=ADMIN)
    await plane.writer.create(_new(ingress("web", default="web")), by=ADMIN)
    await _proxy(plane, "p1", "192.0.2.1")
    await _proxy(plane, "p2", "192.0.2.2")
    await until(lambda: _addresses(plane) == ["192.0.2.1", "192.0.2.2"])
    await plane.writer.mutate(Pod, SYSTEM, "p1", _ready("192.0.2.1", "False"), by=ADMIN, subresource="status")
    await until(lambda: _addresses(plane) == ["192.0.2.2"])

    def leave(obj: Ingress) -> None:
        obj.spec.ingress_class_name = "other"

    await plane.writer.mutate(Ingress, "default", "web", leave, by=ADMIN)
    await until(lambda: _addresses(plane) == [], what="another class's Ingress has no address of ours")


async def test_the_younger_of_two_is_told(plane: ControlPlane) -> None:
    await plane.writer.create(_class(), by=ADMIN)
    for name in ("web", "zweb"):
        await plane.writer.create(_service(name), by=ADMIN)
        await plane.writer.create(_new(ingress(name, Path("foo.com", "/", "Prefix", name))), by=ADMIN)
    await until(lambda: _events(plane, "zweb"))
    (told,) = _events(plane, "zweb")
    assert told.startswith("RouteTaken: spec.rules[0].http.paths[0].backend: host foo.com, path / (Prefix)")
    assert told.endswith("Ingress default/web")
    assert _events(plane, "web") == []
    await plane.writer.delete(Key("Ingress", "default", "web"), by=ADMIN)
    await until(lambda: _file(plane, "prefix.map") == "foo.com/ default_zweb_80\n")


async def test_controllers_that_start_anew_write_nothing_new(plane: ControlPlane) -> None:
    await plane.writer.create(_class(), by=ADMIN)
    await plane.writer.create(_service(), by=ADMIN)
    await plane.writer.create(_new(ingress("web", default="web")), by=ADMIN)
    await until(lambda: _file(plane, "default.map") == "* default_web_80\n")
    before = plane.reader.get(Secret, SYSTEM, PROXY_SECRET)
    await plane.restart()
    made = ingress("more", Path("foo.com", "/", "Prefix", "web"))
    await plane.writer.create(_new(made, "other"), by=ADMIN)
    await until(lambda: plane.runtime.idle)
    assert plane.reader.get(Secret, SYSTEM, PROXY_SECRET) == before


async def test_what_does_not_fit_is_left_out_the_youngest_first(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await plane.writer.create(_class(), by=ADMIN)
    await until(lambda: _file(plane, "haproxy.cfg"))
    await plane.writer.create(_service(), by=ADMIN)
    secret = plane.reader.get(Secret, SYSTEM, PROXY_SECRET)
    assert secret is not None
    room = size_of(secret.data) + 200
    monkeypatch.setattr(controller, "MOST_BYTES", room)
    for number in range(9):
        path = "/" + "x" * 60
        await plane.writer.create(_new(ingress(f"i{number}", Path(f"h{number}.com", path, "Prefix", "web"))), by=ADMIN)
    await until(lambda: "ProxyFull" in "".join(_events(plane, "i8")))
    await until(lambda: _file(plane, "prefix.map"))
    secret = plane.reader.get(Secret, SYSTEM, PROXY_SECRET)
    assert secret is not None
    assert size_of(secret.data) <= room
    assert _file(plane, "hosts.map").startswith("h0.com h0.com\n")
    assert _events(plane, "i0") == []


async def test_the_proxies_ports_are_given_to_no_service(plane: ControlPlane) -> None:
    def address(obj: Node) -> None:
        obj.status.addresses.add(type="InternalIP", address="192.0.2.1")

    def reached(name: str = "web") -> list[str]:
        found = plane.reader.get(Service, "default", name)
        return [i.ip for i in found.status.load_balancer.ingress] if found is not None else []

    await plane.writer.mutate(Node, "", "n1", address, by=ADMIN, subresource="status")
    await plane.writer.create(_service(type="LoadBalancer"), by=ADMIN)
    await until(lambda: reached() == ["192.0.2.1"])
    await plane.writer.create(_class(), by=ADMIN)
    await until(lambda: reached() == [])
    await until(lambda: "answered by the nodes themselves" in "".join(_events(plane, "web")))
    await plane.writer.delete(Key("IngressClass", "", "podium"), by=ADMIN)
    await until(lambda: reached() == ["192.0.2.1"])
