"""A Deployment with its ReplicaSets told apart. Pure.

newest   of the template in the spec; None until it is made
target   what runs when all is done: the newest, or what was returned to while the newest is held back
others   all but the target, oldest first
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from master.controllers import rollout
from master.controllers.rollout import Limits, Size
from podium.objects.revisions import (
    MAX_REPLICAS,
    by_age,
    current_of,
    hash_of,
    is_held,
    revision_of,
    with_hash,
    worked,
)
from podium.v1.apps_pb2 import Deployment, ReplicaSet

RECREATE, ROLLING_UPDATE, BLUE_GREEN, CANARY = "Recreate", "RollingUpdate", "BlueGreen", "Canary"
IN_PLACE = "InPlace"
"""Of `strategy.resize`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sets:
    """See the module. `held`: the newest is held back."""

    deployment: Deployment
    newest: ReplicaSet | None
    target: ReplicaSet | None
    others: Sequence[ReplicaSet]
    limits: Limits
    held: bool

    @staticmethod
    def of(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> Sets:
        """Tell those that it controls apart."""
        newest = target = current_of(deployment, replica_sets)
        held = is_held(deployment, replica_sets)
        if held:
            target = with_hash(deployment.status.aborted.returned_to_hash, replica_sets)
        return Sets(
            deployment=deployment,
            newest=newest,
            target=target,
            others=by_age(rs for rs in replica_sets if rs is not target),
            limits=limits_of(deployment),
            held=held,
        )

    @property
    def all(self) -> list[ReplicaSet]:
        """Every one, the target last."""
        return [*self.others, *([self.target] if self.target is not None else [])]

    @property
    def desired(self) -> int:
        """Replicas that are asked for."""
        return self.limits.desired

    @property
    def is_rolled_out(self) -> bool:
        """Whether the target has all replicas available, and no other has any."""
        alone = not any(rs.spec.replicas or rs.status.replicas for rs in self.others)
        sized = self.target is not None and self.target.spec.replicas == self.desired
        return alone and sized and self.is_wholly_available(self.target, self.desired)

    @staticmethod
    def is_wholly_available(rs: ReplicaSet | None, replicas: int) -> bool:
        """Whether a ReplicaSet has been brought to at least this size, and so many are available."""
        return (
            rs is not None
            and rs.spec.replicas >= replicas
            and rs.status.observed_generation >= rs.metadata.generation
            and rs.status.available_replicas >= replicas
        )

    def proven(self, digest: str) -> ReplicaSet | None:
        """What has served up to now: the ReplicaSet that state names, or else one that once worked and still runs."""
        named = with_hash(digest, self.all)
        if named is not None:
            return named
        running = [rs for rs in self.all if worked(rs) and rs.spec.replicas > 0]
        return max(running, key=lambda rs: (rs.status.available_replicas, revision_of(rs)), default=None)


def limits_of(deployment: Deployment) -> Limits:
    """What a rollout of this Deployment may do."""
    desired, strategy = deployment.spec.replicas, deployment.spec.strategy
    if strategy.type == RECREATE:
        return Limits(desired=desired, surge=0, unavailable=0)
    if strategy.type == BLUE_GREEN:
        return Limits(desired=desired, surge=desired, unavailable=0)
    if strategy.type == CANARY:
        return rollout.resolve(strategy.canary.max_surge, strategy.canary.max_unavailable, desired)
    return rollout.resolve(strategy.rolling_update.max_surge, strategy.rolling_update.max_unavailable, desired)


def sizes(replica_sets: Iterable[ReplicaSet]) -> list[Size]:
    """As the surge arithmetic sees them."""
    return [size(rs) for rs in replica_sets]


def size(rs: ReplicaSet, wanted: int | None = None) -> Size:
    """As the surge arithmetic sees it, as if it were of the size `wanted`."""
    noted = rs.metadata.annotations.get(MAX_REPLICAS, "")
    return Size(
        name=rs.metadata.name,
        wanted=rs.spec.replicas if wanted is None else wanted,
        # A set that shrank and grows again must not count what it is about to lose.
        available=min(rs.status.available_replicas, rs.spec.replicas),
        planned_most=int(noted) if noted.isdigit() else 0,
    )


def roles_by_name(sets: Sets, by_hash: Mapping[str, str]) -> dict[str, str]:
    """Roles of ReplicaSets, from roles of hashes; those that have none are not in it."""
    return {rs.metadata.name: by_hash[hash_of(rs)] for rs in sets.all if hash_of(rs) in by_hash}
