"""The cluster's names: what services and their endpoints make of them (Kubernetes' DNS specification 1.1.0). Pure.

    SERVICE.NAMESPACE.svc.DOMAIN               A      the service's address; of a headless one all its endpoints'
                                               CNAME  of an ExternalName service; what it stands for is added
    _PORT._PROTOCOL.SERVICE.NAMESPACE.svc…     SRV    the port's number, and who has it
    HOST.SERVICE.NAMESPACE.svc…                A      one endpoint of a headless service: a StatefulSet's pod
    …in-addr.arpa                              PTR    back from an address to its name

A name that exists has no data for types that are not here (AAAA, above all), which is another answer than a name that
does not exist: resolvers that ask for both take the latter for final.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from podium.objects.service import EXTERNAL_NAME, cluster_addresses, is_headless, takes_connections
from podium.v1.node_session_pb2 import ServiceRoute

TTL = 5
"""Seconds that clients may keep an answer: endpoints move."""
MOST_ALIASES = 8
"""Names that stand for other names, one after the other; more of them lead to nothing."""


class Record(NamedTuple):
    """One resource record: its owner's name, its type, and its data as text (`10 5 80 web.default.svc…` of an SRV)."""

    name: str
    type: str
    data: str


class Answer(NamedTuple):
    """What the cluster's zone says of a name and a type.

    Attributes:
        exists: Whether there is such a name; of an alias, whether there is what it stands for (RFC 6604).
        records: Of the name; of an alias, first the aliases on the way.
        additional: What who reads these will ask next.
        onward: Where aliases lead to a name that is not the cluster's: it is to be asked of others. Stub resolvers
            (glibc's, musl's) take an alias without what it stands for as no answer at all.
        endless: The aliases lead back to themselves, or through too many.
    """

    exists: bool
    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    onward: str = ""
    endless: bool = False


@dataclass(slots=True)
class Zone:
    """Every name of the cluster, kept up service by service.

    Attributes:
        domain: Such as `cluster.local`.
    """

    domain: str
    _records: dict[str, dict[str, list[Record]]] = field(default_factory=dict)
    _of_service: dict[str, tuple[Record, ...]] = field(default_factory=dict)

    def owns(self, name: str) -> bool:
        """Whether a name (lower case, without the final dot) is the cluster's to answer."""
        return name == self.domain or name.endswith(f".{self.domain}")

    def put(self, key: str, route: ServiceRoute | None) -> set[str]:
        """A service (`namespace/name`) came or changed; None: it went.

        Returns:
            The names about which something else may be said now.
        """
        old = self._of_service.get(key, ())
        new = tuple(records_of(route, self.domain)) if route is not None else ()
        if new == old:
            return set()
        self._take_back(old)
        for record in new:
            self._records.setdefault(record.name, {}).setdefault(record.type, []).append(record)
        if new:
            self._of_service[key] = new
        else:
            del self._of_service[key]
        return {record.name for record in (*old, *new)}

    def _take_back(self, records: Iterable[Record]) -> None:
        for record in records:
            types = self._records[record.name]
            types[record.type].remove(record)
            if not types[record.type]:
                del types[record.type]
            if not types:
                del self._records[record.name]

    def answer(self, name: str, type: str) -> Answer | None:
        """What is known of a name; None: it is not the cluster's, ask others."""
        types = self._records.get(name)
        if types is None:
            return Answer(self._is_inner(name)) if self.owns(name) else None
        if "CNAME" in types and type not in ("CNAME", "ANY"):
            return self._follow(name, type)
        found = types.get("CNAME" if type == "ANY" else type, [])
        return Answer(True, tuple(found), tuple(self._targets(found)))

    def _follow(self, name: str, type: str) -> Answer:
        """What an alias stands for, as far as the cluster's own names go."""
        way: list[Record] = []
        while len(way) < MOST_ALIASES:
            types = self._records.get(name)
            if types is None:
                owned = self.owns(name)
                return Answer(not owned or self._is_inner(name), tuple(way), onward="" if owned else name)
            if "CNAME" not in types:
                return Answer(True, (*way, *types.get(type, ())))
            way.append(types["CNAME"][0])
            name = way[-1].data
        return Answer(True, tuple(way), endless=True)

    def _targets(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            if record.type == "SRV":
                yield from self._records.get(record.data.rpartition(" ")[2], {}).get("A", ())

    def _is_inner(self, name: str) -> bool:
        """Whether names exist below this one (`svc.cluster.local`): it exists then, too, without data."""
        return name in (self.domain, f"svc.{self.domain}")


def records_of(route: ServiceRoute, domain: str) -> Iterator[Record]:
    """The records of one service."""
    name = f"{route.name}.{route.namespace}.svc.{domain}"
    spec = route.spec
    if spec.type == EXTERNAL_NAME:
        yield Record(name, "CNAME", spec.external_name.lower().rstrip("."))
    elif is_headless(spec):
        yield from _headless(route, name)
    else:
        for address in cluster_addresses(spec):
            yield Record(name, "A", address)
            yield Record(reverse(address), "PTR", name)
        for port in spec.ports:
            if port.name:
                yield Record(
                    f"_{port.name}._{port.protocol.lower() or 'tcp'}.{name}", "SRV", f"0 100 {port.port} {name}"
                )


def _headless(route: ServiceRoute, name: str) -> Iterator[Record]:
    seen: set[Record] = set()
    for each in route.slices:
        for endpoint in each.endpoints:
            if not takes_connections(endpoint):
                continue
            for address in endpoint.addresses:
                host = f"{endpoint.hostname or _label(address)}.{name}"
                found = [Record(name, "A", address), Record(host, "A", address)]
                if endpoint.hostname:
                    found.append(Record(reverse(address), "PTR", host))
                for port in each.ports:
                    if port.name:
                        where = f"_{port.name}._{port.protocol.lower() or 'tcp'}.{name}"
                        found.append(Record(where, "SRV", f"0 100 {port.port} {host}"))
                for record in found:
                    if record not in seen:
                        seen.add(record)
                        yield record


def _label(address: str) -> str:
    """A name for an endpoint that has none: it has to be one label, and follow from the address."""
    return hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()[:8]


def reverse(address: str) -> str:
    """The name under which an address is looked up."""
    return ipaddress.ip_address(address).reverse_pointer
