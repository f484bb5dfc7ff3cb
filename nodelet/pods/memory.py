"""What one pod worker remembers between steps, and how it takes in what the runtime lists.

The runtime's listing is the truth about sandboxes and containers; what it can't say (hooks run, probe results, who is
being stopped and why, what failed and when to try again) is kept here, and is rebuilt empty after the nodelet's own
restart, where a running container counts as started, its hook as run, and its readiness as last reported.
A container that vanished from the runtime while it ran is kept as one that ended, so that its restart policy is applied
to it. Mutable, in memory, touched only by its worker in the event loop.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nodelet.pods.actions import VOLUMES
from nodelet.pods.blueprint import Unit
from nodelet.pods.grant import Refusal
from nodelet.pods.observed import LOST_EXIT_CODE, Ending, Fault, Observed, Run, Unhealthy, Verdict
from nodelet.pods.spec import GENERATION_LABEL, LEVEL_LABEL
from nodelet.runtime.protocol import Allowance, ContainerRecord, ImageRecord, Listing, Sandbox, State
from podium.aio.backoff import Backoff
from podium.aio.clock import Clock
from podium.objects.meta import to_datetime
from podium.objects.pod import FAILED, SUCCEEDED
from podium.v1.core_pb2 import ContainerStatus, Pod, PodSpec

_RETRY = Backoff(initial=1.0, maximum=60.0)
_SAME_START_SECONDS = 5.0
DRAIN_SECONDS = 12.0
"""How long a pod that must go stays as it is when nobody says that no node leads to it any more. Longer than the master
waits for a node that does not answer (`master.dispatcher.telling`), which is what says so at the latest."""
ARRIVAL_SECONDS = 0.25
"""How long what was led to a pod in the last moment may take until the pod's server has it in hands."""
_LOST = "The container could not be located when the pod was last seen by the runtime"


@dataclass(slots=True)
class _Notes:
    """What the runtime doesn't know about one container."""

    hook_over: bool
    started: bool
    ready: bool
    error: str = ""
    lost: bool = False
    ended: float | None = None
    unhealthy: Unhealthy | None = None
    ending: Ending | None = None


