"""Rules of the parts of a pod's spec that have a sub-resource of their own: what may become of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from podium.errors import Violation
from podium.objects.pod import is_bound
from podium.v1.core_pb2 import EphemeralContainer, Pod


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


PARTS: Mapping[str, Part] = {
    "ephemeralcontainers": Part(put=_put_ephemeral, judge=_judge_ephemeral),
}
"""By the name of the sub-resource, as in `podium.objects.kinds.POD_PARTS`."""
