"""Living beside a Docker Engine that manages iptables: its `FORWARD` policy drops what it does not know, pods too.

Docker leaves the chain `DOCKER-USER` to others for this; where it is missing and the policy still drops, the rules go
to the head of `FORWARD`. Nothing is done where forwarding is open (engines run with `--iptables=false`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from podium.telemetry.log import get_logger

log = get_logger(__name__)
_TIMEOUT = 20.0


def plan_accepts(listing: str, links: str) -> list[list[str]]:
    """The iptables arguments that let pods' links (`podv+`) through, by `iptables -S`; none when they pass already."""
    lines = listing.splitlines()
    if "-P FORWARD DROP" not in lines:
        return []
    chain = "DOCKER-USER" if "-N DOCKER-USER" in lines else "FORWARD"
    wanted = [["-i", links, "-j", "ACCEPT"], ["-o", links, "-j", "ACCEPT"]]
    return [["-I", chain, "1", *rule] for rule in wanted if f"-A {chain} {' '.join(rule)}" not in lines]


async def let_pods_through(links: str) -> None:
    """Add the rules that are missing; a host without iptables needs none."""
    listing = await _iptables("-S")
    if listing is None:
        return
    for arguments in plan_accepts(listing, links):
        if await _iptables(*arguments) is not None:
            log.info("let pods through beside Docker's rules", rule=" ".join(arguments))


async def _iptables(*arguments: str) -> str | None:
    """Standard output; None when iptables is not here or refuses (which is logged)."""
    command: Sequence[str] = ("iptables", "-w", "5", *arguments)
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        return None
    try:
        async with asyncio.timeout(_TIMEOUT):
            out, complaint = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        log.warning("iptables did not end", seconds=_TIMEOUT)
        return None
    if process.returncode:
        log.warning("iptables refused", arguments=" ".join(arguments), error=complaint.decode(errors="replace").strip())
        return None
    return out.decode(errors="replace")
