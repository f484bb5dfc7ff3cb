"""Whom the host asks for names: for the node's own DNS server, and for pods that add to that (`dnsPolicy: Default` with
`dnsConfig`), since the runtime takes a list that a pod gives in place of the host's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""The second says whom systemd-resolved asks, where the first names only itself, on the host's loopback."""


@dataclass(frozen=True, slots=True)
class HostNames:
    """The settings of a resolv.conf(5)."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def elsewhere(self) -> HostNames:
        """The same less what only the host itself can ask: a pod's loopback is another one."""
        return HostNames(tuple(s for s in self.servers if not _is_loopback(s)), self.searches, self.options)


def parse(text: str) -> HostNames:
    """Read a resolv.conf(5): the last `search` or `domain` counts, servers and options add up."""
    servers, searches, options = list[str](), tuple[str, ...](), list[str]()
    for line in text.splitlines():
        match line.split():
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search", *names]:
                searches = tuple(names)
            case ["domain", name, *_]:
                searches = (name,)
            case ["options", *words]:
                options.extend(words)
            case _:
                pass  # comments, and settings that a pod does not have
    return HostNames(tuple(servers), searches, tuple(options))


def read(files: Iterable[Path] = FILES) -> HostNames:
    """What the host's files say: the first that names a server which is not on loopback, else the first. Blocks.

    Raises:
        OSError: One is there and cannot be read.
    """
    found: Sequence[HostNames] = [parse(file.read_text()) for file in files if file.exists()]
    return next((names for names in found if names.elsewhere().servers), found[0] if found else HostNames())


def _is_loopback(server: str) -> bool:
    try:
        return ipaddress.ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False
