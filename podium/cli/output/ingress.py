"""`podium explain ingress`: where an Ingress's rules lead, or which rule of which Ingress an address meets."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from podium.cli.output import table
from podium.cli.session import Session
from podium.errors import BadRequest, Forbidden, NotFound
from podium.objects.ingress import Claim, Table, claims_of, class_of, match, port_of, served_classes, table_of
from podium.objects.meta import is_terminating
from podium.objects.selectors import from_labels
from podium.objects.service import SERVICE_LABEL, takes_connections
from podium.v1.core_pb2 import Secret
from podium.v1.ingress_pb2 import Ingress, IngressClass
from podium.v1.networking_pb2 import EndpointSlice, Service


async def explain_ingress(session: Session, name: str) -> str:
    """Each rule of one Ingress: whether it holds, and who answers.

    Raises:
        NotFound: There is no such Ingress.
    """
    ingress = await session.client.get(Ingress, name)
    classes = await session.client.list(IngressClass)
    lines = [_served(ingress, classes)]
    held = await _table(session, classes)
    rows = []
    for claim in claims_of(ingress):
        place = claim.place
        path = f"{place.path} ({'Exact' if place.exact else 'Prefix'})" if place.path else "(what no path takes)"
        rows.append([place.host or "*", path, _backend(claim), await _leads(session, claim, held)])
    lines += ["", table.render(["HOST", "PATH", "BACKEND", "LEADS"], rows)]
    lines += [await _certificate(session, ingress, tls.secret_name, tls.hosts) for tls in ingress.spec.tls]
    return "\n".join(lines)


async def explain_address(session: Session, url: str) -> str:
    """Which rule of which Ingress a request for this address meets, and who answers.

    Raises:
        BadRequest: It is not an http or https address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadRequest(f'"{url}" must be like https://shop.example.com/path')
    held = await _table(session, await session.client.list(IngressClass))
    found = match(held, parts.hostname.rstrip("."), parts.path or "/")
    if found is None:
        return f"{url} is answered with 404: no rule is for it, and there is no default backend"
    named = f"{found.ingress.namespace}/{found.ingress.name}"
    return (
        f"{url} meets {found.place} of ingress {named} ({found.field})\n"
        f"and leads to {_backend(found)}: {await _leads(session, found, held)}"
    )


def _served(ingress: Ingress, classes: Sequence[IngressClass]) -> str:
    name, known = class_of(ingress), {cls.metadata.name: cls for cls in classes}
    begin = f"ingress {ingress.metadata.namespace}/{ingress.metadata.name} is"
    if not name:
        return f"{begin} of no class, so nobody serves it: set spec.ingressClassName"
    if name not in known:
        return f'{begin} of class "{name}", which is not there, so nobody serves it'
    if name not in served_classes(classes):
        return f'{begin} of class "{name}", which {known[name].spec.controller} serves'
    addresses = ", ".join(i.ip for i in ingress.status.load_balancer.ingress)
    return f'{begin} of class "{name}", ' + (f"served at {addresses}" if addresses else "but no proxy is ready")


async def _table(session: Session, classes: Sequence[IngressClass]) -> Table:
    served = served_classes(classes)
    found = await session.client.list(Ingress, all_namespaces=True)
    return table_of(i for i in found if class_of(i) in served and not is_terminating(i))


def _backend(claim: Claim) -> str:
    port = claim.backend.port
    return f"{claim.ingress.namespace}/{claim.backend.name}:{port.name or port.number}"


async def _leads(session: Session, claim: Claim, held: Table) -> str:
    holder = held.claims.get(claim.place)
    if holder is not None and (holder.ingress, holder.field) != (claim.ingress, claim.field):
        whose = "an earlier rule" if holder.ingress == claim.ingress else f"ingress {_older(holder)}"
        return f"nowhere: {whose} leads it to {_backend(holder)}"
    namespace = claim.ingress.namespace
    try:
        service = await session.client.get(Service, claim.backend.name, namespace=namespace)
    except NotFound:
        service = None
    port = port_of(claim.backend, namespace, service)
    if isinstance(port, str):
        return f"nowhere (503): {port}"
    selector = str(from_labels({SERVICE_LABEL: claim.backend.name}))
    slices = await session.client.list(EndpointSlice, namespace=namespace, selector=selector)
    endpoints = [endpoint for part in slices for endpoint in part.endpoints]
    ready = sum(1 for endpoint in endpoints if takes_connections(endpoint))
    return f"{ready} of {len(endpoints)} pods are ready" if ready else "nowhere (503): no pod of the service is ready"


def _older(holder: Claim) -> str:
    return f"{holder.ingress.namespace}/{holder.ingress.name}, which is older,"


async def _certificate(session: Session, ingress: Ingress, name: str, hosts: Sequence[str]) -> str:
    where = ", ".join(hosts) or "the names of its certificate"
    namespace = ingress.metadata.namespace
    try:
        secret = await session.client.get(Secret, name, namespace=namespace)
    except NotFound:
        state = "is not there"
    except Forbidden:
        state = "may not be seen by you"
    else:
        right = secret.type == "kubernetes.io/tls"
        state = "is there" if right else f"is of type {secret.type}, not kubernetes.io/tls"
    return f"secret {namespace}/{name} for {where} {state}"
