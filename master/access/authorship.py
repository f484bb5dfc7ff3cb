"""Who wrote what a workload rolls out: shown by `podium rollout history`."""

from __future__ import annotations

from typing import Any

from master.access.protocol import Principal

CHANGED_BY = "podium.dev/changed-by"
ROLLED = frozenset({"Deployment", "DaemonSet", "StatefulSet"})
"""Kinds whose changes of the pod template are revisions."""


def name_author(new: Any, old: Any | None, by: Principal) -> None:
    """Note in place who last changed the pod template; nobody but the writer can say so."""
    if old is None or new.spec.template != old.spec.template:
        new.metadata.annotations[CHANGED_BY] = by.user
    elif CHANGED_BY in old.metadata.annotations:
        new.metadata.annotations[CHANGED_BY] = old.metadata.annotations[CHANGED_BY]
