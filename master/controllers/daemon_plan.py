"""What a DaemonSet does about its pods: one on each node that matches, of the newest template in the end. Pure.

Each node has a fate for a DaemonSet, by its labels and taints:

    RUN     the pod belongs there                       → one is made, once nothing of an earlier one is left there
    STAY    it would not be made there, but may stay    → a node that is not ready, or got a NoSchedule taint
    LEAVE   it may not be there                         → those there are deleted

What a plan never does, whatever it is given:
  - make a pod on a node that has one, terminating ones included; but for a rolling update with `maxSurge`, which
    makes new ones beside old ones that are not available, and beside those on `maxSurge` nodes more;
  - delete an available pod for an update when that leaves more than `maxUnavailable` nodes without an available one.

A pod that is not available is replaced without asking: it costs nothing, and an update that repairs a broken one
would otherwise wait for ever. Pods that failed are deleted, and so made again, after a back-off that the caller keeps.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from master.controllers.pods import pod_from
from podium.objects.history import REVISION_LABEL
from podium.objects.meta import is_terminating
from podium.objects.node_affinity import allows, name_required, node_named
from podium.objects.pod import available_in, is_active, is_bound, is_ready, is_terminal
from podium.objects.taints import (
    DISK_PRESSURE,
    MEMORY_PRESSURE,
    NETWORK_UNAVAILABLE,
    NO_EXECUTE,
    NO_SCHEDULE,
    NOT_READY,
    PID_PRESSURE,
    UNREACHABLE,
    UNSCHEDULABLE,
    tolerates,
)
from podium.v1.apps_pb2 import DaemonSet, DaemonSetStatus
from podium.v1.core_pb2 import Node, Pod, PodSpec, Toleration
from podium.v1.meta_pb2 import IntOrString

ROLLING_UPDATE = "RollingUpdate"

_TOLERATED = (
    (NOT_READY, NO_EXECUTE),
    (UNREACHABLE, NO_EXECUTE),
    (DISK_PRESSURE, NO_SCHEDULE),
    (MEMORY_PRESSURE, NO_SCHEDULE),
    (PID_PRESSURE, NO_SCHEDULE),
    (UNSCHEDULABLE, NO_SCHEDULE),
)


class Fate(Enum):
    """See the module."""

    RUN = "run"
    STAY = "stay"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonPlan:
    """What to do.

    Attributes:
        create: Names of nodes that get a pod.
        delete: Pods to delete.
        failed: Those of them that failed, whose nodes are to be backed off from.
        recheck: Seconds until something of this changes by itself.
        because: A sentence.
    """

    create: Sequence[str] = ()
    delete: Sequence[Pod] = ()
    failed: Sequence[Pod] = ()
    recheck: float | None = None
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Nodes that an update may leave without an available pod, and nodes that may run two."""

    unavailable: int
    surge: int


# ---------------------------------------------------------------- pods and nodes


def daemon_pod(daemon_set: DaemonSet, revision: str, node: str) -> Pod:
    """The pod for a node: the scheduler can put it nowhere else."""
    pod = pod_from(daemon_set.spec.template, daemon_set)
    pod.metadata.labels[REVISION_LABEL] = revision
    # What else the template requires of the node was asked before; all of it again could only go stale.
    required = pod.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution
    required.CopyFrom(node_named(node))
    _tolerate(pod.spec)
    return pod


def _tolerate(spec: PodSpec) -> None:
    for toleration in daemon_tolerations(spec):
        if toleration not in spec.tolerations:
            spec.tolerations.append(toleration)


def daemon_tolerations(spec: PodSpec) -> list[Toleration]:
    """What every daemon tolerates: a sick node needs its agents most."""
    more = ((NETWORK_UNAVAILABLE, NO_SCHEDULE),) if spec.host_network else ()
    return [Toleration(key=key, operator="Exists", effect=effect) for key, effect in (*_TOLERATED, *more)]


def node_of(pod: Pod) -> str:
    """The node that a daemon's pod is on, or is meant for; empty when it is for none."""
    return pod.spec.node_name or name_required(pod.spec)


