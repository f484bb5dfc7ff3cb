"""Who a node may ask whether it lost the master alone: the other nodes, or of many a random sample.

In memory, filled by the hellos that this master heard; `version` counts changes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from podium.objects.fencing import SAMPLE
from podium.v1.node_session_pb2 import Peers

Sample = Callable[[Sequence[str], int], list[str]]


class PeerBook:
    """See the module."""

    def __init__(self, sample: Sample = random.sample) -> None:
        self._sample = sample
        self._nodes: set[str] = set()
        self._addresses: dict[str, str] = {}
        self._asked: list[str] = []
        """Names with an address, in no order: a sample of many costs what the sample costs."""
        self.version = 0

    def note(self, node: str) -> None:
        """There is a node of this name."""
        if node not in self._nodes:
            self._nodes.add(node)
            self.version += 1

    def put(self, node: str, address: str) -> None:
        """A node says where it can be asked; empty: nowhere."""
        self.note(node)
        if self._addresses.get(node, "") == address:
            return
        if node not in self._addresses:
            self._asked.append(node)
        self._addresses[node] = address
        self.version += 1

    def drop(self, node: str) -> None:
        """The Node object is gone."""
        if node not in self._nodes:
            return
        self._nodes.discard(node)
        if self._addresses.pop(node, None) is not None:
            self._asked.remove(node)
        self.version += 1

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self._nodes)

    def of(self, node: str) -> Peers:
        """The peers of a node."""
        chosen = self._asked if len(self._asked) <= SAMPLE else self._sample(self._asked, SAMPLE)
        others = [self._addresses[name] for name in chosen if name != node and self._addresses[name]]
        return Peers(addresses=others[: SAMPLE - 1], nodes=max(1, len(self._nodes)))
