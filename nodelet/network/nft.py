"""The node's nftables table `ip podium`: what of it stands from the start, and how it is handed to the kernel.

A packet's way, and where it is looked at:

    prerouting   raw     a pod's packet with another's source, or for the host's 127.0.0.1, is dropped
                 nat     to a service's address, a node port, a host port: sent on to one of the endpoints
    forward      mangle  a TCP connection that leaves a pod's host is told what fits through the link that it takes
                 filter  from a pod, to a pod: the chain of its namespace, or of the policies that select it, decides
    output       nat     the host's own packets to services, as above
    input        filter  to an address of a pool that this node answers for, and to no port of its service, is refused
                 nat     clients of services with session affinity are remembered, when the host itself answers
    postrouting  nat     so are they when a pod answers;
                         what needs the host's address gets it: pods leaving the cluster, loopback, hairpins, and what
                         came from outside and goes on to another node

All that changes is in maps and sets (`nodelet.network.table`), so a lookup costs the same with one service and with ten
thousand. Which of N endpoints takes a connection is drawn by one of the chains `tcp_nN`, from the map `tcp_endpoints`
under (address, port, number), and of UDP likewise. Nothing else of the host's rules is touched.

Rules that come one by one must not name a map declared with `th dport`: nft 1.0.6 (Debian 12) refuses them unless the
map is declared in the same transaction. So what such rules ask is declared with `tcp dport` and `udp dport`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from nodelet.network.ipam import gateway_of
from nodelet.network.links import LINKS, VXLAN
from nodelet.network.table import TABLE
from nodelet.programs import ask

_TIMEOUT = 20.0
_DNS_PORT = 53
_REMEMBERED = "flags dynamic,timeout; size 65536;"
_OUR_LINKS = f'"{LINKS}*"'
_BEGINS = "tcp flags & (syn | rst) == syn"
"""Both ends of a connection say at its start how long their segments may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The ranges that the table is about."""

    pod_cidr: str
    cluster_cidr: str
    service_cidr: str = ""


class Refused(Exception):
    """`nft` did not take the rules."""


def render(frame: Frame, commands: Iterable[str] = ()) -> str:
    """The whole table as `nft -f` takes it, filled by `commands`: the old one is replaced in the same transaction."""
    return f"""\
