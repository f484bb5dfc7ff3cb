"""Ingresses for tests, and what a request meets, told the slow way: from the rules themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from podium.v1.ingress_pb2 import Ingress

HOSTS = ("", "foo.com", "a.foo.com", "*.foo.com", "*.a.foo.com")
ASKED_HOSTS = ("foo.com", "a.foo.com", "b.foo.com", "c.a.foo.com", "d.c.a.foo.com", "other.org", "com", ".foo.com")
PATHS = ("/", "/a", "/a/", "/a/b", "/a/b/", "/ab", "/a/b/c", "/A", "/a.b")
ASKED_PATHS = (*PATHS, "/a/bc", "/a//b", "//", "/ab/c", "/a/b/c/d/e", "/b", "/a%2Fb")
TYPES = ("Exact", "Prefix", "ImplementationSpecific")


class Path(NamedTuple):
    """One rule's path. `service` names what it leads to."""

    host: str
    path: str
    type: str
    service: str


def ingress(name: str, *paths: Path, default: str = "", age: int = 0, namespace: str = "default") -> Ingress:
    """An Ingress of class `podium` as it is stored. `age`: the smaller, the older."""
    made = Ingress()
    made.metadata.name, made.metadata.namespace = name, namespace
    made.metadata.uid = f"uid-{namespace}-{name}"
    made.metadata.creation_timestamp.seconds = age + 1
    made.spec.ingress_class_name = "podium"
    for path in paths:
        rule = made.spec.rules.add(host=path.host)
        there = rule.http.paths.add(path=path.path, path_type=path.type)
        there.backend.service.name, there.backend.service.port.number = path.service, 80
    if default:
        made.spec.default_backend.service.name, made.spec.default_backend.service.port.number = default, 80
    return made


@st.composite
def ingresses(draw: st.DrawFn) -> list[Ingress]:
    """A few Ingresses of which many claim the same; every backend is another service."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        chosen = draw(
            st.lists(st.tuples(st.sampled_from(HOSTS), st.sampled_from(PATHS), st.sampled_from(TYPES)), max_size=5)
        )
        paths = [Path(h, p, t, f"s{number}-{index}") for index, (h, p, t) in enumerate(chosen)]
        default = f"d{number}" if not paths or draw(st.booleans()) else ""
        made.append(ingress(f"i{number}", *paths, default=default, age=draw(st.integers(0, 2))))
    return made


def expected(made: Iterable[Ingress], host: str, path: str) -> str:
    """The service that a request is led to; empty when there is none."""
    oldest_first = sorted(made, key=lambda i: (i.metadata.creation_timestamp.seconds, i.metadata.name))
    rules = [(i, rule) for i in oldest_first for rule in i.spec.rules]
    most = max((_host_rank(rule.host, host) for _, rule in rules), default=0)
    matching = [(i, rule) for i, rule in rules if most and _host_rank(rule.host, host) == most]
    ranked = [
        (_path_rank(p.path_type, p.path, path), p.backend.service.name)
        for _, rule in matching
        for p in rule.http.paths
        if _path_rank(p.path_type, p.path, path) is not None
    ]
    if ranked:
        best = max(rank for rank, _ in ranked if rank is not None)
        return next(service for rank, service in ranked if rank == best)
    own = [i.spec.default_backend.service.name for i, _ in matching if most > 1]
    anywhere = [
        i.spec.default_backend.service.name
        for i in oldest_first
        if not i.spec.rules or any(not rule.host for rule in i.spec.rules)
    ]
    return next((name for name in (*own, *anywhere) if name), "")


def _host_rank(rule: str, asked: str) -> int:
    """3: precise, 2: wildcard for one label, 1: any host, 0: does not match."""
    if not rule:
        return 1
    if rule.startswith("*."):
        label, _, rest = asked.partition(".")
        return 2 if label and rest == rule[2:] else 0
    return 3 if rule == asked else 0


def _path_rank(kind: str, rule: str, asked: str) -> tuple[int, int] | None:
    """Longest first, exact before prefix; compared element by element."""
    if kind == "Exact":
        return (1, 0) if rule == asked else None
    wanted, found = _elements(rule), _elements(asked)
    return (0, len(wanted)) if found[: len(wanted)] == wanted else None


def _elements(path: str) -> Sequence[str]:
    return path.rstrip("/").split("/")[1:]
