"""Whether a pod that runs may have the CPU and memory that it asks for now (KEP-1287). Pure.

What was granted last is in the pod's status (`allocatedResources` and `resources` of its containers), so it outlives
the nodelet. A pod that asks for more is given it if the node has room beside what the other pods were granted.
Otherwise it is kept as it was granted last, as if nobody had asked, and its status says why: `Infeasible` when the
whole node would not be enough, `Deferred` when it would be once others go. Whatever was never granted before is
granted: the scheduler has decided it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from podium.objects.pod import CPU, MEMORY, Amounts, all_containers, amounts, requests
from podium.v1.core_pb2 import Container, ContainerStatus, Pod, PodStatus

INFEASIBLE, DEFERRED = "Infeasible", "Deferred"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a resize waits, as condition PodResizePending has it."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Grant:
    """The pod with the resources that it may have, and why these are not the ones it asks for."""

    pod: Pod
    refusal: Refusal | None = None


def is_resized(pod: Pod, status: PodStatus) -> bool:
    """Whether the pod asks for something else than it was granted last."""
    held = _held(status)
    return any(_differs(container, held.get(container.name)) for container in all_containers(pod.spec))


def grant(pod: Pod, status: PodStatus, taken: Amounts, allocatable: Mapping[str, str]) -> Grant:
    """Decide it.

    Args:
        pod: As it should be.
        status: With what was granted last.
        taken: What the other pods of the node have been granted.
        allocatable: What pods may have in all; a resource that is not named is not limited.
    """
    if not is_resized(pod, status):
        return Grant(pod)
    before = _as_granted(pod, status)
    refusal = _refusal(requests(pod.spec), requests(before.spec), taken, amounts(allocatable))
    return Grant(pod) if refusal is None else Grant(before, refusal)


def _refusal(wanted: Amounts, had: Amounts, taken: Amounts, allocatable: Amounts) -> Refusal | None:
    more = [name for name in (CPU, MEMORY) if wanted.get(name, 0) > had.get(name, 0) and name in allocatable]
    for name in more:
        if wanted[name] > allocatable[name]:
            message = (
                f"Node didn't have enough capacity: {name}, requested: {wanted[name]}, capacity: {allocatable[name]}"
            )
            return Refusal(INFEASIBLE, message)
    for name in more:
        used = taken.get(name, 0)
        if wanted[name] + used > allocatable[name]:
            asked = f"requested: {wanted[name]}, used: {used}, capacity: {allocatable[name]}"
            return Refusal(DEFERRED, f"Node didn't have enough resource: {name}, {asked}")
    return None


def _as_granted(pod: Pod, status: PodStatus) -> Pod:
    held, made = _held(status), Pod()
    made.CopyFrom(pod)
    for container in all_containers(made.spec):
        if (was := held.get(container.name)) is not None:
            container.resources.CopyFrom(was.resources)
    return made


def _held(status: PodStatus) -> dict[str, ContainerStatus]:
    statuses = (*status.init_container_statuses, *status.container_statuses)
    return {found.name: found for found in statuses if found.HasField("resources")}


def _differs(container: Container, was: ContainerStatus | None) -> bool:
    return was is not None and (
        was.allocated_resources != container.resources.requests or was.resources != container.resources
    )
