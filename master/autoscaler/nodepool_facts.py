"""What node pools are planned by, as plain values."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from podium.v1.core_pb2 import Node, Pod
from podium.v1.nodepool_pb2 import NodePool, NodePoolHost, NodePoolHostStatus
from podium.v1.policy_pb2 import PodDisruptionBudget


class Packing(Protocol):
    """Where pods that no node takes would go (`master.scheduler.whatif`)."""

    @property
    def taken(self) -> Sequence[int]: ...
    @property
    def refused(self) -> Mapping[str, Counter[str]]: ...
    @property
    def left(self) -> int: ...


class Simulator(Protocol):
    """The scheduler's own judgement of nodes that are not there."""

    def waiting(self) -> int:
        """How many pods no node takes."""
        ...

    def pack(self, nodes: Sequence[tuple[str, Node]], most: Mapping[str, int], daemons: Sequence[Pod]) -> Packing:
        """Which of these nodes would get pods; each with a group, of which so many may be taken; "" comes anyway."""
        ...

    def confined(self, node: str, pods: Sequence[Pod]) -> Sequence[str]:
        """Which of a node's pods could not go elsewhere."""
        ...


@dataclass(frozen=True, slots=True)
class Played:
    """How the setting up, or the letting go, of a host ended; `failure` is one line, empty when it went well."""

    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A host as it is.

    Attributes:
        spec: What the pool says of it.
        node: The Node object of its name.
        pods: What is bound to that.
        playing: It is being set up or let go by this process.
        played: How that ended, until it is noted in the status.
        held: What keeps pods there while it is drained.
    """

    spec: NodePoolHost
    node: Node | None = None
    pods: Sequence[Pod] = ()
    playing: bool = False
    played: Played | None = None
    held: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """A pool as it is.

    Attributes:
        hosts: In the pool's order.
        credentials: What is wrong with them; empty: nothing.
    """

    pool: NodePool
    hosts: Sequence[HostView]
    credentials: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTuning:
    """Seconds; what is not for a pool to say.

    Attributes:
        first_backoff: A host that failed once rests for so long; twice that the next time, and so on.
        longest_backoff: But no longer.
        join_seconds: A host that was set up must be Ready within this.
        unready_seconds: A ready node that is not for so long is held for failed.
        drain_seconds: A host that can't be drained within this is kept.
        release_attempts: After so many failures to let a host go, its Node object is deleted all the same.
        settle_seconds: A host that became a ready node is not idle before: the scheduler has yet to see it.
        at_once: So many hosts of a pool are set up at the same time.
    """

    first_backoff: float = 30.0
    longest_backoff: float = 1800.0
    join_seconds: float = 120.0
    unready_seconds: float = 60.0
    drain_seconds: float = 600.0
    settle_seconds: float = 5.0
    release_attempts: int = 3
    at_once: int = 8


@dataclass(frozen=True, slots=True)
class Told:
    """An event about a pool."""

    reason: str
    message: str
    warning: bool = False


@dataclass(slots=True, kw_only=True)
class HostPlan:
    """What a host is to be, and what follows from that.

    Attributes:
        status: The next one.
        told: Events.
        delete_node: Its Node object goes.
        settled: The outcome of the last play is in the status now.
    """

    status: NodePoolHostStatus
    told: list[Told] = field(default_factory=list)
    delete_node: bool = False
    settled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What pools are planned in.

    Attributes:
        budgets: Every disruption budget.
        pack: See `Simulator`.
        confined: See `Simulator`.
        resting: Hosts that are not asked about again yet: their pods could not all go elsewhere a moment ago.
        now: Wall time.
        tuning: See there.
    """

    budgets: Sequence[PodDisruptionBudget]
    pack: Callable[[Sequence[tuple[str, Node]], Mapping[str, int]], Packing]
    confined: Callable[[str, Sequence[Pod]], Sequence[str]]
    now: datetime.datetime
    tuning: PoolTuning
    resting: frozenset[str] = frozenset()