add {TABLE_KIND}
delete {TABLE_KIND}
{TABLE_KIND} {{
    map services {{ typeof ip daddr . meta l4proto . th dport : verdict; }}
    map tcp_endpoints {{ typeof ip daddr . tcp dport . numgen random mod 65536 : ip daddr . tcp dport; }}
    map udp_endpoints {{ typeof ip daddr . udp dport . numgen random mod 65536 : ip daddr . udp dport; }}
    map node_ports {{ typeof meta l4proto . th dport : verdict; }}
    map tcp_node_endpoints {{ typeof tcp dport . numgen random mod 65536 : ip daddr . tcp dport; }}
    map udp_node_endpoints {{ typeof udp dport . numgen random mod 65536 : ip daddr . udp dport; }}
    map tcp_sticky {{ typeof ip saddr . ip daddr . tcp dport : ip daddr . tcp dport; {_REMEMBERED} }}
    map udp_sticky {{ typeof ip saddr . ip daddr . udp dport : ip daddr . udp dport; {_REMEMBERED} }}
    map tcp_learners {{ typeof ip daddr . tcp dport : verdict; }}
    map udp_learners {{ typeof ip daddr . udp dport : verdict; }}
    map tcp_node_learners {{ typeof tcp dport : verdict; }}
    map udp_node_learners {{ typeof udp dport : verdict; }}
    map host_ports {{ typeof meta l4proto . th dport : ip daddr . th dport; }}
    map host_ports_at {{ typeof ip daddr . meta l4proto . th dport : ip daddr . th dport; }}
    map leaving {{ type ipv4_addr : verdict; }}
    map arriving {{ type ipv4_addr : verdict; }}
    set hairpins {{ type ipv4_addr . ipv4_addr; }}
    set announced {{ type ipv4_addr; }}
    chain guard {{
        type filter hook prerouting priority raw; policy accept;
        iifname {_OUR_LINKS} ip daddr 127.0.0.0/8 drop
        iifname {_OUR_LINKS} fib saddr . iif oif missing drop
    }}
    chain to_service {{
        ip daddr . meta l4proto . th dport vmap @services
    }}
    chain to_node {{
        dnat ip to ip daddr . meta l4proto . th dport map @host_ports_at
        dnat ip to meta l4proto . th dport map @host_ports
        meta l4proto . th dport vmap @node_ports
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        jump to_service
        fib daddr type local jump to_node
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        jump to_service
        fib daddr type local jump to_node
    }}
    chain learn {{
        meta l4proto tcp ct original ip daddr . ct original proto-dst vmap @tcp_learners
        meta l4proto tcp ct original proto-dst vmap @tcp_node_learners
        meta l4proto udp ct original ip daddr . ct original proto-dst vmap @udp_learners
        meta l4proto udp ct original proto-dst vmap @udp_node_learners
    }}
    chain input {{
        type nat hook input priority 100; policy accept;
        ct status dnat jump learn
    }}
    chain answer_for_pools {{
        type filter hook input priority filter; policy accept;
        ip daddr @announced meta l4proto != icmp reject
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ct status dnat jump learn
        oifname {_OUR_LINKS} ip saddr 127.0.0.0/8 masquerade
        oifname {_OUR_LINKS} ip saddr . ip daddr @hairpins ct status dnat masquerade
        oifname {_OUR_LINKS} return
        ip saddr {frame.pod_cidr} ip daddr != {frame.cluster_cidr} masquerade
        ip saddr != {frame.cluster_cidr} ip daddr {frame.cluster_cidr} ct status dnat masquerade
    }}
    chain fit {{
        type filter hook forward priority mangle; policy accept;
        {_BEGINS} iifname {_OUR_LINKS} oifname != {_OUR_LINKS} tcp option maxseg size set rt mtu
        {_BEGINS} iifname != {_OUR_LINKS} oifname "{VXLAN}" tcp option maxseg size set rt mtu
    }}
    chain from_pod {{
        ip saddr vmap @leaving
        drop
    }}
    chain to_pod {{
        ip daddr vmap @arriving
        drop
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        ct state established,related accept
{_unanswered(frame)}
        iifname {_OUR_LINKS} jump from_pod
        oifname {_OUR_LINKS} jump to_pod
    }}
    chain answer_for_services {{
        type filter hook output priority filter; policy accept;
{_unanswered(frame)}
{_patience(frame)}
    }}
}}
""" + "".join(f"{command}\n" for command in commands)


TABLE_KIND = f"table {TABLE}"


def _unanswered(frame: Frame) -> str:
    """Still for a service's address after all: nobody answers it, and whoever asks is told so at once."""
    return f"        ip daddr {frame.service_cidr} reject" if frame.service_cidr else ""


def _patience(frame: Frame) -> str:
    """Who asks the node's DNS server while it starts again must not hear that nobody is there: resolvers ask again.

    The port is that of the packet that is refused, inside of the complaint (8 octets, then its header of 20).
    """
    complaint = "icmp type destination-unreachable icmp code port-unreachable"
    return f"        ip saddr {gateway_of(frame.pod_cidr)} {complaint} @th,240,16 {_DNS_PORT} drop"


async def is_there() -> bool:
    """Whether the kernel has the table; also when that cannot be found out.

    Asked by a change that is checked and not carried out: to list anything, nft reads all elements of all maps first.
    """
    try:
        code, _ = await _nft("--check", "-f", "-", stdin=f"flush chain {TABLE} guard\n")
    except Refused:
        return True
    return code == 0


async def apply(text: str) -> None:
    """Hand rules to the kernel, all or nothing.

    Raises:
        Refused: `nft` is missing or did not take them; says why.
    """
    code, complaint = await _nft("-f", "-", stdin=text)
    if code:
        raise Refused(complaint)


async def listed(name: str) -> str:
    """A map of the table with its elements, in nft's JSON.

    Raises:
        Refused: There is none, or it could not be had.
    """
    code, text = await _nft("-j", "list", "map", *TABLE.split(), name)
    if code:
        raise Refused(text)
    return text


async def _nft(*arguments: str, stdin: str = "") -> tuple[int, str]:
    """Run nft; its exit code, and what it says or else complains of.

    It reads from memory, not from a pipe: one that ends early must not be a pipe that breaks.
    """
    with os.fdopen(os.memfd_create("rules"), "w+b") as rules:
        rules.write(stdin.encode())
        rules.seek(0)
        try:
            answer = await ask("nft", *arguments, stdin=rules, seconds=_TIMEOUT)
        except FileNotFoundError:
            raise Refused("the program `nft` is missing; install the package nftables") from None
        except TimeoutError:
            raise Refused(f"nft did not end within {_TIMEOUT:g}s") from None
    return answer.code, answer.complaint if answer.code else answer.said.strip()
