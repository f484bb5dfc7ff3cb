"""The newest usage of nodes and pods, in memory only: it is old in seconds, and never worth a write."""

from __future__ import annotations

from collections.abc import Iterator

from podium.v1.cluster_service_pb2 import NodeUsage, PodUsage
from podium.v1.node_session_pb2 import UsageReport


class UsageBook:
    """The last report of each node."""

    def __init__(self) -> None:
        self._reports: dict[str, UsageReport] = {}

    def put(self, node: str, report: UsageReport) -> None:
        """A node reported. The name in the report is the session's, not the message's."""
        report.node.name = node
        self._reports[node] = report

    def forget(self, node: str) -> None:
        """The node is lost or gone."""
        self._reports.pop(node, None)

    def nodes(self) -> list[NodeUsage]:
        """Usage of every node that reports."""
        return [_timed_node(r) for r in self._reports.values()]

    def pods(self, namespace: str = "") -> Iterator[PodUsage]:
        """Usage of the pods of a namespace, or of all."""
        for report in self._reports.values():
            for pod in report.pods:
                if not namespace or pod.namespace == namespace:
                    yield pod


def _timed_node(report: UsageReport) -> NodeUsage:
    if not report.node.HasField("time"):
        report.node.time.CopyFrom(report.time)
    return report.node