class Destiny:
    """The fates of nodes for one DaemonSet."""

    def __init__(self, daemon_set: DaemonSet) -> None:
        self._spec = daemon_set.spec.template.spec
        self._tolerations = [*self._spec.tolerations, *daemon_tolerations(self._spec)]

    def of(self, node: Node) -> Fate:
        """The node's fate."""
        if self._spec.node_name and self._spec.node_name != node.metadata.name:
            return Fate.LEAVE
        if not allows(self._spec, node):
            return Fate.LEAVE
        refused = {t.effect for t in node.spec.taints if not any(tolerates(have, t) for have in self._tolerations)}
        if NO_EXECUTE in refused:
            return Fate.LEAVE
        return Fate.STAY if NO_SCHEDULE in refused else Fate.RUN


def by_node(pods: Iterable[Pod]) -> dict[str, list[Pod]]:
    """Pods by the node that they are on or meant for."""
    found: dict[str, list[Pod]] = {}
    for pod in pods:
        found.setdefault(node_of(pod), []).append(pod)
    return found


def limits_of(daemon_set: DaemonSet, desired: int) -> Limits:
    """The limits of an update, in nodes; one of them is not zero."""
    rolling = daemon_set.spec.update_strategy.rolling_update
    surge = _scaled(rolling.max_surge, desired)
    unavailable = _scaled(rolling.max_unavailable, desired)
    return Limits(unavailable=unavailable if unavailable or surge else 1, surge=surge)


def _scaled(value: IntOrString, total: int) -> int:
    if value.WhichOneof("value") != "str_value":
        return max(0, value.int_value)
    return -(-int(value.str_value.removesuffix("%")) * total // 100)


# ---------------------------------------------------------------- the plan


@dataclass(slots=True)
class _Draft:
    create: list[str] = field(default_factory=list)
    delete: list[Pod] = field(default_factory=list)
    failed: list[Pod] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)


def plan_daemons(
    daemon_set: DaemonSet,
    fates: Mapping[str, Fate],
    pods: Iterable[Pod],
    *,
    revision: str,
    now: datetime.datetime,
    patience: Callable[[str], float] = lambda node: 0.0,
) -> DaemonPlan:
    """Compare the pods that a DaemonSet has with those that it should have.

    Args:
        daemon_set: What is asked for.
        fates: Of every node that exists.
        pods: Its own, those that are over or being deleted included.
        revision: Hash of the newest template.
        now: Wall time.
        patience: Seconds for which a node's failed pod is to be left.
    """
    if is_terminating(daemon_set):
        return DaemonPlan(because="is being deleted")
    there = by_node(pods)
    draft = _Draft()
    running: dict[str, list[Pod]] = {}
    for node, fate in fates.items():
        kept = _settle_node(node, fate, there.pop(node, []), draft, patience)
        if fate is Fate.RUN:
            running[node] = kept
    for strays in there.values():
        # What is bound to a node that is gone is garbage, and collected as such.
        draft.delete += [p for p in strays if not is_bound(p) and not is_terminating(p)]
    _Update(daemon_set, limits_of(daemon_set, len(running)), revision, now, draft).plan(running)
    return DaemonPlan(
        create=draft.create,
        delete=draft.delete,
        failed=draft.failed,
        recheck=min(draft.waits, default=None),
        because=_sentence(draft, len(running)),
    )


def _sentence(draft: _Draft, desired: int) -> str:
    if not draft.create and not draft.delete:
        return f"{desired} nodes should run the pod"
    return f"creates {len(draft.create)} and deletes {len(draft.delete)} pods; {desired} nodes should run one"


def _settle_node(
    node: str, fate: Fate, mine: Sequence[Pod], draft: _Draft, patience: Callable[[str], float]
) -> list[Pod]:
    """Decide what does not concern updates; returns the pods that count, and are there still."""
    alive = [p for p in mine if is_active(p)]
    if fate is Fate.LEAVE:
        draft.delete += [p for p in mine if not is_terminating(p)]
        return []
    over = [p for p in mine if is_terminal(p) and not is_terminating(p)]
    if over:
        wait = patience(node)
        if wait > 0:
            draft.waits.append(wait)
        else:
            draft.delete += over
            draft.failed += over
    if fate is Fate.RUN and not mine:
        draft.create.append(node)
    return alive


