"""Who makes nodes of hosts: what is to be known of a host, and what a provisioner can do. No Ansible here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class ProvisionFailed(Exception):
    """A host could not be set up, or not be let go. Its text is one line for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A host, and how to reach it.

    Attributes:
        pool: The pool's name.
        name: The name that its node has, or is to have.
        address: Where SSH answers at `port`.
        user: Who logs in there.
        labels: Of the node.
        taints: Of the node, `KEY[=VALUE]:EFFECT` each.
        private_key: OpenSSH's, or PEM.
        known_hosts: The host's public key, as OpenSSH keeps it.
        start: A hook that turns it on; empty: none.
        stop: A hook that turns it off; empty: none.
        seconds: How long all of it may take.
    """

    pool: str
    name: str
    address: str
    port: int
    user: str
    labels: Mapping[str, str]
    taints: Sequence[str]
    private_key: bytes = field(repr=False)
    known_hosts: bytes = field(repr=False)
    start: str = ""
    stop: str = ""
    seconds: float = 600.0


class Provisioner(Protocol):
    """Makes nodes of hosts, and hosts of nodes. Both may be cancelled at any moment, and done again from the start."""

    async def join(self, target: Target, token: str) -> None:
        """Turn a host on, install what is missing, and have it join with this token.

        Raises:
            ProvisionFailed: It could not be done.
        """
        ...

    async def release(self, target: Target) -> None:
        """Stop the nodelet, remove what it left, and turn the host off.

        Raises:
            ProvisionFailed: It could not be done.
        """
        ...
