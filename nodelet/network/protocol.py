"""What the pod workers ask of the node's network: an address for a sandbox, and its removal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from nodelet.runtime.protocol import PodIdentity, PortMapping, Sandbox

InForce = Callable[[], None]
"""Called once something that was said holds. Returns at once."""


class NetworkFault(Exception):
    """A pod could not be wired; the message says why."""


class PodNetwork(Protocol):
    """Wires sandboxes into the node's slice of the pod range. Leases survive the nodelet's restart."""

    async def attach(self, sandbox: Sandbox, ports: Sequence[PortMapping]) -> str:
        """Give the sandbox its address and host ports; returns the address. Safe to repeat: the pod keeps its address.

        Raises: NetworkFault (no address left, host port taken, kernel refused).
        """
        ...

    async def detach(self, pod: PodIdentity) -> None:
        """Take everything of the pod's away. Safe to repeat, also when the sandbox is gone already."""
        ...

    async def retain(self, pods: Collection[str]) -> None:
        """Free what belongs to pods whose uid is not in `pods` (after a restart)."""
        ...


class Names(NamedTuple):
    """Who answers the cluster's names on this node, and the domain that they are in."""

    servers: tuple[str, ...]
    domain: str


@runtime_checkable
class NameServers(Protocol):
    """A network whose node answers names."""

    async def names(self) -> Names:
        """Waits until it is known, which the first contact with a master brings.

        Raises: NetworkFault (it took too long).
        """
        ...
