"""What the node's table says of its pods: who may reach them, and whom they may reach. Pure.

By default pods of one namespace reach each other, pods of different namespaces do not, and hosts and the outside reach
pods and can be reached. It is enforced on both ends: a pod's packet to a pod of another namespace is refused where it
leaves, so that its sender is told at once, and dropped where it arrives, should the other node not know better.

    map leaving    pod's address → goto out_NAMESPACE       set ns_NAMESPACE   addresses of the namespace's pods,
    map arriving   pod's address → goto in_NAMESPACE                           on all nodes

Pods of other namespaces that policies open are in a set of their own, for the leaving end; the arriving one judges.
NetworkPolicies that select a pod take the place of the default for the direction that they are about. Chains are named
after what they say, so pods of one kind share them.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nodelet.network.flows import Leads, Socket
from nodelet.network.table import Entry, Member, Part
from podium.v1.node_session_pb2 import PodRules, PortRange, TrafficRule, TrafficRules

_ADDRESSES = "type ipv4_addr"


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Forward:
    """One host port. `host_ip` empty: every address of the host."""

    protocol: str
    host_port: int
    host_ip: str
    address: str
    port: int


@functools.lru_cache(4096)
def set_name(id_: str) -> str:
    """The nftables set of an address set of the master's (`members/NAMESPACE`, …)."""
    return "set_" + _digest(id_)


def members_of(namespace: str) -> str:
    """The id of the set of a namespace's pods."""
    return f"members/{namespace}"


def pod_part(
    address: str, namespace: str, forwards: Sequence[Forward], cluster_cidr: str, rules: PodRules | None = None
) -> Part:
    """Everything that the table says of a pod of this node."""
    mine = set_name(members_of(namespace))
    sets, chains = {mine: _ADDRESSES}, dict[str, tuple[str, ...]]()
    entries: dict[Entry, str] = {}
    for direction, way, own in (("leaving", _LEAVING, "egress"), ("arriving", _ARRIVING, "ingress")):
        if rules is not None and rules.HasField(own):  # type: ignore[arg-type]  # one of the two
            chosen: TrafficRules = getattr(rules, own)
            lines = tuple(_policy_lines(chosen, way))
            sets |= {set_name(id_): _ADDRESSES for rule in chosen.rules for id_ in rule.sets}
        else:
            friends = (mine, OPENED_SET) if own == "egress" else (mine,)
            sets[OPENED_SET] = _ADDRESSES
            lines = (
                *(f"ip {way.other} @{friend} return" for friend in friends),
                f"ip {way.other} {cluster_cidr} {way.verdict}",
            )
        chain = f"{way.prefix}_{_digest(repr(lines))}"
        chains[chain] = lines
        entries[direction, address] = f"goto {chain}"
    for forward in forwards:
        entries[_host_port(forward)] = f"{forward.address} . {forward.port}"
    members: frozenset[Member] = frozenset({("hairpins", f"{address} . {address}"), (mine, address)})
    return Part(entries=entries, members=members, chains=chains, sets=sets)


def pod_leads(forwards: Iterable[Forward]) -> Leads:
    """Where flows to a pod's host ports lead."""
    return {
        Socket("" if _is_any(forward.host_ip) else forward.host_ip, forward.protocol.lower(), forward.host_port): (
            frozenset({(forward.address, forward.port)})
        )
        for forward in forwards
    }


def set_part(id_: str, addresses: Iterable[str]) -> Part:
    """What the table says of a set of addresses."""
    name = set_name(id_)
    return Part(members=frozenset((name, address) for address in addresses), sets={name: _ADDRESSES})


@dataclass(frozen=True, slots=True)
class _Way:
    prefix: str
    other: str  # whose address is judged
    verdict: str


_LEAVING = _Way("out", "daddr", "reject with icmp type admin-prohibited")
_ARRIVING = _Way("in", "saddr", "drop")


def _policy_lines(rules: TrafficRules, way: _Way) -> Iterable[str]:
    for rule in rules.rules:
        for peer in _peers(rule, way):
            for port in _ports(rule.ports):
                yield f"{peer}{port}return".strip()
    yield way.verdict


def _peers(rule: TrafficRule, way: _Way) -> Iterable[str]:
    if not rule.sets and not rule.blocks:
        yield ""
    for id_ in rule.sets:
        yield f"ip {way.other} @{set_name(id_)} "
    for block in rule.blocks:
        without = f"ip {way.other} != {{ {', '.join(block.excluded)} }} " if block.excluded else ""
        yield f"ip {way.other} {block.cidr} {without}"


def _ports(ports: Sequence[PortRange]) -> Iterable[str]:
    if not ports:
        yield ""
    for port in ports:
        protocol = port.protocol.lower()
        if not port.first:
            yield f"meta l4proto {protocol} "
        else:
            yield f"{protocol} dport {port.first}{f'-{port.last}' if port.last > port.first else ''} "


def _host_port(forward: Forward) -> Entry:
    socket = f"{forward.protocol.lower()} . {forward.host_port}"
    if _is_any(forward.host_ip):
        return "host_ports", socket
    return "host_ports_at", f"{forward.host_ip} . {socket}"


def _is_any(host_ip: str) -> bool:
    return host_ip in ("", "0.0.0.0")  # noqa: S104 - compared, not bound


def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:12]


OPENED_SET = set_name("opened/ingress")
"""Pods, wherever they are, that judge by policies who may reach them: the end that a packet leaves lets it go."""
