"""Ingresses: what is led where, with which certificates, and where the hosts are that do it."""

from __future__ import annotations

import datetime

from podium.cli.describe.page import Page, header
from podium.objects.ingress import class_of, is_default
from podium.v1.ingress_pb2 import HTTPIngressPath, Ingress, IngressBackend, IngressClass


def ingress(page: Page, obj: Ingress, now: datetime.datetime) -> None:
    """Its rules as a table."""
    header(page, obj)
    spec = obj.spec
    page.field("Class", class_of(obj) or "<none>: nobody serves it")
    page.field("Address", ", ".join(i.ip for i in obj.status.load_balancer.ingress) or "<pending>")
    page.field("Default Backend", backend(spec.default_backend) if spec.HasField("default_backend") else "")
    if spec.tls:
        with page.section("TLS"):
            rows = [[t.secret_name, ", ".join(t.hosts) or "those of the certificate"] for t in spec.tls]
            page.table(["SECRET", "HOSTS"], rows)
    if spec.rules:
        with page.section("Rules"):
            page.table(["HOST", "PATH", "TYPE", "BACKEND"], _rules(obj))


def ingress_class(page: Page, obj: IngressClass, now: datetime.datetime) -> None:
    """Who serves it."""
    header(page, obj)
    page.field("Controller", obj.spec.controller)
    page.field("Default", "Yes" if is_default(obj) else "No")


def backend(obj: IngressBackend) -> str:
    """`web:80`."""
    return f"{obj.service.name}:{obj.service.port.name or obj.service.port.number}"


def _rules(obj: Ingress) -> list[list[str]]:
    rows = []
    for rule in obj.spec.rules:
        host = rule.host or "*"
        rows += [[host, *_path(path)] for path in rule.http.paths]
        if not rule.http.paths:
            rows.append([host, "-", "-", "the default backend"])
    return rows


def _path(path: HTTPIngressPath) -> list[str]:
    return [path.path or "/", path.path_type, backend(path.backend)]