class _Update:
    """Replacing pods of older templates."""

    def __init__(
        self, daemon_set: DaemonSet, limits: Limits, revision: str, now: datetime.datetime, draft: _Draft
    ) -> None:
        self._set, self._limits, self._revision, self._now, self._draft = daemon_set, limits, revision, now, draft
        self._rolling = daemon_set.spec.update_strategy.type == ROLLING_UPDATE

    def plan(self, running: Mapping[str, list[Pod]]) -> None:
        pairs = {node: self._pair(alive) for node, alive in running.items()}
        if not self._rolling or all(old is None for old, _ in pairs.values()):
            return
        pairs = dict(sorted(pairs.items()))
        if self._limits.surge:
            self._surge(pairs, self._limits.surge)
        else:
            self._replace(pairs, self._limits.unavailable)

    def _pair(self, alive: Sequence[Pod]) -> tuple[Pod | None, Pod | None]:
        """The best old and the best new pod of a node; whatever is beside them goes."""
        if len(alive) <= 1:  # as on nearly every node, at every look
            return (None, None) if not alive else (None, alive[0]) if self._is_new(alive[0]) else (alive[0], None)
        new = self._best(p for p in alive if self._is_new(p))
        old = self._best(p for p in alive if not self._is_new(p))
        if old is not None and new is not None and not (self._rolling and self._limits.surge):
            keep = self._best([old, new])
            old, new = (old, None) if keep is old else (None, new)
        self._draft.delete += [p for p in alive if p is not old and p is not new]
        return old, new

    def _best(self, pods: Iterable[Pod]) -> Pod | None:
        def rank(pod: Pod) -> tuple[bool, bool, bool, int, int, str]:
            made = pod.metadata.creation_timestamp
            return (
                not self._is_available(pod),
                not is_ready(pod),
                not is_bound(pod),
                made.seconds,
                made.nanos,
                pod.metadata.name,
            )

        return min(pods, key=rank, default=None)

    def _replace(self, pairs: Mapping[str, tuple[Pod | None, Pod | None]], most: int) -> None:
        """Delete old pods; new ones follow when they have gone."""
        available = [old if old is not None else new for old, new in pairs.values()]
        spare = most - sum(1 for pod in available if pod is None or not self._is_available(pod))
        for old, _ in pairs.values():
            if old is None:
                continue
            if not self._is_available(old):
                self._draft.delete.append(old)
            elif spare > 0:
                self._draft.delete.append(old)
                spare -= 1

    def _surge(self, pairs: Mapping[str, tuple[Pod | None, Pod | None]], most: int) -> None:
        """Make new pods beside old ones, which go when the new ones are available."""
        doubled = 0
        for old, new in pairs.values():
            if old is None or new is None:
                continue
            if self._is_available(new) or not is_ready(old):
                self._draft.delete.append(old)
            else:
                doubled += 1
        for node, (old, new) in pairs.items():
            if old is None or new is not None:
                continue
            if not self._is_available(old):
                self._draft.create.append(node)
            elif doubled < most:
                self._draft.create.append(node)
                doubled += 1

    def _is_new(self, pod: Pod) -> bool:
        return pod.metadata.labels.get(REVISION_LABEL) == self._revision

    def _is_available(self, pod: Pod) -> bool:
        wait = available_in(pod, self._set.spec.min_ready_seconds, self._now)
        if wait:
            self._draft.waits.append(wait)
        return wait == 0


# ---------------------------------------------------------------- status


def daemon_status(
    daemon_set: DaemonSet, fates: Mapping[str, Fate], pods: Iterable[Pod], *, revision: str, now: datetime.datetime
) -> tuple[DaemonSetStatus, float | None]:
    """The status that these pods make, and in how many seconds the next of them becomes available."""
    there = by_node(p for p in pods if is_active(p))
    status = DaemonSetStatus(observed_generation=daemon_set.metadata.generation)
    status.conditions.extend(daemon_set.status.conditions)
    status.observed_config.update(daemon_set.status.observed_config)
    if daemon_set.status.HasField("collision_count"):
        status.collision_count = daemon_set.status.collision_count
    waits: list[float] = []
    for node, fate in fates.items():
        mine = there.get(node, [])
        if fate is not Fate.RUN:
            status.number_misscheduled += bool(mine)
            continue
        status.desired_number_scheduled += 1
        status.current_number_scheduled += bool(mine)
        ready = [w for p in mine if (w := available_in(p, daemon_set.spec.min_ready_seconds, now)) is not None]
        status.number_ready += bool(ready)
        status.number_available += 0 in ready
        status.updated_number_scheduled += any(p.metadata.labels.get(REVISION_LABEL) == revision for p in mine)
        waits += [w for w in ready if w > 0]
    status.number_unavailable = status.desired_number_scheduled - status.number_available
    return status, min(waits, default=None)
