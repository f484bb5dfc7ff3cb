"""What an Ingress claims, who gets it, and what a request meets."""

# ruff: noqa: E501  — tables: one case, one line

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.objects.ingress import Place, class_of, default_class, match, redirects, served_classes, table_of
from podium.v1.ingress_pb2 import Ingress, IngressClass
from tests.golden import MANIFESTS, admitted
from tests.support.ingress import ASKED_HOSTS, ASKED_PATHS, Path, expected, ingress, ingresses


def _led(made: list[Ingress], host: str, path: str) -> str:
    found = match(table_of(made), host, path)
    return found.backend.name if found is not None else ""


@settings(max_examples=300, deadline=None)
@given(ingresses(), st.sampled_from(ASKED_HOSTS), st.sampled_from(ASKED_PATHS))
def test_a_request_meets_what_kubernetes_says(made: list[Ingress], host: str, path: str) -> None:
    assert _led(made, host, path) == expected(made, host, path)


@pytest.mark.parametrize(
    ("kind", "rules", "asked", "met"),
    [  # the table of examples in Kubernetes' documentation of Ingress
        ("Prefix", ["/"], "/any/path", "/"), ("Exact", ["/foo"], "/foo", "/foo"), ("Exact", ["/foo"], "/bar", ""),
        ("Exact", ["/foo"], "/foo/", ""), ("Exact", ["/foo/"], "/foo", ""), ("Prefix", ["/foo"], "/foo/", "/foo"),
        ("Prefix", ["/foo/"], "/foo", "/foo/"), ("Prefix", ["/foo/"], "/foo/", "/foo/"),
        ("Prefix", ["/aaa/bb"], "/aaa/bbb", ""), ("Prefix", ["/aaa/bbb"], "/aaa/bbb", "/aaa/bbb"),
        ("Prefix", ["/aaa/bbb/"], "/aaa/bbb", "/aaa/bbb/"), ("Prefix", ["/aaa/bbb"], "/aaa/bbb/", "/aaa/bbb"),
        ("Prefix", ["/aaa/bbb"], "/aaa/bbb/ccc", "/aaa/bbb"), ("Prefix", ["/aaa/bbb"], "/aaa/bbbxyz", ""),
        ("Prefix", ["/", "/aaa"], "/aaa/ccc", "/aaa"), ("Prefix", ["/", "/aaa", "/aaa/bbb"], "/aaa/bbb", "/aaa/bbb"),
        ("Prefix", ["/", "/aaa", "/aaa/bbb"], "/ccc", "/"), ("Prefix", ["/aaa"], "/ccc", ""),
    ],
)  # fmt: skip
def test_the_examples_of_the_documentation(kind: str, rules: list[str], asked: str, met: str) -> None:
    made = ingress("x", *(Path("foo.com", rule, kind, f"s{number}") for number, rule in enumerate(rules)))
    found = _led([made], "foo.com", asked)
    assert (rules[int(found[1:])] if found else "") == met


def test_exact_goes_before_prefix() -> None:
    made = ingress("x", Path("", "/foo", "Prefix", "prefix"), Path("", "/foo", "Exact", "exact"))
    assert _led([made], "any.org", "/foo") == "exact"
    assert _led([made], "any.org", "/foo/") == "prefix"


@pytest.mark.parametrize(
    ("host", "met"),
    [("bar.foo.com", True), ("baz.bar.foo.com", False), ("foo.com", False)],
)
def test_a_wildcard_is_one_label(host: str, met: bool) -> None:
    assert bool(_led([ingress("x", Path("*.foo.com", "/", "Prefix", "s"))], host, "/")) is met


def test_a_host_without_paths_keeps_the_wildcards_away() -> None:
    bare = ingress("bare", default="bare")
    bare.spec.rules.add(host="a.foo.com")
    made = [bare, ingress("wild", Path("*.foo.com", "/", "Prefix", "wild"))]
    assert _led(made, "a.foo.com", "/") == "bare"
    assert _led(made, "b.foo.com", "/") == "wild"
    assert _led(made, "other.org", "/") == "", "a default backend is for the hosts of its own Ingress"


def test_what_two_claim_is_the_oldests() -> None:
    new = ingress("new", Path("foo.com", "/a/", "Prefix", "new"), Path("foo.com", "/b", "Exact", "b"), age=2)
    old = ingress("old", Path("foo.com", "/a", "ImplementationSpecific", "old"), age=1)
    table = table_of([new, old])
    assert table.claims[Place("foo.com", "/a")].backend.name == "old"
    ((lost, holder),) = table.lost
    assert (lost.ingress.name, lost.field, holder.ingress.name) == ("new", "spec.rules[0].http.paths[0].backend", "old")
    assert str(lost.place) == "host foo.com, path /a (Prefix)"
    assert _led([new, old], "foo.com", "/b") == "b"


def _class(name: str, *, default: str = "", age: int = 0, controller: str = "podium.dev/ingress") -> IngressClass:
    made = IngressClass()
    made.metadata.name, made.metadata.creation_timestamp.seconds = name, age
    made.spec.controller = controller
    if default:
        made.metadata.annotations["ingressclass.kubernetes.io/is-default-class"] = default
    return made


def test_classes() -> None:
    classes = [_class("a", default="true", age=1), _class("b", default="true", age=2, controller="x.org/y"),
               _class("c", default="false", age=3)]  # fmt: skip
    chosen = default_class(classes)
    assert chosen is not None
    assert chosen.metadata.name == "b", "the newest"
    assert default_class(classes[2:]) is None
    assert served_classes(classes) == {"a", "c"}


def test_the_class_may_be_an_annotation() -> None:
    made = ingress("x", default="s")
    assert class_of(made) == "podium"
    made.spec.ingress_class_name = ""
    assert class_of(made) == ""
    made.metadata.annotations["kubernetes.io/ingress.class"] = "old"
    assert class_of(made) == "old"


def test_redirects_unless_told_not_to() -> None:
    made = ingress("x", default="s")
    assert redirects(made)
    made.metadata.annotations["podium.dev/ssl-redirect"] = "false"
    assert not redirects(made)


@pytest.mark.parametrize(
    ("name", "host", "path", "met"),
    [
        ("minimal-ingress", "any.org", "/testpath/x", "test"), ("minimal-ingress", "any.org", "/", ""),
        ("ingress-wildcard-host", "foo.bar.com", "/bar", "service1"), ("ingress-wildcard-host", "foo.bar.com", "/foo", ""),
        ("ingress-wildcard-host", "bar.foo.com", "/foo", "service2"), ("ingress-wildcard-host", "foo.com", "/foo", ""),
        ("ingress-wildcard-host", "baz.bar.foo.com", "/foo", ""), ("test-ingress", "any.org", "/any", "test"),
        ("simple-fanout-example", "foo.bar.com", "/foo", "service1"), ("simple-fanout-example", "foo.bar.com", "/bar/x", "service2"),
        ("name-virtual-host-ingress-no-third-host", "first.bar.com", "/", "service1"),
        ("name-virtual-host-ingress-no-third-host", "second.bar.com", "/", "service2"),
        ("name-virtual-host-ingress-no-third-host", "192.0.2.1", "/", "service3"),
        ("tls-example-ingress", "https-example.foo.com", "/", "service1"),
    ],
)  # fmt: skip
def test_the_documentations_manifests_behave(name: str, host: str, path: str, met: str) -> None:
    (manifest,) = [m for m in MANIFESTS if m.stem == "ingresses"]
    (made,) = [obj for obj in admitted(manifest) if isinstance(obj, Ingress) and obj.metadata.name == name]
    assert _led([made], host, path) == met
