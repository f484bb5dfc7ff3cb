"""Revisions of a DaemonSet or StatefulSet: ControllerRevisions, numbered; the newest template has the highest. Pure.

A pod says which revision it is of by the label `controller-revision-hash`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podium.v1.apps_pb2 import ControllerRevision

REVISION_LABEL = "controller-revision-hash"


def in_order(revisions: Iterable[ControllerRevision]) -> list[ControllerRevision]:
    """The oldest revision first."""
    return sorted(revisions, key=_order)


def next_number(revisions: Iterable[ControllerRevision]) -> int:
    """The number of a revision that is to be the newest."""
    return max((r.revision for r in revisions), default=0) + 1


def equal_to(data: bytes, revisions: Iterable[ControllerRevision]) -> ControllerRevision | None:
    """The newest revision with this content."""
    return max((r for r in revisions if r.data == data), key=_order, default=None)


def before(current: ControllerRevision | None, revisions: Sequence[ControllerRevision]) -> ControllerRevision | None:
    """The newest revision but for the current one."""
    others = [r for r in revisions if current is None or r.metadata.uid != current.metadata.uid]
    return max(others, key=_order, default=None)


def hash_of(revision: ControllerRevision) -> str:
    """What the revision's name ends with, and its label says."""
    return revision.metadata.labels.get(REVISION_LABEL, "")


def _order(revision: ControllerRevision) -> tuple[int, int, str]:
    return revision.revision, revision.metadata.creation_timestamp.seconds, revision.metadata.name
