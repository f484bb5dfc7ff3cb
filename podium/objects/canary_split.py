"""How new connections are split between the revisions of a Deployment whose canary is under way."""

from __future__ import annotations

from typing import NamedTuple

from podium.v1.apps_pb2 import Deployment


class CanarySplit(NamedTuple):
    """What a canary asks of services.

    Attributes:
        deployment: Its name.
        canary_hash: `pod-template-hash` of the new revision's pods.
        least: Percent that the new revision gets at least,
        most: and at most. Equal, once all replicas for a weight are there.
    """

    deployment: str
    canary_hash: str
    least: int
    most: int

    def percent(self, new: int, others: int) -> int | None:
        """The percentage for so many ready pods of the new revision, and of others; None: as many as they are."""
        if not new or not others:
            return None
        nearest = min(max(100 * new, self.least * (new + others)), self.most * (new + others))
        return None if nearest == 100 * new else nearest // (new + others)


def canary_split(deployment: Deployment) -> CanarySplit | None:
    """How a Deployment wants connections to be split; None when no canary is under way."""
    state = deployment.status.canary
    if not state.canary_hash:
        return None
    weights = sorted((state.reached_weight, state.weight))
    return CanarySplit(deployment.metadata.name, state.canary_hash, *weights)
