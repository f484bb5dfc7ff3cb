"""What a Deployment's plan consists of. Pure data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from podium.v1.apps_pb2 import ReplicaSet
from podium.v1.core_pb2 import Pod, PodTemplateSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSet:
    """Make the ReplicaSet of the newest template."""

    replica_set: ReplicaSet


@dataclass(frozen=True, slots=True, kw_only=True)
class EditSet:
    """Change a ReplicaSet: its size and role if not None (no role: ""), these annotations, and minReadySeconds.

    An annotation that is to become "" is removed.
    """

    replica_set: ReplicaSet
    replicas: int | None = None
    role: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    min_ready_seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSet:
    """Delete a ReplicaSet that history no longer needs."""

    replica_set: ReplicaSet


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPod:
    """Give a pod its ReplicaSet's role; "": none."""

    pod: Pod
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizePod:
    """Have a pod ask for a template's resources.

    Attributes:
        pod: It.
        template: Whose resources.
        digest: The hash of the template that it is to match in the end.
        refused: Whether it cannot have the resources of that one; noted on it first.
        why: In its node's words; empty when that was told before.
    """

    pod: Pod
    template: PodTemplateSpec
    digest: str
    refused: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Make a pod of one ReplicaSet one of another, whose template it has come to match."""

    pod: Pod
    source: ReplicaSet
    target: ReplicaSet


Step = CreateSet | EditSet | DropSet


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentPlan:
    """The next step of a Deployment. `revision`: the number of its newest template; 0 when that has no ReplicaSet.

    `moves` and the steps are made together or not at all: what one ReplicaSet loses another gains.
    """

    steps: Sequence[Step] = ()
    moves: Sequence[HandOver] = ()
    resizes: Sequence[ResizePod] = ()
    revision: int = 0
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a rollout has failed: a reason for conditions, a sentence for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How a rollout stands.

    Attributes:
        complete: Everything runs as the newest template says.
        rests: What it waits for on purpose; its progress deadline does not count meanwhile. Empty: nothing.
        failed: Why it must not go on.
        again: Seconds after which to look again.
    """

    complete: bool
    rests: str = ""
    failed: Failure | None = None
    again: float | None = None
