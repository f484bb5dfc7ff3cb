"""The node's nftables table: a pure function from what should hold to the text that makes it so, in one transaction.

`ip podium` holds this: pods leaving the cluster's range take the host's address (masquerade); host ports lead
to their pods, from outside and from the host itself; and replies find their way back. Pods are kept from the host's
own 127.0.0.1, which `route_localnet` (host ports at 127.0.0.1 need it) would open to them. Nothing else of the host's
rules is touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

TABLE = "podium"
_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Forward:
    """One host port. `host_ip` empty: every address of the host."""

    protocol: str
    host_port: int
    host_ip: str
    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything that the table says."""

    bridge: str
    pod_cidr: str
    cluster_cidr: str
    forwards: tuple[Forward, ...] = ()


class Refused(Exception):
    """`nft` did not take the rules."""


def render(rules: Rules) -> str:
    """The whole table, as `nft -f` takes it: the old one is replaced atomically."""
    return f"""\
add table ip {TABLE}
delete table ip {TABLE}
table ip {TABLE} {{
    chain loopback_guard {{
        type filter hook prerouting priority raw; policy accept;
        iifname "{rules.bridge}" ip daddr 127.0.0.0/8 drop
    }}
    chain host_ports {{
{_lines(_forward(f) for f in sorted(rules.forwards))}
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        fib daddr type local jump host_ports
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        fib daddr type local jump host_ports
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {rules.pod_cidr} ip daddr != {rules.cluster_cidr} masquerade
        ip saddr 127.0.0.0/8 oifname "{rules.bridge}" masquerade
        ip saddr {rules.pod_cidr} ip daddr {rules.pod_cidr} ct status dnat masquerade
    }}
}}
"""


def _forward(forward: Forward) -> str:
    where = f"ip daddr {forward.host_ip} " if forward.host_ip not in ("", "0.0.0.0") else ""  # noqa: S104 - compared
    return f"{where}{forward.protocol.lower()} dport {forward.host_port} dnat to {forward.address}:{forward.port}"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(f"        {line}" for line in lines)


async def apply(text: str) -> None:
    """Hand rules to the kernel.

    Raises:
        Refused: `nft` is missing or did not take them; says why.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            "nft", "-f", "-",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except FileNotFoundError:
        raise Refused("the program `nft` is missing; install the package nftables") from None
    try:
        async with asyncio.timeout(_TIMEOUT):
            _, complaint = await process.communicate(text.encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Refused(f"nft did not end within {_TIMEOUT:g}s") from None
    if process.returncode:
        raise Refused(complaint.decode(errors="replace").strip())
