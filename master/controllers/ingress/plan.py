"""What the proxies are to do, and what is wrong with which Ingress. Pure.

A route leads to a service's own address: who answers there is a matter of the kernel's rules on each host, which change
within milliseconds of a pod's readiness and keep what is being drained. So pods come and go, and the proxies are told
nothing. Only a headless service, which has no address, is led to by its endpoints' own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from master.controllers.ingress.certificates import Certificate
from podium.objects import duration
from podium.objects.ingress import (
    BACKEND_PROTOCOL,
    H2C,
    REQUEST_TIMEOUT,
    REWRITE_PREFIX,
    Claim,
    Place,
    Table,
    age_of,
    port_of,
    redirects,
    table_of,
)
from podium.objects.kinds import Key, key_of
from podium.objects.service import cluster_addresses, is_headless, takes_connections
from podium.v1.ingress_pb2 import Ingress
from podium.v1.networking_pb2 import EndpointSlice, Service, ServicePort


class Server(NamedTuple):
    """Where a backend is reached."""

    address: str
    port: int


class Rewrite(NamedTuple):
    """A path loses as many characters at its beginning, and gets these instead."""

    length: int
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What a route leads to.

    Attributes:
        servers: Its addresses; without any it answers 503.
        missing: Whether what it should lead to is not there.
        timeout: Seconds in which an answer must begin; None for the proxy's own.
        h2c: Whether it is spoken to in HTTP/2, in the clear.
        rewrite: How paths are changed, None when they are not.
    """

    servers: tuple[Server, ...] = ()
    missing: bool = False
    timeout: float | None = None
    h2c: bool = False
    rewrite: Rewrite | None = None


class Problem(NamedTuple):
    """Something that keeps a part of an Ingress from working: an event's reason and message."""

    reason: str
    message: str


class Around(NamedTuple):
    """What a plan looks at, by namespace and name.

    Attributes:
        service: The service, None when there is none.
        slices: The service's EndpointSlices.
        certificate: Of a Secret; why it cannot be shown, in words, when it cannot.
    """

    service: Callable[[str, str], Service | None]
    slices: Callable[[str, str], Iterable[EndpointSlice]]
    certificate: Callable[[str, str], Certificate | str]


@dataclass(frozen=True, slots=True)
class Plan:
    """See the module.

    Attributes:
        table: What is led where, as Ingresses say.
        routes: The name of the backend, by place.
        backends: By name.
        certificates: Each with the names for which it is shown.
        secure: Names at which requests in the clear are sent to https.
        problems: Of Ingresses that have any.
    """

    table: Table
    routes: Mapping[Place, str]
    backends: Mapping[str, Backend]
    certificates: Mapping[Certificate, tuple[str, ...]]
    secure: frozenset[str]
    problems: Mapping[Key, tuple[Problem, ...]]

    def with_problems(self, problems: Mapping[Key, tuple[Problem, ...]]) -> Plan:
        """The same, with these problems instead."""
        return replace(self, problems=problems)


def plan_proxy(ingresses: Sequence[Ingress], around: Around) -> Plan:
    """Decide for all Ingresses that are to be served."""
    table = table_of(ingresses)
    problems: dict[Key, list[Problem]] = {}
    _note_lost(table, problems)
    by_key = {key_of(ingress): ingress for ingress in ingresses}
    routes, backends = _routes(table, by_key, around, problems)
    certificates, secure = _certificates(ingresses, around, problems)
    told = {key: tuple(dict.fromkeys(found)) for key, found in problems.items()}
    return Plan(table, routes, backends, certificates, secure, told)


def _note_lost(table: Table, problems: dict[Key, list[Problem]]) -> None:
    for lost, holder in table.lost:
        if (lost.ingress, lost.backend) == (holder.ingress, holder.backend):
            continue  # said twice
        whose = "an earlier rule of it" if lost.ingress == holder.ingress else f"Ingress {_named(holder.ingress)}"
        message = f"{lost.field}: {lost.place} is led elsewhere by {whose}"
        problems.setdefault(lost.ingress, []).append(Problem("RouteTaken", message))


# ---------------------------------------------------------------- backends


def _routes(
    table: Table, ingresses: Mapping[Key, Ingress], around: Around, problems: dict[Key, list[Problem]]
) -> tuple[dict[Place, str], dict[str, Backend]]:
    routes, backends = dict[Place, str](), dict[str, Backend]()
    for place, claim in table.claims.items():
        name, backend, problem = _backend(claim, ingresses[claim.ingress], around)
        routes[place], backends[name] = name, backend
        if problem:
            problems.setdefault(claim.ingress, []).append(Problem("BackendMissing", f"{claim.field}: {problem}"))
    return routes, backends


