"""When changed configuration becomes a rollout: `spec.configRollout: Automatic` of a Deployment. Pure.

The template carries a fingerprint of the content that it runs with. An object that changes, compared with when it was
last looked at, makes another fingerprint, and with it another revision, rolled out as any other. A template that comes
with a fingerprint of its own, because it was gone back to, keeps the content that it then ran with, until an object
changes again.

The fingerprint is the one thing that a controller writes into the spec: nobody else has a reason to own it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from podium.objects.config import AUTOMATIC, FINGERPRINT, Ref, digest, fingerprint, pins_of, used_config
from podium.objects.revisions import current_of
from podium.v1.apps_pb2 import Deployment, ReplicaSet
from podium.v1.core_pb2 import ConfigMap, Secret

QUIET = 0.5
"""Seconds for which a change must have gone unchanged before it is rolled out."""
LONGEST_WAIT = 5.0

Live = Mapping[Ref, ConfigMap | Secret | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigPlan:
    """What a Deployment's template and status are to say of its configuration.

    Attributes:
        fingerprint: For the template; empty: none.
        observed: Digests by `KIND/NAME`, for the status.
        changed: What changed since it was last looked at.
        missing: What pods cannot start without, and is not there.
    """

    fingerprint: str
    observed: Mapping[str, str] = field(default_factory=dict)
    changed: Sequence[Ref] = ()
    missing: Sequence[Ref] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A change that is not rolled out yet: what it comes to, since when there is one, and until when to wait."""

    fingerprint: str
    since: float
    until: float


def pending(before: Pending | None, mark: str, now: float) -> Pending:
    """Wait until nothing has changed for QUIET seconds; but not for ever on what never rests."""
    if before is not None and before.fingerprint == mark:
        return before
    since = before.since if before is not None else now
    return Pending(fingerprint=mark, since=since, until=min(now + QUIET, since + LONGEST_WAIT))


def is_automatic(deployment: Deployment) -> bool:
    """Whether configuration is to roll with the Deployment."""
    return deployment.spec.config_rollout == AUTOMATIC


def plan_config(deployment: Deployment, replica_sets: Sequence[ReplicaSet], live: Live) -> ConfigPlan:
    """Compare what there is with what was seen last.

    Args:
        deployment: The Deployment.
        replica_sets: Those that it controls.
        live: Every object that the template uses; None when it is not there.
    """
    used = used_config(deployment.spec.template.spec)
    if not is_automatic(deployment) or not used:
        return ConfigPlan(fingerprint="")
    seen = dict(deployment.status.observed_config)
    present = deployment.spec.template.metadata.annotations.get(FINGERPRINT, "")
    digests = {ref: digest(live.get(ref)) for ref in used}
    missing = [ref for ref, required in used.items() if required and not digests[ref]]
    # An object that was deleted is no new content: what runs has its copies, and goes on.
    changed = [ref for ref in used if ref not in missing and seen.get(str(ref), digests[ref]) != digests[ref]]
    observed = {str(ref): seen.get(str(ref), "") if ref in missing else digests[ref] for ref in used}
    keeps = bool(present) and not changed and _is_known(deployment, replica_sets, present, used)
    if (missing and present) or keeps:
        return ConfigPlan(fingerprint=present, observed=observed, missing=missing)
    return ConfigPlan(fingerprint=fingerprint(digests), observed=observed, changed=changed, missing=missing)


def _is_known(
    deployment: Deployment, replica_sets: Sequence[ReplicaSet], present: str, used: Mapping[Ref, bool]
) -> bool:
    """Whether the fingerprint in the template is of what it uses: some revision ran so."""
    ran = current_of(deployment, replica_sets) is not None
    return ran or any(_ran_with(rs, present, used) for rs in replica_sets)


def _ran_with(rs: ReplicaSet, mark: str, used: Mapping[Ref, bool]) -> bool:
    template = rs.spec.template
    return template.metadata.annotations.get(FINGERPRINT) == mark and used_config(template.spec).keys() == used.keys()


def sources_of(wanted: ReplicaSet, replica_sets: Sequence[ReplicaSet]) -> list[ReplicaSet]:
    """Other ReplicaSets whose copies hold what this one is to run with."""
    template = wanted.spec.template
    mark, used = template.metadata.annotations.get(FINGERPRINT, ""), used_config(template.spec)
    others = (rs for rs in replica_sets if rs.metadata.name != wanted.metadata.name and pins_of(rs))
    return [rs for rs in others if _ran_with(rs, mark, used)]


def is_of(wanted: ReplicaSet, live: Live) -> bool:
    """Whether the objects as they are now are what this ReplicaSet is to run with."""
    used = used_config(wanted.spec.template.spec)
    mark = wanted.spec.template.metadata.annotations.get(FINGERPRINT)
    return mark == fingerprint({ref: digest(live.get(ref)) for ref in used})