class PodMemory:
    """See the module."""

    def __init__(self, clock: Clock, pod: Pod, host_address: str = "", *, mounted: bool | None = False) -> None:
        """Begin with what the pod's own status says.

        Args:
            clock: The nodelet's.
            pod: As it was assigned.
            host_address: The node's own, for a pod on the host's network; else the pod gets one by attaching.
            mounted: None when volumes of the pod may be here; False when none can be.
        """
        self._clock, self._host_address = clock, host_address
        self._sandboxes: tuple[Sandbox, ...] = ()
        self._records: dict[str, ContainerRecord] = {}
        self._notes: dict[str, _Notes] = {}
        self._attempts: dict[str, int] = {}
        self._faults: dict[str, Fault] = {}
        self._adopting = True
        self._terminal = pod.status.phase if pod.status.phase in (SUCCEEDED, FAILED) else ""
        self._last_ready = {_id(s) for s in _statuses(pod) if s.ready and s.container_id}
        self._not_started = {_id(s) for s in _statuses(pod) if s.HasField("started") and not s.started}
        for status in _statuses(pod):
            self._attempts[status.name] = status.restart_count + 1 if status.container_id else status.restart_count
        self.known = False
        self.address = host_address
        self.attached: bool | None = False if host_address else None
        self.mounted = mounted
        self._volumes_wanted, self._volumes_made = int(bool(pod.spec.volumes)), 0
        self.images: dict[str, ImageRecord] = {}
        self._began = self.moment(to_datetime(pod.status.start_time) if pod.status.start_time.seconds else clock.now())
        self.active_until: float | None = None
        self.removal_deadline: float | None = None
        self._grace = math.inf
        self._drained_at: float | None = None
        self._arrived_at: float | None = None
        self.verdict: Verdict | None = None
        self.refusal: Refusal | None = None

    # ------------------------------------------------------------ reading

    def observed(self, busy: Iterable[str]) -> Observed:
        """Everything, frozen."""
        runs: dict[str, list[Run]] = {}
        for record in self._records.values():
            runs.setdefault(record.name, []).append(self._run(record))
        for of_name in runs.values():
            of_name.sort(key=lambda run: run.attempt, reverse=True)
        return Observed(
            known=self.known,
            sandboxes=self._sandboxes,
            address=self.address,
            attached=self.attached,
            mounted=self.mounted,
            volumes_due=self._volumes_wanted != self._volumes_made,
            runs={name: tuple(of_name) for name, of_name in runs.items()},
            attempts=dict(self._attempts),
            pulled=frozenset(self.images),
            faults=dict(self._faults),
            busy=frozenset(busy),
            active_until=self.active_until,
            removal_deadline=self.removal_deadline,
            drained_at=self._drained_at,
            verdict=self.verdict,
            refusal=self.refusal,
            terminal=self._terminal,
        )

    def _run(self, record: ContainerRecord) -> Run:
        notes = self._notes[record.id]
        return Run(
            record=record,
            generation=_number(record.labels, GENERATION_LABEL),
            level=_number(record.labels, LEVEL_LABEL),
            ended=notes.ended,
            error=notes.error,
            lost=notes.lost,
            hook_over=notes.hook_over,
            started=notes.started,
            ready=notes.ready,
            unhealthy=notes.unhealthy,
            ending=notes.ending,
        )

    def record(self, container_id: str) -> ContainerRecord | None:
        """A container by its id."""
        return self._records.get(container_id)

    @property
    def unwanted(self) -> bool:
        """Whether the pod is to end: what waits for its turn to start need not start any more."""
        return self.removal_deadline is not None or self.verdict is not None

    def knows(self, id_: str) -> bool:
        """Whether a container or sandbox of this id is known."""
        return id_ in self._records or any(sandbox.id == id_ for sandbox in self._sandboxes)

    def running(self, name: str) -> ContainerRecord | None:
        """The running container of this name."""
        return next((r for r in self._records.values() if r.name == name and r.state is State.RUNNING), None)

    def records(self) -> Iterable[ContainerRecord]:
        """Every container known."""
        return self._records.values()

    @property
    def sandboxes(self) -> tuple[Sandbox, ...]:
        """Newest attempt first."""
        return self._sandboxes

    # ------------------------------------------------------------ the runtime's word

    def take(self, listing: Listing) -> bool:
        """Take in what the runtime holds of this pod; whether that is news."""
        before = (self.known, self._sandboxes, self._records)
        self._take_sandboxes(listing.sandboxes)
        records = {record.id: self._same_or_new(record) for record in listing.containers}
        for gone in [record for id_, record in self._records.items() if id_ not in records]:
            if kept := self._lost(gone):
                records[kept.id] = kept
        self._records = records
        for record in records.values():
            self._note(record)
        self._notes = {id_: notes for id_, notes in self._notes.items() if id_ in records}
        self.known, self._adopting = True, False
        return before != (True, self._sandboxes, self._records)

    def _same_or_new(self, record: ContainerRecord) -> ContainerRecord:
        """The known record while the container just runs on: the one written at its start differs in fractions."""
        known = self._records.get(record.id)
        if known is None or not known.state is record.state is State.RUNNING:
            return record
        if known.started_at is None or record.started_at is None:
            return record
        apart = abs((record.started_at - known.started_at).total_seconds())
        same_share = known.allowance == record.allowance
        return known if apart < _SAME_START_SECONDS and same_share else record

    def _take_sandboxes(self, sandboxes: Iterable[Sandbox]) -> None:
        known = self._sandboxes[0] if self._sandboxes else None
        self._sandboxes = tuple(sorted(sandboxes, key=lambda s: s.attempt, reverse=True))
        newest = self._sandboxes[0] if self._sandboxes else None
        same = known is not None and newest is not None and known.id == newest.id
        if same and known is not None and newest is not None and known.netns_path != newest.netns_path:
            self.address = self._host_address  # restarted behind our back: a new network namespace, not yet wired

    def _lost(self, record: ContainerRecord) -> ContainerRecord | None:
        """A container that vanished: kept, as ended, while nothing newer of its name replaced it."""
        notes = self._notes[record.id]
        if notes.lost:
            newer = any(r.name == record.name and r.attempt > record.attempt for r in self._records.values())
            return None if newer or self.removal_deadline is not None else record
        if record.state is not State.RUNNING or self.removal_deadline is not None:
            return None
        notes.lost, notes.error = True, _LOST
        now = self._clock.now()
        return dataclasses.replace(record, state=State.EXITED, exit_code=LOST_EXIT_CODE, finished_at=now)

    def _note(self, record: ContainerRecord) -> None:
        self._attempts[record.name] = max(self._attempts.get(record.name, 0), record.attempt + 1)
        notes = self._notes.get(record.id)
        if notes is None:
            running = self._adopting and record.state is State.RUNNING
            ready = not running or record.id in self._last_ready
            started = record.id not in self._not_started
            notes = self._notes[record.id] = _Notes(hook_over=running, started=started and running, ready=ready)
        if record.error and record.started_at is None:
            notes.error = record.error
        over = record.state is State.EXITED or bool(notes.error)
        if over and notes.ended is None:
            notes.ended = self.moment(record.finished_at or record.created_at)

    def moment(self, wall: datetime.datetime) -> float:
        """A wall time as a moment on the monotonic scale; never in the future."""
        return self._clock.monotonic() - max(0.0, (self._clock.now() - wall).total_seconds())

    def limit_activity(self, spec: PodSpec) -> None:
        """Take in the pod's activeDeadlineSeconds, which may be set or lowered while it runs."""
        limited = spec.HasField("active_deadline_seconds")
        self.active_until = self._began + spec.active_deadline_seconds if limited else None

    def remove_within(self, grace: float, *, drains: bool) -> None:
        """The pod must go. The first call sets the deadline; later ones only shorten.

        Args:
            grace: Seconds, which count from when the pod is drained.
            drains: Whether the pod stays as it is until no node leads to it. With no grace it never does.
        """
        now, known = self._clock.monotonic(), self.removal_deadline
        if known is None and drains:
            self._drained_at = now + DRAIN_SECONDS if self._arrived_at is None else self._arrived_at
        if grace <= 0 or self._drained_at is None:
            self._drained_at = now
        deadline = max(now, self._drained_at) + grace
        self.removal_deadline = deadline if known is None else min(known, deadline)
        self._grace = min(self._grace, grace)

    def drained(self, *, was_led: bool) -> None:
        """No node leads to the pod any more. That it must go may not be known here yet.

        Args:
            was_led: Whether services led to it: what they sent in the last moment may still arrive.
        """
        if self._arrived_at is None:
            self._arrived_at = self._clock.monotonic() + (ARRIVAL_SECONDS if was_led else 0.0)
        if self.removal_deadline is not None and self._drained_at is not None and self._arrived_at < self._drained_at:
            self._drained_at = self._arrived_at
            self.removal_deadline = min(self.removal_deadline, self._drained_at + self._grace)

    def forget_runtime(self) -> None:
        """The runtime is gone: conclude nothing until it lists again."""
        self.known = False

    # ------------------------------------------------------------ what actions came to

    def sandbox_created(self, sandbox: Sandbox) -> None:
        others = [s for s in self._sandboxes if s.attempt != sandbox.attempt]
        self._sandboxes = tuple(sorted((sandbox, *others), key=lambda s: s.attempt, reverse=True))
        self.address = self._host_address
        self.attached = False if self._host_address else None

    def sandbox_removed(self, sandbox_id: str) -> None:
        self._sandboxes = tuple(s for s in self._sandboxes if s.id != sandbox_id)

    def network_attached(self, address: str) -> None:
        self.address, self.attached = address, True

    def network_detached(self) -> None:
        self.attached = False

    def volumes_changed(self) -> None:
        """The volumes should hold something else from now on."""
        self._volumes_wanted += 1
        self.forgive(VOLUMES)

    @property
    def volumes_wanted(self) -> int:
        """Counts what the volumes should hold; to be given back when it was set up."""
        return self._volumes_wanted

    def volumes_set_up(self, wanted: int) -> None:
        """The volumes hold what was wanted then."""
        self.mounted, self._volumes_made = True, wanted

    def volumes_torn_down(self) -> None:
        self.mounted = False

    def container_created(self, record: ContainerRecord, unit: Unit) -> None:
        """A container of this unit was created, and, if its state says so, started."""
        self._records[record.id] = record
        self._notes[record.id] = _Notes(
            hook_over=unit.post_start is None,
            started=not unit.container.HasField("startup_probe"),
            ready=not unit.container.HasField("readiness_probe"),
        )
        self._note(record)

    def container_failed(self, container_id: str, message: str) -> None:
        """A created container could not be started."""
        if (record := self._records.get(container_id)) is not None:
            self._notes[container_id].error = message
            self._note(record)

    def container_resized(self, container_id: str, allowance: Allowance) -> None:
        if (record := self._records.get(container_id)) is not None:
            self._records[container_id] = dataclasses.replace(record, allowance=allowance)

    def container_removed(self, container_id: str) -> None:
        self._records.pop(container_id, None)
        self._notes.pop(container_id, None)

    def hook_over(self, container_id: str) -> None:
        if notes := self._notes.get(container_id):
            notes.hook_over = True

    def probed(self, container_id: str, *, started: bool | None = None, ready: bool | None = None) -> None:
        """A probe's verdict changed."""
        if notes := self._notes.get(container_id):
            notes.started = notes.started if started is None else started
            notes.ready = notes.ready if ready is None else ready

    def gave_up(self, container_id: str, unhealthy: Unhealthy) -> None:
        """A liveness or startup probe condemned a container."""
        if notes := self._notes.get(container_id):
            notes.unhealthy = notes.unhealthy or unhealthy

    def ending(self, container_id: str) -> Ending | None:
        notes = self._notes.get(container_id)
        return notes.ending if notes else None

    def set_ending(self, container_id: str, ending: Ending) -> None:
        if notes := self._notes.get(container_id):
            notes.ending = ending

    def fail(self, slot: str, reason: str, message: str, *, retry_at: float | None = None) -> Fault:
        """An action failed; it is tried again at `retry_at`, by default after a doubling delay of 1 to 60 seconds."""
        known = self._faults.get(slot)
        count = known.count + 1 if known else 1
        moment = self._clock.monotonic() + _RETRY.delay(count) if retry_at is None else retry_at
        fault = self._faults[slot] = Fault(reason=reason, message=message, count=count, retry_at=moment)
        return fault

    def succeed(self, slot: str) -> None:
        self._faults.pop(slot, None)

    def forgive(self, prefix: str) -> None:
        """Drop the faults of slots that begin so: what they failed on has changed."""
        self._faults = {slot: fault for slot, fault in self._faults.items() if not slot.startswith(prefix)}

    def set_terminal(self, phase: str) -> None:
        """A terminal phase was reported; it is never left again."""
        self._terminal = self._terminal or phase


def _statuses(pod: Pod) -> tuple[ContainerStatus, ...]:
    status = pod.status
    return (*status.init_container_statuses, *status.container_statuses, *status.ephemeral_container_statuses)


def _id(status: ContainerStatus) -> str:
    """The runtime's id, without the scheme."""
    return status.container_id.rpartition("://")[2]


def _number(labels: Mapping[str, str], name: str) -> int:
    text = labels.get(name, "")
    return int(text) if text.isdigit() else 0