def _backend(claim: Claim, ingress: Ingress, around: Around) -> tuple[str, Backend, str]:
    """Its name, itself, and what is wrong with it."""
    namespace, name = claim.ingress.namespace, claim.backend.name
    service = around.service(namespace, name)
    port = port_of(claim.backend, namespace, service)
    if isinstance(port, str) or service is None:
        wanted = claim.backend.port.name or claim.backend.port.number
        return f"missing__{namespace}_{name}_{wanted}", Backend(missing=True), str(port)
    annotations = ingress.metadata.annotations
    made = Backend(
        servers=_servers(service, port, around),
        timeout=duration.seconds(annotations[REQUEST_TIMEOUT]) if REQUEST_TIMEOUT in annotations else None,
        h2c=_speaks_http2(annotations.get(BACKEND_PROTOCOL), port),
        rewrite=_rewrite(claim.place, annotations.get(REWRITE_PREFIX)),
    )
    return f"{namespace}_{name}_{port.port}{_options(made)}", made, ""


def _speaks_http2(said: str | None, port: ServicePort) -> bool:
    """What the Ingress says counts, then what the service does (KEP-3726)."""
    return said == H2C if said is not None else port.app_protocol == "kubernetes.io/h2c"


def _options(backend: Backend) -> str:
    """What tells backends of one service apart."""
    said = "_h2c" if backend.h2c else ""
    if backend.timeout is not None:
        said += f"_{milliseconds(backend.timeout)}ms"
    if backend.rewrite is not None:
        said += f"_{backend.rewrite.length}_{hashlib.sha256(backend.rewrite.to.encode()).hexdigest()[:12]}"
    return said


def _rewrite(place: Place, to: str | None) -> Rewrite | None:
    """What no path takes has nothing to be replaced."""
    if to is None or not place.path:
        return None
    return Rewrite(len(place.path if place.exact else place.path.rstrip("/")), to)


def milliseconds(seconds: float) -> int:
    """As the proxy counts, at least one."""
    return max(1, round(seconds * 1000))


def _servers(service: Service, port: ServicePort, around: Around) -> tuple[Server, ...]:
    if not is_headless(service.spec):
        return tuple(Server(address, port.port) for address in cluster_addresses(service.spec)[:1])
    found = {
        Server(address, each.port)
        for part in around.slices(service.metadata.namespace, service.metadata.name)
        for each in part.ports
        if each.name == port.name
        for endpoint in part.endpoints
        if takes_connections(endpoint)
        for address in endpoint.addresses[:1]
    }
    return tuple(sorted(found))


# ---------------------------------------------------------------- certificates


def _certificates(
    ingresses: Iterable[Ingress], around: Around, problems: dict[Key, list[Problem]]
) -> tuple[dict[Certificate, tuple[str, ...]], frozenset[str]]:
    """Which certificate is shown for which names: a name is the oldest Ingress's that has a certificate for it."""
    held: dict[str, tuple[Certificate, Key]] = {}
    secure = set[str]()
    for ingress in sorted(ingresses, key=age_of):
        key = key_of(ingress)
        for number, tls in enumerate(ingress.spec.tls):
            found = around.certificate(key.namespace, tls.secret_name)
            if not isinstance(found, str) and not (tls.hosts or found.names):
                found = "has a certificate for no DNS name, and spec.tls says no hosts"
            if isinstance(found, str):
                message = f"spec.tls[{number}].secretName: secret {key.namespace}/{tls.secret_name} {found}"
                problems.setdefault(key, []).append(Problem("CertificateMissing", message))
                continue
            for name in tls.hosts or found.names:
                certificate, holder = held.setdefault(name, (found, key))
                if holder == key and redirects(ingress):
                    secure.add(name)
                if certificate != found:
                    message = f"spec.tls[{number}]: host {name} shows the certificate of Ingress {_named(holder)}"
                    problems.setdefault(key, []).append(Problem("CertificateTaken", message))
    shown: dict[Certificate, list[str]] = {}
    for name, (certificate, _) in held.items():
        shown.setdefault(certificate, []).append(name)
    return {certificate: tuple(sorted(names)) for certificate, names in shown.items()}, frozenset(secure)


def _named(key: Key) -> str:
    return f"{key.namespace}/{key.name}"
