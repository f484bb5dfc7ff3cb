"""`resize: InPlace`: pods whose template changed in CPU and memory alone are resized instead of replaced. Pure.

    asked    a ready pod of an old ReplicaSet, on a node with room, is asked for the target's resources, a few at a time
    handed   once its node has done it, the pod changes hands: the old ReplicaSet wants one fewer, the target one more,
             and the pod has the target's label and is controlled by it, all in one transaction
    refused  what its node cannot do is taken back and noted on the pod

What is refused, has no room or is not ready is left to the ordinary rollout, once nothing is left to resize.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from master.controllers.strategies.edits import finish
from master.controllers.strategies.sets import IN_PLACE, Sets
from master.controllers.strategies.steps import DeploymentPlan, HandOver, ResizePod
from podium.objects.pod import CPU, MEMORY, Amounts, amounts, is_active, is_available, is_ready, requests
from podium.objects.resizing import REFUSED, asks_for, in_place, is_settled, refusal, take_resources
from podium.objects.revisions import hash_of
from podium.v1.apps_pb2 import ReplicaSet
from podium.v1.core_pb2 import Node, Pod, PodTemplateSpec

PodsOf = Callable[[ReplicaSet], Iterable[Pod]]
PodsOn = Callable[[str], Iterable[Pod]]
NodeNamed = Callable[[str], Node | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is looked up of the cluster, for as many pods as it is needed: the pods of a ReplicaSet and of a node, and
    the node itself."""

    pods_of: PodsOf
    pods_on: PodsOn
    node: NodeNamed
    now: datetime.datetime


def resizable(sets: Sets, template: PodTemplateSpec) -> list[ReplicaSet]:
    """The ReplicaSets with pods that can become pods of a template in place, if the Deployment asks for that."""
    if sets.deployment.spec.strategy.resize != IN_PLACE:
        return []
    return [rs for rs in sets.others if rs.spec.replicas > 0 and in_place(rs.spec.template, template)]


def plan(sets: Sets, around: Surroundings) -> DeploymentPlan | None:
    """The next step in place; None: there is nothing to do in place now, and what is left is rolled out."""
    target = sets.target
    if target is None or sets.deployment.spec.paused or sets.deployment.spec.strategy.resize != IN_PLACE:
        return None
    found = _look(sets, target, around)
    if found.returning:
        return replace(finish(sets, {}), resizes=found.returning, because=_said(found.returning, "takes back"))
    if found.settled:
        return _hand_over(sets, target, found.settled)
    rooms = _Rooms(around, target.spec.template)
    budget = max(1, sets.limits.unavailable) - len(found.waiting) - max(0, sets.desired - found.available)
    asked = list(islice(filter(rooms.take, found.candidates), max(0, budget)))
    if asked:
        resizes = [ResizePod(pod=pod, template=target.spec.template, digest=hash_of(target)) for pod in asked]
        return replace(finish(sets, {}), resizes=resizes, because=_said(resizes, "resizes"))
    # What is not well in an old ReplicaSet is replaced first; where the target's are not, more of them would not help.
    held_up = budget <= 0 and not found.unwell and any(map(rooms.take, found.candidates))
    return replace(finish(sets, {}), because="waits for pods to be resized") if found.waiting or held_up else None


# ---------------------------------------------------------------- how far each pod has got


@dataclass(slots=True, kw_only=True)
class _Found:
    """The pods of a Deployment told apart.

    `waiting` have been asked, and their nodes have yet to answer; `returning` are to have other resources again;
    `unwell` are those of old ReplicaSets that are not ready.
    """

    available: int = 0
    unwell: int = 0
    candidates: list[Pod] = field(default_factory=list)
    waiting: list[Pod] = field(default_factory=list)
    settled: list[tuple[Pod, ReplicaSet]] = field(default_factory=list)
    returning: list[ResizePod] = field(default_factory=list)


