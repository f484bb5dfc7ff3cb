"""The newest usage of nodes and pods, in memory only: it is old in seconds, and never worth a write.

How often nodes report follows from who looks. A fleet as a whole sends at most `REPORTS_PER_SECOND`; nodes that run
pods at which an autoscaler looks send every second, while they are not too many themselves. So the price of usage is
bounded, and load is still answered in seconds.

One report a node is kept, encoded: some 150 bytes a pod, of which the message would take five times as many. It is read
when somebody asks, and what an autoscaler asks for, by uid, is kept until the next.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from podium.aio.clock import Clock
from podium.objects.kinds import Key
from podium.v1.cluster_service_pb2 import NodeUsage, PodUsage
from podium.v1.node_session_pb2 import UsageReport

REPORTS_PER_SECOND = 200.0
CLOSE_REPORTS_PER_SECOND = 500.0
"""Of nodes that are looked at closely."""
BASE_SECONDS, CLOSE_SECONDS = 2.0, 1.0
STALE_SECONDS, STALE_REPORTS = 15.0, 3.0
"""Figures that are older, and several times older than they should be, say nothing of now."""
_STEP = 0.5


def pace(nodes: int, watched: int, *, close: bool) -> float:
    """Seconds between a node's reports, in steps, so that it does not move with every node that joins.

    Args:
        watched: How many of the nodes are looked at closely; `close`: this is one of them.
    """
    base = max(BASE_SECONDS, nodes / REPORTS_PER_SECOND)
    seconds = min(base, max(CLOSE_SECONDS, watched / CLOSE_REPORTS_PER_SECOND)) if close else base
    return math.ceil(seconds / _STEP) * _STEP


@dataclass(slots=True)
class _Kept:
    at: float
    encoded: bytes
    by_uid: dict[str, PodUsage] | None = None

    @property
    def report(self) -> UsageReport:
        return UsageReport.FromString(self.encoded)


class UsageBook:
    """The last report of each node. Implements `master.autoscaler.observe.Usages`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._watched_by: dict[Key, frozenset[str]] = {}
        self._watched: frozenset[str] = frozenset()

    def put(self, node: str, report: UsageReport) -> None:
        """A node reported. The name in the report is the session's, not the message's."""
        report.node.name = node
        self._kept[node] = _Kept(self._clock.monotonic(), report.SerializeToString())

    def forget(self, node: str) -> None:
        """The node is gone."""
        self._kept.pop(node, None)

    def nodes(self) -> list[NodeUsage]:
        """Usage of every node that reports."""
        return [_timed_node(kept.report) for _, kept in self._fresh()]

    def pods(self, namespace: str = "") -> Iterator[tuple[str, PodUsage]]:
        """Usage of the pods of a namespace, or of all, each with the node that says so: it may say what it likes."""
        for node, kept in self._fresh():
            for pod in kept.report.pods:
                if not namespace or pod.namespace == namespace:
                    yield node, pod

    def _fresh(self) -> list[tuple[str, _Kept]]:
        oldest = self._oldest(close=False)
        return [(node, kept) for node, kept in self._kept.items() if kept.at >= oldest]

    def _oldest(self, *, close: bool) -> float:
        """When a report must have come that is to count."""
        expected = pace(len(self._kept), len(self._watched), close=close)
        return self._clock.monotonic() - max(STALE_SECONDS, STALE_REPORTS * expected)

    # ------------------------------------------------------------ for who decides by it

    def of_node(self, node: str) -> Mapping[str, PodUsage]:
        """What the pods of a node used within the last seconds, by uid; empty when it did not say."""
        kept = self._kept.get(node)
        if kept is None or kept.at < self._oldest(close=node in self._watched):
            return {}
        if kept.by_uid is None:
            kept.by_uid = {pod.uid: pod for pod in kept.report.pods}
        return kept.by_uid

    def watch(self, who: Key, nodes: Collection[str]) -> None:
        """Have these nodes report every second or so for the sake of `who`, and no others; none: no more."""
        wanted = frozenset(nodes)
        if self._watched_by.get(who, frozenset()) == wanted:
            return
        if wanted:
            self._watched_by[who] = wanted
        else:
            del self._watched_by[who]
        self._watched = frozenset().union(*self._watched_by.values())

    def pace(self, node: str, nodes: int) -> float:
        """Seconds between reports of a node, in a fleet of so many."""
        return pace(nodes, len(self._watched), close=node in self._watched)


def _timed_node(report: UsageReport) -> NodeUsage:
    if not report.node.HasField("time"):
        report.node.time.CopyFrom(report.time)
    return report.node
