"""Statuses on their way up: the newest of each pod, kept until the master says that it is durable.

A status is *due* when it was reported, when a new session begins before it was acknowledged, and when the master's
own view of the pod (it comes with the assignments) is not what was reported last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from podium.objects.meta import is_terminating
from podium.v1.core_pb2 import Pod, PodStatus
from podium.v1.meta_pb2 import Condition
from podium.v1.node_session_pb2 import Assignments, PodStatusBatch, PodStatusUpdate

MAX_BATCH = 200


@dataclass(slots=True)
class _Report:
    """What is known of one pod. `sent` and `acked` say how far the newest update has come."""

    update: PodStatusUpdate
    sent: bool = False
    acked: bool = False


class Reporter:
    """Implements `nodelet.pods.protocol.StatusSink`. `wake` is called when something becomes due."""

    def __init__(self) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._reports: dict[str, _Report] = {}
        self._due: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._due)

    def report(self, pod: Pod, status: PodStatus, *, gone: bool) -> None:
        """A pod's newest status; replaces an older one that was not sent yet."""
        meta = pod.metadata
        update = PodStatusUpdate(namespace=meta.namespace, name=meta.name, uid=meta.uid, status=status, gone=gone)
        known = self._reports.get(meta.uid)
        if known is not None and known.acked and known.update == update:
            return
        self._reports[meta.uid] = _Report(update)
        self._make_due(meta.uid)

    def take(self) -> PodStatusBatch | None:
        """What is due, as one message; None when nothing is."""
        if not self._due:
            return None
        uids = list(self._due)[:MAX_BATCH]
        for uid in uids:
            del self._due[uid]
            self._reports[uid].sent = True
        return PodStatusBatch(updates=[self._reports[uid].update for uid in uids])

    def acked(self, uids: list[str]) -> None:
        """What was sent of these pods is durable. A newer report, not sent yet, stays due."""
        for uid in uids:
            report = self._reports.get(uid)
            if report is not None and report.sent:
                report.acked = True

    def rewind(self) -> None:
        """A new session: what was sent and not acknowledged is due again."""
        for uid, report in self._reports.items():
            if not report.acked:
                report.sent = False
                self._make_due(uid)

    def reconcile(self, pods: Mapping[str, Pod]) -> None:
        """Compare with what the master told of all pods: forget those it does not know, repeat what it has wrong."""
        for uid in [uid for uid, report in self._reports.items() if uid not in pods and report.acked]:
            del self._reports[uid]
        for uid, pod in pods.items():
            report = self._reports.get(uid)
            if report is not None and report.acked and self._is_wrong(pod, report.update):
                report.sent = report.acked = False
                self._make_due(uid)

    def overlay(self, assignments: Assignments) -> Assignments:
        """The assignments with the newest status of each pod in place of the master's. Changes the message."""
        for pod in assignments.pods:
            report = self._reports.get(pod.metadata.uid)
            if report is not None:
                pod.status.CopyFrom(report.update.status)
        return assignments

    @staticmethod
    def _is_wrong(pod: Pod, update: PodStatusUpdate) -> bool:
        if update.gone and is_terminating(pod):
            return True
        return not _same_status(pod.status, update.status)

    def _make_due(self, uid: str) -> None:
        self._due[uid] = None
        self.wake()


def _same_status(stored: PodStatus, reported: PodStatus) -> bool:
    """Whether the parts that matter to others agree; the stored one may hold more."""
    return (
        stored.phase == reported.phase
        and stored.pod_ip == reported.pod_ip
        and stored.container_statuses == reported.container_statuses
        and stored.ephemeral_container_statuses == reported.ephemeral_container_statuses
        and stored.init_container_statuses == reported.init_container_statuses
        and _statuses(reported.conditions).items() <= _statuses(stored.conditions).items()
        and _resizes(reported.conditions) == _resizes(stored.conditions)
    )


def _statuses(conditions: Iterable[Condition]) -> dict[str, str]:
    return {c.type: c.status for c in conditions}


def _resizes(conditions: Iterable[Condition]) -> dict[str, str]:
    """Those that are there only while they hold: that one is gone is news, too."""
    return {c.type: c.reason for c in conditions if c.type in ("PodResizePending", "PodResizeInProgress")}
