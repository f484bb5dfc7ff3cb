"""What the autoscaler decides by, as plain values. Amounts are whole thousandths, as Kubernetes counts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from podium.v1.autoscaling_pb2 import HorizontalPodAutoscalerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """One pod of the target. Times are seconds since 1970.

    Attributes:
        over: It has ended, or is to: it counts for nothing.
        ready: None while the pod has no such condition.
        ready_changed: When it last became what it is.
        started: When its node took it up.
    """

    name: str
    phase: str
    over: bool = False
    ready: bool | None = None
    ready_changed: float = 0
    started: float | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One pod's figure: a mean over the `window` seconds before `at`."""

    amount: int
    at: float = 0
    window: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OfPods:
    """A metric that each pod has: figures of those that told one, and what each requests, if it is about that."""

    figures: Mapping[str, Figure]
    requests: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OfOne:
    """A metric that is one figure."""

    amount: int


@dataclass(frozen=True, slots=True)
class Unread:
    """A metric that could not be had. `reason` is Kubernetes'."""

    reason: str
    message: str


Reading = OfPods | OfOne | Unread


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """An autoscaler's target, and a reading of each of its metrics, in their order."""

    spec: HorizontalPodAutoscalerSpec
    wanted: int
    """The target's spec.replicas."""
    there: int
    """The target's status.replicas."""
    pods: tuple[PodFacts, ...]
    readings: tuple[Reading, ...]
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What holds for all autoscalers of a master that say nothing else. Seconds; see docs/autoscaling.md.

    Attributes:
        tolerance: A ratio to the target that is let be.
        downscale_stabilization: How long what was wanted before holds up going down.
        cpu_initialization: For so long after its start, a pod's CPU counts only while it is ready and since then.
        readiness_delay: A pod that has not become ready for so long after its start is told from one that fell out.
    """

    tolerance: Fraction = Fraction(1, 10)
    downscale_stabilization: float = 300.0
    cpu_initialization: float = 300.0
    readiness_delay: float = 30.0
