"""What is refused of Ingresses and their classes, by path; and that nothing else is."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

import copy
from typing import Any

import pytest

from master.admission import apply_defaults, validate
from podium.codec.json import object_from_dict
from podium.errors import Invalid

BACKEND: dict[str, Any] = {"service": {"name": "web", "port": {"number": 80}}}
PATH = "spec.rules[0].http.paths[0]"


def _object(kind: str, metadata: dict[str, Any], **body: Any) -> Any:
    obj = object_from_dict(
        {"apiVersion": "networking.k8s.io/v1", "kind": kind, "metadata": {"name": "x", **metadata}, **body}
    )
    apply_defaults(obj)
    return obj


def ingress(annotations: dict[str, str] | None = None, **spec: Any) -> Any:
    return _object("Ingress", {"annotations": annotations or {}}, spec=spec)


def at(path: str, path_type: str = "Prefix", backend: Any = BACKEND) -> Any:
    return ingress(rules=[{"http": {"paths": [{"path": path, "pathType": path_type, "backend": backend}]}}])


def host(name: str) -> Any:
    return ingress(rules=[{"host": name}])


def behind(port: dict[str, Any], name: str = "web") -> Any:
    return ingress(defaultBackend={"service": {"name": name, "port": port}})


def tls(**said: Any) -> Any:
    return ingress(defaultBackend=BACKEND, tls=[{"secretName": "x", **said}])


def noted(name: str, value: str, **spec: Any) -> Any:
    return ingress({name: value}, defaultBackend=BACKEND, **spec)


def cls(controller: str = "podium.dev/ingress") -> Any:
    return _object("IngressClass", {}, spec={"controller": controller})


def refusals(obj: Any, old: Any = None) -> dict[str, str]:
    return {violation.field: violation.description for violation in validate(obj, old)}


@pytest.mark.parametrize(
    "obj",
    [
        at("/"), at("/foo/"), at("/foo", "Exact"), at("", "ImplementationSpecific"), at("/a//b", "ImplementationSpecific"),
        at("/%C3%A9;v=1,2'\"\\"), host("example.com"), host("*.example.com"), behind({"name": "http"}),
        tls(hosts=["a.example.com", "*.example.com"]), tls(), cls(), cls("k8s.io/ingress-nginx"), cls("example.com/a/b"),
        noted("podium.dev/ssl-redirect", "false"), noted("podium.dev/request-timeout", "1h30m"),
        noted("podium.dev/backend-protocol", "H2C"), noted("kubernetes.io/ingress.class", "a", ingressClassName="a"),
        noted("podium.dev/rewrite-prefix", "/a.b/c_d~e-f/"),
    ],
)  # fmt: skip
def test_these_are_taken(obj: Any) -> None:
    assert refusals(obj) == {}


@pytest.mark.parametrize(
    ("obj", "field", "words"),
    [
        (ingress(), "spec.rules", "is required"),
        (ingress(rules=[{"http": {}}]), "spec.rules[0].http.paths", "is required"),
        (at("foo"), f"{PATH}.path", 'must begin with "/"'),
        (at("", "Exact"), f"{PATH}.path", 'must begin with "/"'),
        (at("x", "ImplementationSpecific"), f"{PATH}.path", 'must begin with "/"'),
        (at("/a//b"), f"{PATH}.path", 'must not contain "//"'),
        (at("/a/../b", "Exact"), f"{PATH}.path", 'must not contain "/../"'),
        (at("/a%2Fb"), f"{PATH}.path", 'must not contain "%2F"'),
        (at("/a/.."), f"{PATH}.path", 'must not end with "/.."'),
        (at("/a b"), f"{PATH}.path", "as it is sent"),
        (at("/a\nb", "ImplementationSpecific"), f"{PATH}.path", "as it is sent"),
        (at("/é"), f"{PATH}.path", "as it is sent"),
        (at("/a?b=c"), f"{PATH}.path", "without a query"),
        (at("/", "Regex"), f"{PATH}.pathType", "Exact, Prefix, ImplementationSpecific"),
        (at("/", ""), f"{PATH}.pathType", "is required"),
        (at("/", backend={}), f"{PATH}.backend.service", "is required"),
        (host("192.0.2.1"), "spec.rules[0].host", "not an address"),
        (host("Example.com"), "spec.rules[0].host", "lower-case"),
        (host("example.com:80"), "spec.rules[0].host", "lower-case"),
        (host("*"), "spec.rules[0].host", "wildcard"),
        (host("a.*.com"), "spec.rules[0].host", "wildcard"),
        (host("*.*.com"), "spec.rules[0].host", "wildcard"),
        (behind({}), "spec.defaultBackend.service.port", "either name or number"),
        (behind({"name": "a", "number": 1}), "spec.defaultBackend.service.port", "not both"),
        (behind({"number": 70000}), "spec.defaultBackend.service.port.number", "between 1 and 65535"),
        (behind({"name": "not_a_name"}), "spec.defaultBackend.service.port.name", "lower-case"),
        (behind({"number": 80}, name="a.b"), "spec.defaultBackend.service.name", "lower-case"),
        (tls(secretName=""), "spec.tls[0].secretName", "is required"),
        (tls(hosts=["-"]), "spec.tls[0].hosts[0]", "must"),
        (ingress(defaultBackend=BACKEND, ingressClassName="A"), "spec.ingressClassName", "lower-case"),
        (noted("kubernetes.io/ingress.class", "a", ingressClassName="b"),
         "metadata.annotations[kubernetes.io/ingress.class]", 'must be "b"'),
        (noted("podium.dev/ssl-redirect", "no"), "metadata.annotations[podium.dev/ssl-redirect]", '"true" or "false"'),
        (noted("podium.dev/request-timeout", "60"), "metadata.annotations[podium.dev/request-timeout]", "such as 30s"),
        (noted("podium.dev/request-timeout", "0s"), "metadata.annotations[podium.dev/request-timeout]", "such as 30s"),
        (noted("podium.dev/backend-protocol", "FCGI"), "metadata.annotations[podium.dev/backend-protocol]", "HTTP, H2C"),
        (noted("podium.dev/rewrite-prefix", "a"), "metadata.annotations[podium.dev/rewrite-prefix]", 'must begin with "/"'),
        (noted("podium.dev/rewrite-prefix", "/a%[src]"), "metadata.annotations[podium.dev/rewrite-prefix]", "only letters"),
        (noted("podium.dev/rewrite-prefix", "/a b"), "metadata.annotations[podium.dev/rewrite-prefix]", "only letters"),
        (cls(""), "spec.controller", "is required"),
        (cls("nginx"), "spec.controller", "a domain and a path"),
    ],
)  # fmt: skip
def test_these_are_refused(obj: Any, field: str, words: str) -> None:
    found = refusals(obj)
    assert words in found.get(field, ""), found


def test_what_podium_has_not_is_refused_by_its_path() -> None:
    with pytest.raises(Invalid, match="resource"):
        ingress(defaultBackend={"resource": {"apiGroup": "k8s.example.com", "kind": "StorageBucket", "name": "static"}})
    with pytest.raises(Invalid, match="parameters"):
        _object("IngressClass", {}, spec={"controller": "podium.dev/ingress", "parameters": {"kind": "X", "name": "x"}})


def test_who_serves_a_class_stays() -> None:
    old = cls()
    new = copy.deepcopy(old)
    assert refusals(new, old) == {}
    new.spec.controller = "example.com/other"
    assert "is immutable" in refusals(new, old)["spec.controller"]
