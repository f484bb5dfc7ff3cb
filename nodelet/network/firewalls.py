"""Living beside the host's own firewall: where it drops what it does not know, it is asked to accept the pods' traffic.

    iptables (Docker, ufw)   `FORWARD` that drops by policy   pods' links and the pods' range pass
                             `INPUT` that drops by policy     pods may ask the node for names
    firewalld                                                 the pods' range is a source of the zone `trusted`

Docker leaves the chain `DOCKER-USER` to others; without it the rules go to the head of `FORWARD`. Firewalld rejects in
a table of its own, after whatever others accept, so only its own settings help; what is changed is its running state.
Nothing is done where everything passes. Who reloads a firewall takes these rules away: they are looked for again.

Whether the host itself may be reached from other hosts (VXLAN, host ports of `hostNetwork` pods) is not decided here.
"""

from __future__ import annotations

from nodelet.programs import ask
from podium.telemetry.log import get_logger

log = get_logger(__name__)
_TIMEOUT = 20.0

TRUSTED = "trusted"


def plan_accepts(listing: str, links: str, pods: str) -> list[list[str]]:
    """The iptables arguments that are missing, by `iptables -S`.

    Args:
        listing: What `iptables -S` prints.
        links: The pods' links as iptables matches them, `podv+`.
        pods: The cluster's pod range.
    """
    lines = listing.splitlines()
    wanted: list[tuple[str, str]] = []
    if "-P FORWARD DROP" in lines:
        chain = "DOCKER-USER" if "-N DOCKER-USER" in lines else "FORWARD"
        # By the range as well: what comes in at a node port and goes on to another node crosses no pod's link here.
        wanted += [(chain, match) for match in (f"-i {links}", f"-o {links}", f"-s {pods}", f"-d {pods}")]
    if "-P INPUT DROP" in lines:
        wanted += [("INPUT", f"-i {links} -p {protocol} -m {protocol} --dport 53") for protocol in ("udp", "tcp")]
    return [
        ["-I", chain, "1", *match.split(), "-j", "ACCEPT"]
        for chain, match in wanted
        if f"-A {chain} {match} -j ACCEPT" not in lines
    ]


def trusts(table: str, pods: str) -> bool:
    """Whether firewalld trusts the pods' range, by what `nft list table inet firewalld` prints."""
    return f"ip saddr {pods} goto filter_FWD_{TRUSTED}" in " ".join(table.split())


async def let_pods_through(links: str, pods: str) -> None:
    """Add what is missing. A host without a firewall needs nothing."""
    listing = await _ask("iptables", "-w", "5", "-S")
    for arguments in plan_accepts(listing or "", links, pods):
        if await _ask("iptables", "-w", "5", *arguments) is not None:
            log.info("let pods through the host's firewall", rule=" ".join(arguments))
    table = await _ask("nft", "list", "table", "inet", "firewalld", quiet=True)
    if table is None or trusts(table, pods):
        return
    if await _ask("firewall-cmd", f"--zone={TRUSTED}", f"--add-source={pods}") is not None:
        log.info("let pods through firewalld", zone=TRUSTED, source=pods)


async def _ask(*command: str, quiet: bool = False) -> str | None:
    """Standard output; None when the program is not here or refuses, which is logged unless `quiet`."""
    try:
        answer = await ask(*command, seconds=_TIMEOUT)
    except FileNotFoundError:
        return None
    except TimeoutError:
        log.warning("the firewall's program did not end", command=" ".join(command), seconds=_TIMEOUT)
        return None
    if answer.code and not quiet:
        log.warning("the firewall refused", command=" ".join(command), error=answer.complaint)
    return None if answer.code else answer.said
