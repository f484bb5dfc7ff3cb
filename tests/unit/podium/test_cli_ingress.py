"""Ingresses on the command line: made from words, shown in tables and described."""

from __future__ import annotations

from typing import Any

import pytest

from podium.aio.clock import SystemClock
from podium.cli.commands.create_ingress import ingress_of
from podium.cli.describe.objects import describe
from podium.cli.describe.page import Page
from podium.cli.output.columns import cells, columns_of
from podium.codec.json import object_from_dict, to_dict
from podium.errors import BadRequest
from podium.objects.kinds import kind_of

NOW = SystemClock().now()


def test_rules_of_one_host_are_put_together() -> None:
    rules = ["foo.com/*=web:80,tls=foo-tls", "foo.com/pay=pay:http,tls=foo-tls", "/static*=files:80"]
    made = to_dict(ingress_of("x", rules, default="web:80", class_name="podium", annotations={"a": "b"}))
    assert made["metadata"]["annotations"] == {"a": "b"}
    web, pay = ({"service": {"name": n, "port": p}} for n, p in (("web", {"number": 80}), ("pay", {"name": "http"})))
    assert made["spec"] == {
        "ingressClassName": "podium", "defaultBackend": web,
        "tls": [{"hosts": ["foo.com"], "secretName": "foo-tls"}],
        "rules": [
            {"host": "foo.com", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": web},
                {"path": "/pay", "pathType": "Exact", "backend": pay},
            ]}},
            {"http": {"paths": [{"path": "/static", "pathType": "Prefix", "backend":
                                 {"service": {"name": "files", "port": {"number": 80}}}}]}},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "words"),
    [("foo.com=web:80", "HOST/PATH"), ("foo.com/", "HOST/PATH"), ("foo.com/=web", "SERVICE:PORT"),
     ("foo.com/=web:80,ssl=x", "tls=SECRET"), ("foo.com/=web:80,tls", "tls=SECRET")],
)  # fmt: skip
def test_rules_that_are_none_are_refused(rule: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        ingress_of("x", [rule])


def _row(obj: Any) -> list[str]:
    return cells(obj, columns_of(kind_of(obj), wide=False, namespaces=False, labels=False), NOW)[:-1]


def test_the_table() -> None:
    made = ingress_of("x", [f"{h}.com/=web:80,tls=t" for h in "abcde"], class_name="podium")
    made.status.load_balancer.ingress.add(ip="192.0.2.1")
    made.status.load_balancer.ingress.add(ip="192.0.2.2")
    assert _row(made) == ["x", "podium", "a.com,b.com,c.com + 2 more...", "192.0.2.1,192.0.2.2", "80, 443"]
    assert _row(ingress_of("x", [], default="web:80")) == ["x", "<none>", "*", "", "80"]


def _described(obj: Any) -> str:
    page = Page()
    describe(page, obj, NOW)
    return "\n".join(" ".join(line.split()) for line in str(page).split("\n"))


def test_it_is_described() -> None:
    made = ingress_of("x", ["foo.com/a*=web:80,tls=foo-tls", "/=any:http"], default="web:80", class_name="podium")
    made.spec.rules.add(host="bare.com")
    said = _described(made)
    for line in ("Class: podium", "Address: <pending>", "Default Backend: web:80", "foo-tls foo.com",
                 "foo.com /a Prefix web:80", "* / Exact any:http", "bare.com - - the default backend"):  # fmt: skip
        assert line in said
    assert "nobody serves it" in _described(ingress_of("x", [], default="web:80"))


def test_classes_are_shown() -> None:
    made = object_from_dict(
        {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
         "metadata": {"name": "podium", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
         "spec": {"controller": "podium.dev/ingress"}}
    )  # fmt: skip
    assert _row(made) == ["podium (default)", "podium.dev/ingress"]
    assert "Default: Yes" in _described(made)
