"""Rules of the parts of a pod's spec that have a sub-resource of their own: what may become of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from podium.errors import Violation
from podium.objects.pod import CPU, MEMORY, all_containers, is_bound, is_sidecar, qos_class
from podium.v1.core_pb2 import Container, EphemeralContainer, Pod


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a pod's spec.

    Attributes:
        put: Makes the part of the second pod that of the first.
        judge: What is wrong with the part of the first pod as the successor of that of the second, which is as stored.
    """

    put: Callable[[Pod, Pod], None]
    judge: Callable[[Pod, Pod], list[Violation]]


# ---------------------------------------------------------------- ephemeral containers


def _put_ephemeral(source: Pod, target: Pod) -> None:
    wanted = list(source.spec.ephemeral_containers)
    del target.spec.ephemeral_containers[:]
    target.spec.ephemeral_containers.extend(wanted)


def _judge_ephemeral(new: Pod, old: Pod) -> list[Violation]:
    """They are only added, to pods that have a node."""
    given = {container.name: container for container in new.spec.ephemeral_containers}
    found = [
        Violation("spec.ephemeralContainers", f'"{before.name}" {problem}', "ephemeral containers are only added")
        for before in old.spec.ephemeral_containers
        if (problem := _problem(before, given.get(before.name)))
    ]
    if not is_bound(old) and len(given) > len(old.spec.ephemeral_containers):
        found.append(Violation("spec.ephemeralContainers", "must not be added to a pod that is not on a node yet"))
    return found


def _problem(before: EphemeralContainer, after: EphemeralContainer | None) -> str:
    if after is None:
        return "must not be removed"
    return "" if after == before else "must not be changed"


# ---------------------------------------------------------------- resources


def _put_resources(source: Pod, target: Pod) -> None:
    wanted = {container.name: container for container in all_containers(source.spec)}
    for container in all_containers(target.spec):
        if container.name in wanted:
            container.resources.CopyFrom(wanted[container.name].resources)
            if not container.resources.ByteSize():
                container.ClearField("resources")


def _judge_resources(new: Pod, old: Pod) -> list[Violation]:
    """CPU and memory of containers that last, within the pod's quality of service."""
    found: list[Violation] = []
    for field, olds, news in (
        ("initContainers", old.spec.init_containers, new.spec.init_containers),
        ("containers", old.spec.containers, new.spec.containers),
    ):
        for index, (before, after) in enumerate(zip(olds, news, strict=True)):
            found += _judge_container(field, index, before, after)
    if not found and (now := qos_class(new.spec)) != (was := qos_class(old.spec)):
        hint = "it follows from the requests and limits of all containers"
        found.append(Violation("spec.containers", f"must leave the quality of service {was}, not make it {now}", hint))
    return found


def _judge_container(field: str, index: int, before: Container, after: Container) -> Iterator[Violation]:
    if before.resources == after.resources:
        return
    path = f"spec.{field}[{index}].resources"
    if field == "initContainers" and not is_sidecar(before):
        yield Violation(path, "must not be changed of an init container that is no sidecar")
    for kind, was, now in (
        ("limits", before.resources.limits, after.resources.limits),
        ("requests", before.resources.requests, after.resources.requests),
    ):
        for name in sorted(was.keys() | now.keys()):
            if name in (CPU, MEMORY) and name in was and name not in now:
                yield Violation(f"{path}.{kind}[{name}]", "must not be removed")
            elif name not in (CPU, MEMORY) and was.get(name) != now.get(name):
                yield Violation(f"{path}.{kind}[{name}]", "is immutable", "only cpu and memory can be resized")


PARTS: Mapping[str, Part] = {
    "ephemeralcontainers": Part(put=_put_ephemeral, judge=_judge_ephemeral),
    "resize": Part(put=_put_resources, judge=_judge_resources),
}
"""By the name of the sub-resource, as in `podium.objects.kinds.POD_PARTS`."""
