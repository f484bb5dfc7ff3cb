"""Which service has which address of a pool, and which node answers for it. Pure.

A service keeps its address for as long as it may have it; then come, from the oldest on, those that have none: the
address that they want, or the first that is free in the first pool (by name) that they may have one of. One address is
one service's.

Of the nodes that are asked for services at all, the one answers for an address that comes first in an order which
follows from the address and their names (rendezvous hashing): when a node goes, only its own addresses move, and when
it is back, they return. With `externalTrafficPolicy: Local` only nodes with an endpoint are candidates.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from podium.objects.address_pool import NODES_CLASS, POOL, Range, asks_for_pool, gives_unasked, is_ours, ranges_of
from podium.objects.kinds import Key, key_of
from podium.objects.selectors import from_label_selector
from podium.v1.networking_pb2 import AddressPool, Service


@dataclass(frozen=True, slots=True)
class Pooled:
    """The address of a service; without one `refusal` says why, and `reason` in one word."""

    address: str = ""
    pool: str = ""
    reason: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class _Pool:
    name: str
    ranges: Sequence[Range]
    unasked: bool
    admits: Callable[[Mapping[str, str]], bool]

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and any(r.first <= number <= r.last for r in self.ranges)

    def numbers(self) -> Iterator[int]:
        for each in self.ranges:
            yield from range(each.first, each.last + 1)


def pooled(services: Iterable[Service], pools: Sequence[AddressPool], labels: Mapping[str, Mapping[str, str]],
           ) -> list[Service]:  # fmt: skip
    """The services that get an address of a pool, or none at all: those that ask for one, and, where there is a pool
    that gives unasked, those that do not say.

    Args:
        labels: Of each namespace.
    """
    known = _known(pools)
    return [s for s in services if asks_for_pool(s) or any(_gives(pool, s, labels) for pool in known)]


def plan_pools(
    services: Iterable[Service], pools: Sequence[AddressPool], labels: Mapping[str, Mapping[str, str]],
    hosts: Collection[str],
) -> dict[Key, Pooled]:  # fmt: skip
    """Decide for services of `pooled`.

    Args:
        labels: Of each namespace.
        hosts: Addresses that are hosts' own, and given to nobody.
    """
    known = _known(pools)
    taken = {int(ipaddress.IPv4Address(host)): "a host" for host in hosts}
    plan: dict[Key, Pooled] = {}
    waiting: list[tuple[Service, list[_Pool]]] = []
    for service in sorted(services, key=_age):
        choice = _choice(service, known, labels)
        if isinstance(choice, Pooled):
            plan[key_of(service)] = choice
        elif (kept := _keep(service, choice, taken)) is not None:
            plan[key_of(service)] = kept
        else:
            waiting.append((service, choice))
    for service, choice in waiting:
        plan[key_of(service)] = _give(service, choice, taken)
    return plan


def counts(pool: AddressPool, given: Iterable[str]) -> tuple[int, int]:
    """How many addresses a pool has, and how many of them are given."""
    ranges = ranges_of(pool)
    numbers = [int(ipaddress.IPv4Address(address)) for address in given]
    return sum(map(len, ranges)), sum(any(r.first <= n <= r.last for r in ranges) for n in numbers)


def announcer(address: str, nodes: Iterable[str]) -> str:
    """The node that answers for an address; empty when there is none."""
    return max(nodes, key=lambda node: (hashlib.sha256(f"{address} {node}".encode()).digest(), node), default="")


def _known(pools: Iterable[AddressPool]) -> list[_Pool]:
    return [
        _Pool(pool.metadata.name, ranges_of(pool), gives_unasked(pool), _admits(pool))
        for pool in sorted(pools, key=lambda each: each.metadata.name)
        if not pool.metadata.HasField("deletion_timestamp")
    ]


def _admits(pool: AddressPool) -> Callable[[Mapping[str, str]], bool]:
    if not pool.spec.HasField("namespace_selector"):
        return lambda labels: True
    return from_label_selector(pool.spec.namespace_selector).matches


def _gives(pool: _Pool, service: Service, labels: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether a pool gives an address to a service that does not ask for one."""
    if not is_ours(service.spec) or service.spec.load_balancer_class == NODES_CLASS or not pool.unasked:
        return False
    return pool.admits(labels.get(service.metadata.namespace, {}))


def _choice(
    service: Service, pools: Sequence[_Pool], labels: Mapping[str, Mapping[str, str]]
) -> list[_Pool] | Pooled:  # fmt: skip
    """The pools that may give a service its address, or why none may."""
    admitted = [pool for pool in pools if pool.admits(labels.get(service.metadata.namespace, {}))]
    named, wanted = service.metadata.annotations.get(POOL, ""), _wanted(service)
    if named:
        admitted = [pool for pool in admitted if pool.name == named]
        if not admitted:
            return Pooled(reason="NoAddressPool", refusal=f"there is no address pool {named} for this namespace")
    elif wanted is None:
        admitted = [pool for pool in admitted if pool.unasked]
        if not admitted:
            what = "no address pool gives addresses to services of this namespace; make one, or name one"
            return Pooled(reason="NoAddressPool", refusal=f"{what} (annotation {POOL})")
    if wanted is not None and _of(wanted, admitted) is None:
        where = f"not in pool {named}" if named else "in no address pool for this namespace"
        return Pooled(reason="NoAddressPool", refusal=f"loadBalancerIP {_text(wanted)} is {where}")
    return admitted


def _keep(service: Service, pools: Sequence[_Pool], taken: dict[int, str]) -> Pooled | None:
    """The address that a service has, which is taken from now on; None when it has none that it may keep."""
    held = _held(service)
    if held is None or held in taken or _wanted(service) not in (None, held):
        return None
    pool = _of(held, pools)
    return _take(service, held, pool, taken) if pool is not None else None


def _give(service: Service, pools: Sequence[_Pool], taken: dict[int, str]) -> Pooled:
    """A new address, which is taken from now on; or why there is none."""
    wanted = _wanted(service)
    if wanted is not None and wanted in taken:
        return Pooled(reason="AddressTaken", refusal=f"loadBalancerIP {_text(wanted)} is that of {taken[wanted]}")
    for pool in pools:
        for number in pool.numbers() if wanted is None else filter(pool.__contains__, (wanted,)):
            if number not in taken:
                return _take(service, number, pool, taken)
    names = ", ".join(pool.name for pool in pools)
    return Pooled(reason="AddressPoolExhausted", refusal=f"no address is free in {names}")


def _take(service: Service, number: int, pool: _Pool, taken: dict[int, str]) -> Pooled:
    taken[number] = f"service {service.metadata.namespace}/{service.metadata.name}"
    return Pooled(_text(number), pool.name)


def _of(number: int, pools: Iterable[_Pool]) -> _Pool | None:
    return next((pool for pool in pools if number in pool), None)


def _held(service: Service) -> int | None:
    held = service.status.load_balancer.ingress
    return _number(held[0].ip) if len(held) == 1 else None


def _wanted(service: Service) -> int | None:
    return _number(service.spec.load_balancer_ip)


def _number(text: str) -> int | None:
    try:
        return int(ipaddress.IPv4Address(text))
    except ValueError:
        return None


def _text(number: int) -> str:
    return str(ipaddress.IPv4Address(number))


def _age(service: Service) -> tuple[int, int, str, str]:
    created, metadata = service.metadata.creation_timestamp, service.metadata
    return created.seconds, created.nanos, metadata.namespace, metadata.name
