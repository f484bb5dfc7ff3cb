"""Which slice of the cluster's pod range each node has. Pure bookkeeping; the truth is `spec.podCIDR` of the Nodes."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from podium.errors import Unavailable


class PodRanges:
    """Slices of one size, cut from the cluster's range."""

    def __init__(self, cluster_cidr: str, *, node_prefix: int = 24) -> None:
        self._cluster = ipaddress.IPv4Network(cluster_cidr)
        if node_prefix < self._cluster.prefixlen:
            raise ValueError(f"a node's slice /{node_prefix} is larger than the cluster's pod range {cluster_cidr}")
        self._prefix = node_prefix
        self._of_node: dict[str, str] = {}
        self._taken: dict[str, str] = {}
        self._fresh = self._slices()

    @property
    def cluster_cidr(self) -> str:
        """The whole range."""
        return str(self._cluster)

    def _slices(self) -> Iterator[str]:
        return (str(net) for net in self._cluster.subnets(new_prefix=self._prefix))

    def note(self, node: str, cidr: str) -> None:
        """A Node object says that it has this slice."""
        if cidr:
            self.release(node)
            self._of_node[node] = cidr
            self._taken.setdefault(cidr, node)

    def release(self, node: str) -> None:
        """The node is gone; its slice may be used again."""
        cidr = self._of_node.pop(node, "")
        if self._taken.get(cidr) == node:
            del self._taken[cidr]

    def assign(self, node: str, wanted: str = "") -> str:
        """The node's slice: the one it has, else the one its host uses already if that is free, else a free one.

        Raises:
            Unavailable: The range is used up.
        """
        if (had := self._of_node.get(node)) is not None:
            return had
        cidr = wanted if self._is_slice(wanted) and wanted not in self._taken else self._free()
        self.note(node, cidr)
        return cidr

    def _is_slice(self, cidr: str) -> bool:
        try:
            net = ipaddress.IPv4Network(cidr)
        except ValueError:
            return False
        return net.prefixlen == self._prefix and net.subnet_of(self._cluster)

    def _free(self) -> str:
        for _ in range(2):  # what was released before the cursor is found on the second round
            for cidr in self._fresh:
                if cidr not in self._taken:
                    return cidr
            self._fresh = self._slices()
        raise Unavailable(
            f"the pod range {self._cluster} has no free /{self._prefix} for another node; "
            "delete Nodes that are gone, or start the master with a larger pod range"
        )
