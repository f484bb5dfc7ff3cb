"""Who wrote what a Deployment rolls out: shown by `podium rollout history`."""

from __future__ import annotations

from master.access.protocol import Principal
from podium.v1.apps_pb2 import Deployment

CHANGED_BY = "podium.dev/changed-by"


def name_author(new: Deployment, old: Deployment | None, by: Principal) -> None:
    """Note in place who last changed the pod template; nobody but the writer can say so."""
    if old is None or new.spec.template != old.spec.template:
        new.metadata.annotations[CHANGED_BY] = by.user
    elif CHANGED_BY in old.metadata.annotations:
        new.metadata.annotations[CHANGED_BY] = old.metadata.annotations[CHANGED_BY]