def _look(sets: Sets, target: ReplicaSet, around: Surroundings) -> _Found:
    found, template = _Found(), target.spec.template
    olds = {rs.metadata.uid for rs in resizable(sets, template)}
    for rs in sets.all:
        if not rs.spec.replicas:
            continue
        for pod in filter(is_active, around.pods_of(rs)):
            found.available += is_available(pod, rs.spec.min_ready_seconds, around.now)
            if rs is target:
                found.returning += _strayed(sets, target, pod)
            elif rs.metadata.uid in olds:
                _sort(found, target, rs, pod)
    return found


def _sort(found: _Found, target: ReplicaSet, rs: ReplicaSet, pod: Pod) -> None:
    digest = hash_of(target)
    found.unwell += not is_ready(pod)
    refused = pod.metadata.annotations.get(REFUSED) == digest
    if not asks_for(pod, target.spec.template):
        if is_ready(pod) and not refused:
            found.candidates.append(pod)
    elif refused or (why := refusal(pod)):
        told = "" if refused else why
        found.returning.append(ResizePod(pod=pod, template=rs.spec.template, digest=digest, refused=True, why=told))
    elif is_settled(pod):
        found.settled.append((pod, rs))
    elif is_ready(pod):
        found.waiting.append(pod)


def _strayed(sets: Sets, target: ReplicaSet, pod: Pod) -> Iterator[ResizePod]:
    """A pod of the target that was asked for another template's resources, before the target was the target again."""
    template = target.spec.template
    if asks_for(pod, template):
        return
    if any(asks_for(pod, rs.spec.template) and in_place(rs.spec.template, template) for rs in sets.others):
        yield ResizePod(pod=pod, template=template, digest=hash_of(target))


# ---------------------------------------------------------------- steps


def _hand_over(sets: Sets, target: ReplicaSet, settled: Sequence[tuple[Pod, ReplicaSet]]) -> DeploymentPlan:
    sizes = {rs.metadata.name: rs.spec.replicas for rs in sets.all}
    moves: list[HandOver] = []
    for pod, rs in settled:
        if sizes[rs.metadata.name] > 0:
            sizes[rs.metadata.name] -= 1
            sizes[target.metadata.name] += 1
            moves.append(HandOver(pod=pod, source=rs, target=target))
    step = finish(sets, sizes, renote=True)
    return replace(step, moves=moves, because=f"hands {len(moves)} resized pods to {target.metadata.name}")


class _Rooms:
    """What nodes have left for pods that grow; of each node as it is first asked about, less what was taken since."""

    def __init__(self, around: Surroundings, template: PodTemplateSpec) -> None:
        self._around, self._template = around, template
        self._left: dict[str, Amounts] = {}

    def take(self, pod: Pod) -> bool:
        """Whether there is room for the pod to grow; it is taken."""
        node = pod.spec.node_name
        left = self._left[node] if node in self._left else self._left.setdefault(node, self._read(node))
        more = self._growth(pod)
        if any(amount > 0 and amount > left.get(name, 0) for name, amount in more.items()):
            return False
        for name, amount in more.items():
            left[name] = left.get(name, 0) - amount
        return True

    def _growth(self, pod: Pod) -> Amounts:
        grown = Pod()
        grown.CopyFrom(pod)
        take_resources(grown, self._template)
        had, wants = requests(pod.spec), requests(grown.spec)
        return {name: wants.get(name, 0) - had.get(name, 0) for name in (CPU, MEMORY)}

    def _read(self, name: str) -> Amounts:
        node = self._around.node(name)
        if node is None:
            return {}
        left = amounts(node.status.allocatable)
        for pod in self._around.pods_on(name):
            if is_active(pod) or pod.metadata.HasField("deletion_timestamp"):
                for resource, amount in requests(pod.spec).items():
                    left[resource] = left.get(resource, 0) - amount
        return left


def _said(resizes: Sequence[ResizePod], verb: str) -> str:
    return f"{verb} {len(resizes)} pods in place"
