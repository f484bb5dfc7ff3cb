"""Addresses and node ports of services: given when a service is written, and never to two.

There is one writer, so what is given is known here before it is stored: a table of who holds what, filled from the
cache at first. An entry is checked when it is looked at: a service that is gone, or that gave the address up, holds
nothing any more. One whose write has not come through yet holds it for a while, in case it does.

Numbers are drawn at random: an address just freed, which somebody may still remember, is not given away at once.
"""

from __future__ import annotations

import datetime
import ipaddress
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from master.cache.cache import WatchCache
from podium.errors import Unavailable, Violation
from podium.objects.kinds import Key, key_of
from podium.objects.refusal import refusal
from podium.objects.service import (
    TCP,
    cluster_addresses,
    node_sockets,
    wants_address,
    wants_health_port,
    wants_node_ports,
)
from podium.v1.networking_pb2 import Service

UNSEEN = datetime.timedelta(seconds=120)
"""A service that was given something and is not there after this long was not written."""

DEFAULT_SERVICE_CIDR = "10.63.0.0/16"
DEFAULT_NODE_PORTS = (30000, 32767)

_DRAWS = 64
T = TypeVar("T", int, tuple[int, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRanges:
    """What services are given from. The first address of the range is not given, and neither is the last."""

    cidr: str = DEFAULT_SERVICE_CIDR
    node_ports: tuple[int, int] = DEFAULT_NODE_PORTS


@dataclass(slots=True)
class _Holders(Generic[T]):
    """Who holds each value, and since when it is known here."""

    of: dict[T, tuple[Key, datetime.datetime]] = field(default_factory=dict)

    def holder(self, value: T, still: Callable[[Key], bool | None], now: datetime.datetime) -> Key | None:
        """Who holds a value. `still` tells whether a service does, or None when it is not there."""
        entry = self.of.get(value)
        if entry is None:
            return None
        key, since = entry
        holds = still(key)
        if holds or (holds is None and now - since < UNSEEN):
            return key
        del self.of[value]
        return None


class ServiceAddresses:
    """See the module. `complete` is called as part of planning a write: it neither awaits nor blocks."""

    def __init__(self, ranges: ServiceRanges | None = None) -> None:
        self._ranges = ranges or ServiceRanges()
        network = ipaddress.IPv4Network(self._ranges.cidr)
        self._first, self._last = int(network.network_address) + 1, int(network.broadcast_address) - 1
        self._addresses: _Holders[int] = _Holders()
        self._ports: _Holders[tuple[int, str]] = _Holders()
        self._loaded = False

    def complete(self, service: Service, old: Service | None, cache: WatchCache, now: datetime.datetime) -> None:
        """Give a service what it lacks, in place; what it had it keeps.

        Raises:
            Invalid: It names an address or a port that is another's, or out of range.
            Unavailable: None is left.
        """
        if not self._loaded:
            self._load(cache, now)
        if old is not None:
            _keep(service, old)
        self._complete_address(service, cache, now)
        spec = service.spec
        if not wants_health_port(spec):
            if old is not None and spec.health_check_node_port == old.spec.health_check_node_port:
                spec.health_check_node_port = 0  # or else validation names it
        else:
            path = "spec.healthCheckNodePort"
            spec.health_check_node_port = self._port(service, (spec.health_check_node_port, TCP), path, cache, now)
        for index, port in enumerate(spec.ports):
            if not wants_node_ports(spec):
                port.node_port = 0
                continue
            wanted = (port.node_port, port.protocol or TCP)
            port.node_port = self._port(service, wanted, f"spec.ports[{index}].nodePort", cache, now)

    def _load(self, cache: WatchCache, now: datetime.datetime) -> None:
        for item in cache.tables["Service"].scan():
            service: Service = item.message
            for address in cluster_addresses(service.spec):
                self._addresses.of[int(ipaddress.IPv4Address(address))] = (item.key, now)
            for socket in node_sockets(service.spec):
                self._ports.of[socket] = (item.key, now)
        self._loaded = True

    # ------------------------------------------------------------ addresses

    def _complete_address(self, service: Service, cache: WatchCache, now: datetime.datetime) -> None:
        spec = service.spec
        if not wants_address(spec):
            del spec.cluster_ips[:]
            if spec.cluster_ip:
                spec.cluster_ips.append(spec.cluster_ip)
            return
        key = key_of(service)

        def still(other: Key) -> bool | None:
            found = _service(cache, other)
            return None if found is None else str(ipaddress.IPv4Address(number)) in cluster_addresses(found.spec)

        if spec.cluster_ip:
            number = _number(spec.cluster_ip)
            if number is None:
                return  # validation names it
            self._check_address(number, key, still, now)
        else:
            for number in _draws(self._first, self._last):
                if self._addresses.holder(number, still, now) in (None, key):
                    break
            else:
                raise Unavailable(f"the service range {self._ranges.cidr} has no free address")
            spec.cluster_ip = str(ipaddress.IPv4Address(number))
        self._addresses.of[number] = (key, now)
        spec.cluster_ips[:] = [spec.cluster_ip]

    def _check_address(
        self, number: int, key: Key, still: Callable[[Key], bool | None], now: datetime.datetime
    ) -> None:
        path, subject = "spec.clusterIP", f'Service "{key.name}"'
        if not self._first <= number <= self._last:
            hint = "leave it out to be given one"
            raise refusal(subject, [Violation(path, f"must be in the service range {self._ranges.cidr}", hint)])
        holder = self._addresses.holder(number, still, now)
        if holder not in (None, key):
            raise refusal(subject, [Violation(path, f"is the address of service {holder.namespace}/{holder.name}")])

    # ------------------------------------------------------------ node ports

    def _port(
        self, service: Service, wanted: tuple[int, str], path: str, cache: WatchCache, now: datetime.datetime
    ) -> int:
        """The port of the nodes that is wanted, or (0) a free one; it is the service's from now on."""
        key, (number, protocol) = key_of(service), wanted

        def holder(socket: tuple[int, str]) -> Key | None:
            def still(other: Key) -> bool | None:
                found = _service(cache, other)
                return None if found is None else socket in node_sockets(found.spec)

            return self._ports.holder(socket, still, now)

        first, last = self._ranges.node_ports
        if number:
            subject = f'Service "{key.name}"'
            if not first <= number <= last:
                raise refusal(subject, [Violation(path, f"must be between {first} and {last}, not {number}")])
            if (other := holder(wanted)) not in (None, key):
                raise refusal(subject, [Violation(path, f"is taken by service {other.namespace}/{other.name}")])
        else:
            own = {port for port, _ in node_sockets(service.spec)}
            for number in _draws(first, last):
                if number not in own and holder((number, protocol)) is None:
                    break
            else:
                raise Unavailable(f"no node port is free between {first} and {last}")
        self._ports.of[number, protocol] = (key, now)
        return number


def _draws(first: int, last: int) -> Iterable[int]:
    """Numbers of a range, some at random and then all of them."""
    for _ in range(_DRAWS):
        yield random.randint(first, last)  # noqa: S311 - nothing is kept secret by it
    yield from range(first, last + 1)


def _number(text: str) -> int | None:
    try:
        return int(ipaddress.IPv4Address(text))
    except ValueError:
        return None


def _service(cache: WatchCache, key: Key) -> Service | None:
    item = cache.get(key)
    found: Service | None = item.message if item is not None else None
    return found


def _keep(new: Service, old: Service) -> None:
    """What its author left out stays as it is, where it is still wanted."""
    if not new.spec.cluster_ip and wants_address(new.spec) and wants_address(old.spec):
        new.spec.cluster_ip = old.spec.cluster_ip
    before = {(port.port, port.protocol or "TCP"): port.node_port for port in old.spec.ports}
    taken = {port.node_port for port in new.spec.ports}
    if not new.spec.health_check_node_port and wants_health_port(new.spec):
        new.spec.health_check_node_port = old.spec.health_check_node_port
    for port in new.spec.ports:
        kept = before.get((port.port, port.protocol or "TCP"), 0)
        if not port.node_port and kept not in taken:
            port.node_port = kept
