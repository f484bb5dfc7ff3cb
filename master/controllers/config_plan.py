"""When changed configuration becomes a rollout: `spec.configRollout: Automatic` of a workload. Pure.

The template carries a fingerprint of the content that it runs with. An object that changes, compared with when it was
last looked at, makes another fingerprint, and with it another revision, rolled out as any other. A template that comes
with a fingerprint of its own, because it was gone back to, keeps the content that it then ran with, until an object
changes again.

The fingerprint is the one thing that a controller writes into the spec: nobody else has a reason to own it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from podium.codec import revisions as controller_revisions
from podium.objects.config import AUTOMATIC, FINGERPRINT, Ref, Revision, digest, fingerprint, pins_of, used_config
from podium.objects.template import same_template
from podium.v1.apps_pb2 import ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet
from podium.v1.core_pb2 import ConfigMap, PodTemplateSpec, Secret

QUIET = 0.5
"""Seconds for which a change must have gone unchanged before it is rolled out."""
LONGEST_WAIT = 5.0

Workload = Deployment | StatefulSet | DaemonSet
Fixed = TypeVar("Fixed", StatefulSet, DaemonSet)
Live = Mapping[Ref, ConfigMap | Secret | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigPlan:
    """What a workload's template and status are to say of its configuration.

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


def is_automatic(workload: Workload) -> bool:
    """Whether configuration is to roll with the workload."""
    return workload.spec.config_rollout == AUTOMATIC


def template_of(revision: Revision) -> PodTemplateSpec:
    """The pod template of a revision.

    Raises:
        BadRequest: Somebody wrote a ControllerRevision that holds none.
    """
    if isinstance(revision, ReplicaSet):
        return revision.spec.template
    return controller_revisions.template_of(revision)


def has_current(workload: Workload, revisions: Sequence[Revision]) -> bool:
    """Whether the workload's template is one of these revisions; otherwise it is new."""
    return any(_is_current(workload, revision) for revision in revisions)


def _is_current(workload: Workload, revision: Revision) -> bool:
    if isinstance(revision, ReplicaSet):
        return same_template(revision.spec.template, workload.spec.template)
    return revision.data == controller_revisions.data_of(workload.spec.template)


def plan_config(workload: Workload, revisions: Sequence[Revision], live: Live) -> ConfigPlan:
    """Compare what there is with what was seen last.

    Args:
        workload: What has the template.
        revisions: Those that it controls.
        live: Every object that the template uses; None when it is not there.
    """
    used = used_config(workload.spec.template.spec)
    if not is_automatic(workload) or not used:
        return ConfigPlan(fingerprint="")
    seen = dict(workload.status.observed_config)
    present = workload.spec.template.metadata.annotations.get(FINGERPRINT, "")
    digests = {ref: digest(live.get(ref)) for ref in used}
    missing = [ref for ref, required in used.items() if required and not digests[ref]]
    # An object that was deleted is no new content: what runs has its copies, and goes on.
    changed = [ref for ref in used if ref not in missing and seen.get(str(ref), digests[ref]) != digests[ref]]
    # What changes while something is missing is rolled out when that is back: until then it counts as not seen.
    held = bool(missing and present)
    observed = {str(ref): seen.get(str(ref), digests[ref]) if held or ref in missing else digests[ref] for ref in used}
    keeps = bool(present) and not changed and _is_known(workload, revisions, present, used)
    if held or keeps:
        return ConfigPlan(fingerprint=present, observed=observed, missing=missing)
    return ConfigPlan(fingerprint=fingerprint(digests), observed=observed, changed=changed, missing=missing)


def _is_known(workload: Workload, revisions: Sequence[Revision], present: str, used: Mapping[Ref, bool]) -> bool:
    """Whether the fingerprint in the template is of what it uses: some revision ran so."""
    return has_current(workload, revisions) or any(_ran_with(r, present, used) for r in revisions)


def _ran_with(revision: Revision, mark: str, used: Mapping[Ref, bool]) -> bool:
    template = template_of(revision)
    return template.metadata.annotations.get(FINGERPRINT) == mark and used_config(template.spec).keys() == used.keys()


def sources_of(wanted: Revision, revisions: Sequence[Revision]) -> list[Revision]:
    """Other revisions whose copies hold what this one is to run with."""
    template = template_of(wanted)
    mark, used = template.metadata.annotations.get(FINGERPRINT, ""), used_config(template.spec)
    others = (r for r in revisions if r.metadata.name != wanted.metadata.name and pins_of(r))
    return [r for r in others if _ran_with(r, mark, used)]


def is_of(wanted: Revision, live: Live) -> bool:
    """Whether the objects as they are now are what this revision is to run with."""
    template = template_of(wanted)
    digests = {ref: digest(live.get(ref)) for ref in used_config(template.spec)}
    return template.metadata.annotations.get(FINGERPRINT) == fingerprint(digests)


def healing(workload: Fixed, revision: ControllerRevision) -> Fixed:
    """The workload as it is to be kept while the copies of its newest revision are refused.

    Pods that are lost come back, of this revision; none is replaced for the sake of another.
    """
    kept = type(workload)()
    kept.CopyFrom(workload)
    kept.spec.template.CopyFrom(template_of(revision))
    kept.spec.update_strategy.type = "OnDelete"
    return kept
