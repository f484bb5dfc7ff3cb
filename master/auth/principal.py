"""Who asks: a user and its groups, as a client certificate names them."""

from __future__ import annotations

from dataclasses import dataclass

MASTERS = "system:masters"
VIEWERS = "podium:viewers"
NODES = "system:nodes"
NODE_USER_PREFIX = "system:node:"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. Built-in groups: `system:masters`, `podium:viewers`, `system:nodes`."""

    user: str
    groups: frozenset[str] = frozenset()

    @property
    def node(self) -> str:
        """The node's name when this is a node (`system:node:NAME` in `system:nodes`), else empty."""
        named = NODES in self.groups and self.user.startswith(NODE_USER_PREFIX)
        return self.user[len(NODE_USER_PREFIX) :] if named else ""


def component(name: str) -> Principal:
    """The identity of a part of the master itself, e.g. `system:controller:replicaset`."""
    return Principal(f"system:{name}", frozenset({MASTERS}))
