"""What a nodelet knows about one pod at one moment, frozen: the planner's and the status writer's whole input. Pure.

Moments are seconds on the nodelet's monotonic scale; a runtime's wall time is translated once, when an end is first
seen, so that a stepped clock neither hurries a restart nor holds one up. A *run* is one container, dead or alive; the
runs of a name are kept newest first. A run's `generation` is the attempt of the sandbox it was made for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nodelet.pods.actions import CONTAINER_SLOTS
from nodelet.pods.grant import Refusal
from nodelet.runtime.protocol import ContainerRecord, Sandbox, State

START_ERROR_EXIT_CODE = 128
LOST_EXIT_CODE = 137


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A run that is being stopped: it gets SIGKILL at `deadline`; `killed_at` is when that was last sent."""

    deadline: float
    cause: str
    killed_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unhealthy:
    """A liveness or startup probe gave up on a run; `grace` is the probe's own termination grace, if it has one."""

    probe: str
    grace: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One container. `ended` is set when it is over, `error` when it never started, `lost` when it vanished."""

    record: ContainerRecord
    generation: int
    level: int = 0
    ended: float | None = None
    error: str = ""
    lost: bool = False
    hook_over: bool = True
    started: bool = True
    ready: bool = True
    unhealthy: Unhealthy | None = None
    ending: Ending | None = None

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def attempt(self) -> int:
        return self.record.attempt

    @property
    def running(self) -> bool:
        return self.record.state is State.RUNNING

    @property
    def over(self) -> bool:
        return self.ended is not None

    @property
    def exit_code(self) -> int:
        return self.record.exit_code or (START_ERROR_EXIT_CODE if self.error else 0)

    @property
    def seconds(self) -> float:
        """How long it ran."""
        began, end = self.record.started_at, self.record.finished_at
        return max(0.0, (end - began).total_seconds()) if began and end and not self.error else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something failed `count` times in a row, and is tried again at `retry_at`."""

    reason: str
    message: str
    count: int
    retry_at: float


EVICTED = "Evicted"
"""The reason of a verdict, and then of the pod's status: the host was short of something, or a volume too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The nodelet ends the pod for a reason of its own (eviction, node shutdown): it fails, and stays where it is."""

    reason: str
    message: str
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """See the module.

    Attributes:
        known: The runtime has been listed since it was last lost; nothing may be concluded from absence before that.
        sandboxes: Newest attempt first.
        address: The pod's address, once attached; the node's with host networking.
        attached: None until this nodelet has attached or detached the pod's network itself.
        mounted: Whether the pod's volumes are there; None until this nodelet has set them up or torn them down itself.
        volumes_due: What the volumes should hold has changed since they were set up last.
        runs: By container name, newest first.
        attempts: The number that the next new run of a name takes (absent: 0).
        pulled: Containers whose image is there for the next start.
        faults: By slot (see actions).
        busy: Slots with an action in flight.
        active_until: When the pod has been active for as long as it may.
        removal_deadline: Set when the pod must go; by then it has had its grace.
        drained_at: Set with `removal_deadline`. Until then its containers stay as they are, so that no new connection
            is led to them any more when they end.
        verdict: Set when the pod must fail.
        refusal: Why the pod does not get the resources that it asks for, if it does not.
        terminal: The terminal phase that was reported already; it is never left again.
    """

    known: bool = True
    sandboxes: tuple[Sandbox, ...] = ()
    address: str = ""
    attached: bool | None = None
    mounted: bool | None = False
    volumes_due: bool = False
    runs: Mapping[str, tuple[Run, ...]] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    pulled: frozenset[str] = frozenset()
    faults: Mapping[str, Fault] = field(default_factory=dict)
    busy: frozenset[str] = frozenset()
    active_until: float | None = None
    removal_deadline: float | None = None
    drained_at: float | None = None
    verdict: Verdict | None = None
    refusal: Refusal | None = None
    terminal: str = ""

    @property
    def sandbox(self) -> Sandbox | None:
        """The newest sandbox if it runs."""
        newest = self.sandboxes[0] if self.sandboxes else None
        return newest if newest is not None and newest.state is State.RUNNING else None

    @property
    def active(self) -> bool:
        """Whether a container runs, or is being started."""
        starting = any(slot.startswith(CONTAINER_SLOTS) for slot in self.busy)
        return starting or any(run.running for runs in self.runs.values() for run in runs)

    def newest(self, name: str) -> Run | None:
        """The latest run of a container."""
        runs = self.runs.get(name)
        return runs[0] if runs else None
