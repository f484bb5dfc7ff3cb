"""What Ingresses mean: of which class they are, what each claims, who gets what two claim, what a request meets.

Precedence is Kubernetes' (`networking.k8s.io/v1` IngressRule, HTTPIngressPath): the host first (itself, then `*.` for
one label, then rules without a host), then the path: Exact before Prefix, and of prefixes the longest. A prefix matches
whole elements: `/foo` is `/foo/` and `/foo/bar`, and not `/foobar`. What no path of the host takes goes to the host's
default backend, and then to the default backend of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from podium.objects.kinds import Key, key_of
from podium.objects.service import EXTERNAL_NAME, TCP
from podium.v1.ingress_pb2 import Ingress, IngressClass, IngressServiceBackend
from podium.v1.networking_pb2 import Service, ServicePort

CONTROLLER = "podium.dev/ingress"
"""What an IngressClass says that Podium's own proxy serves."""
DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
"""The class, as it was said before there was a field for it."""

PROXY_LABEL = "podium.dev/ingress-proxy"
"""Of the pods, in podium-system, that are Podium's proxies: `"true"`."""

SSL_REDIRECT = "podium.dev/ssl-redirect"
REQUEST_TIMEOUT = "podium.dev/request-timeout"
BACKEND_PROTOCOL = "podium.dev/backend-protocol"
REWRITE_PREFIX = "podium.dev/rewrite-prefix"
HTTP1, H2C = "HTTP", "H2C"

EXACT = "Exact"
EVERY_HOST = ""
"""The host of rules that name none."""


def class_of(ingress: Ingress) -> str:
    """The name of an Ingress's class; empty when it has none."""
    return ingress.spec.ingress_class_name or ingress.metadata.annotations.get(CLASS_ANNOTATION, "")


def is_default(cls: IngressClass) -> bool:
    """Whether Ingresses that name no class get this one."""
    return cls.metadata.annotations.get(DEFAULT_CLASS) == "true"


def default_class(classes: Iterable[IngressClass]) -> IngressClass | None:
    """The class of Ingresses that name none: of several defaults the newest, as in Kubernetes."""
    defaults = (cls for cls in classes if is_default(cls))
    return max(defaults, key=lambda c: (c.metadata.creation_timestamp.seconds, c.metadata.name), default=None)


def served_classes(classes: Iterable[IngressClass]) -> frozenset[str]:
    """Names of the classes that Podium's own proxy serves."""
    return frozenset(cls.metadata.name for cls in classes if cls.spec.controller == CONTROLLER)


def redirects(ingress: Ingress) -> bool:
    """Whether requests in the clear are sent to https at hosts that have a certificate."""
    return ingress.metadata.annotations.get(SSL_REDIRECT, "true") == "true"


def age_of(ingress: Ingress) -> tuple[int, int, str, str]:
    """By what Ingresses are ordered: the oldest first."""
    created, metadata = ingress.metadata.creation_timestamp, ingress.metadata
    return created.seconds, created.nanos, metadata.namespace, metadata.name


# ---------------------------------------------------------------- what one Ingress claims


class Place(NamedTuple):
    """What can be claimed: a path of a host; all that no path takes, when `path` is empty.

    A prefix has no slash at its end, but `/` is itself.
    """

    host: str
    path: str
    exact: bool = False

    def __str__(self) -> str:
        what = f" path {self.path} ({'Exact' if self.exact else 'Prefix'})" if self.path else " what no path takes"
        return f"host {self.host or '*'},{what}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A place, and where one Ingress leads it. `field`: path of the backend within the Ingress."""

    place: Place
    ingress: Key
    backend: IngressServiceBackend
    field: str


def claims_of(ingress: Ingress) -> Iterator[Claim]:
    """All that an Ingress claims, in its own order."""
    key = key_of(ingress)
    for number, rule in enumerate(ingress.spec.rules):
        for index, path in enumerate(rule.http.paths):
            exact = path.path_type == EXACT
            place = Place(rule.host, path.path if exact else prefix(path.path), exact)
            field = f"spec.rules[{number}].http.paths[{index}].backend"
            yield Claim(place, key, path.backend.service, field)
    if ingress.spec.HasField("default_backend"):
        for host in hosts_of(ingress) or (EVERY_HOST,):
            yield Claim(Place(host, ""), key, ingress.spec.default_backend.service, "spec.defaultBackend")


def hosts_of(ingress: Ingress) -> tuple[str, ...]:
    """The hosts of its rules, each once; empty when there are no rules."""
    return tuple(dict.fromkeys(rule.host for rule in ingress.spec.rules))


def prefix(path: str) -> str:
    """A prefix as it is compared: without slashes at its end, but `/` for all."""
    return path.rstrip("/") or "/"


# ---------------------------------------------------------------- who gets what


@dataclass(frozen=True, slots=True)
class Table:
    """What is led where, when several Ingresses are taken together.

    Attributes:
        hosts: That any of them names; `EVERY_HOST` is not one of them.
        claims: Those that hold, by place.
        lost: Those that do not, each with the one that holds instead.
    """

    hosts: frozenset[str]
    claims: Mapping[Place, Claim]
    lost: tuple[tuple[Claim, Claim], ...]


def table_of(ingresses: Iterable[Ingress]) -> Table:
    """Take Ingresses together: a place is the oldest's that claims it."""
    hosts, held, lost = set[str](), dict[Place, Claim](), list[tuple[Claim, Claim]]()
    for ingress in sorted(ingresses, key=age_of):
        hosts.update(hosts_of(ingress))
        for claim in claims_of(ingress):
            holder = held.setdefault(claim.place, claim)
            if holder is not claim:
                lost.append((claim, holder))
    return Table(frozenset(hosts - {EVERY_HOST}), held, tuple(lost))


def match(table: Table, host: str, path: str) -> Claim | None:
    """What a request meets.

    Args:
        table: Of all Ingresses.
        host: In lower case, without a port.
        path: Without the query.
    """
    virtual = _virtual_host(table, host)
    found = table.claims.get(Place(virtual, path, exact=True))
    if found is not None:
        return found
    for candidate in _prefixes(path):
        found = table.claims.get(Place(virtual, candidate))
        if found is not None:
            return found
    return table.claims.get(Place(virtual, "")) or table.claims.get(Place(EVERY_HOST, ""))


def _virtual_host(table: Table, host: str) -> str:
    label, _, parent = host.partition(".")
    if host in table.hosts:
        return host
    return f"*.{parent}" if label and f"*.{parent}" in table.hosts else EVERY_HOST


def _prefixes(path: str) -> Iterator[str]:
    """All prefixes of a path, the longest first."""
    while path not in ("", "/"):
        yield path.rstrip("/") or "/"
        path = path.rstrip("/").rpartition("/")[0]
    yield "/"


# ---------------------------------------------------------------- what is behind it


def port_of(backend: IngressServiceBackend, namespace: str, service: Service | None) -> ServicePort | str:
    """The service's port that a backend means; or why it leads nowhere, in words.

    Args:
        backend: Of an Ingress.
        namespace: The Ingress's, and so the service's.
        service: Of the backend's name, None when there is none.
    """
    named = f"service {namespace}/{backend.name}"
    if service is None:
        return f"{named} is not there"
    if service.spec.type == EXTERNAL_NAME:
        return f"{named} is but another name for {service.spec.external_name}: Ingresses lead to pods only"
    wanted = backend.port.name or backend.port.number
    for port in service.spec.ports:
        if wanted in (port.name, port.port) and (port.protocol or TCP) == TCP:
            return port
    return f"{named} has no TCP port {wanted}"
