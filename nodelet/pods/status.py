"""What the world is told about a pod: `pod_status(...)`, pure, from the same observation that the planner reads.

Phases, reasons and conditions are Kubernetes'. A terminal phase is only reported when nothing of the pod runs any more.
A container that waits for its next run shows why (`CrashLoopBackOff`, `ImagePullBackOff`, …) with the last real error
in the message, and its last end in `lastState`.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nodelet.pods import lives
from nodelet.pods.actions import NETWORK, SANDBOX, VOLUMES, container_slot, image_slot, resize_slot
from nodelet.pods.backoff import next_level
from nodelet.pods.blueprint import Blueprint, Role, Unit
from nodelet.pods.observed import LOST_EXIT_CODE, Fault, Observed, Run
from nodelet.pods.spec import NodeFacts
from podium.objects.conditions import FALSE, TRUE, set_condition
from podium.objects.meta import timestamp
from podium.objects.pod import (
    BEST_EFFORT,
    CONTAINERS_READY,
    DISRUPTION_TARGET,
    FAILED,
    INITIALIZED,
    PENDING,
    READY,
    RUNNING,
    SUCCEEDED,
    qos_class,
)
from podium.v1.core_pb2 import ContainerState, ContainerStatus, PodIP, PodStatus

SANDBOX_READY = "PodReadyToStartContainers"
_DISRUPTIONS = frozenset({"Evicted", "Terminated"})
"""Verdicts that are the node's reasons, not the pod's."""
RESIZE_PENDING, RESIZE_IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
_OWN = (SANDBOX_READY, INITIALIZED, CONTAINERS_READY, READY)
_RESIZES = (RESIZE_PENDING, RESIZE_IN_PROGRESS)
_SIGNALLED = range(129, 128 + 65)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """The two scales of now: `at` is monotonic, `wall` for people."""

    at: float
    wall: datetime.datetime


def pod_status(blue: Blueprint, seen: Observed, previous: PodStatus, *, now: float, wall: datetime.datetime,
               node: NodeFacts) -> PodStatus:  # fmt: skip
    """The status to report.

    Args:
        blue: The pod.
        seen: What is known of it.
        previous: What was reported last, for transition times and what others wrote.
        now: Monotonic seconds, on the scale of `seen`.
        wall: The same moment for people.
        node: Where it runs.
    """
    moment = _Moment(at=now, wall=wall)
    statuses = {unit.name: _container_status(blue, seen, unit, moment, node) for unit in blue.units}
    if seen.terminal:
        statuses |= _told_before(seen, previous)
    address = seen.address or (previous.pod_ip if seen.terminal else "")
    status = PodStatus(
        phase=_phase(blue, seen, statuses),
        host_ip=node.ip,
        pod_ip=address,
        pod_ips=[PodIP(ip=address)] if address else [],
        init_container_statuses=[statuses[unit.name] for unit in blue.init],
        container_statuses=[statuses[unit.name] for unit in blue.main],
        ephemeral_container_statuses=[statuses[unit.name] for unit in blue.ephemeral],
        qos_class=previous.qos_class or qos_class(blue.pod.spec),
        nominated_node_name=previous.nominated_node_name,
        observed_generation=blue.pod.metadata.generation,
    )
    status.start_time.CopyFrom(previous.start_time if previous.HasField("start_time") else timestamp(wall))
    if seen.verdict is not None:
        status.reason, status.message = seen.verdict.reason, seen.verdict.message
    elif seen.terminal:
        status.reason, status.message = previous.reason, previous.message
    _tell_resources(status, blue, seen, previous)
    _set_conditions(status, blue, seen, previous, moment)
    _set_resize_conditions(status, blue, seen, moment)
    return status


# ---------------------------------------------------------------- phase


def _phase(blue: Blueprint, seen: Observed, statuses: dict[str, ContainerStatus]) -> str:
    if not seen.active:
        if outcome := lives.outcome(blue, seen):
            return outcome
        if seen.removal_deadline is not None and (outcome := _outcome_of_deletion(blue, seen)):
            return outcome
    if not lives.initialized(blue, seen) and not _any_main_run(blue, seen):
        return PENDING
    begun = all(_has_begun(statuses[unit.name]) for unit in blue.main)
    return RUNNING if begun or lives.outcome(blue, seen) else PENDING


def _any_main_run(blue: Blueprint, seen: Observed) -> bool:
    return any(seen.newest(unit.name) is not None for unit in blue.main)


def _has_begun(status: ContainerStatus) -> bool:
    return not status.state.HasField("waiting") or status.last_state.HasField("terminated")


def _outcome_of_deletion(blue: Blueprint, seen: Observed) -> str:
    """A deleted pod whose containers have all ended is over, whatever its restart policy."""
    last = [seen.newest(unit.name) for unit in blue.main]
    if any(run is None or not run.over for run in last):
        return ""
    return SUCCEEDED if all(run is not None and run.exit_code == 0 for run in last) else FAILED


# ---------------------------------------------------------------- containers


def _container_status(blue: Blueprint, seen: Observed, unit: Unit, moment: _Moment, node: NodeFacts) -> ContainerStatus:
    runs = seen.runs.get(unit.name, ())
    status = ContainerStatus(name=unit.name, image=unit.container.image)
    if lives.has_vanished(seen, unit):
        status.state.terminated.exit_code, status.state.terminated.reason = LOST_EXIT_CODE, "ContainerStatusUnknown"
        return status
    if not runs:
        status.state.CopyFrom(_waiting(blue, seen, unit))
        status.started = False
        status.restart_count = seen.attempts.get(unit.name, 0)
        return status
    newest = runs[0]
    # A newer run may have vanished without a trace while the nodelet was away: the count never goes back.
    status.restart_count = max(newest.attempt, seen.attempts.get(unit.name, 0) - 1)
    status.image_id, status.container_id = newest.record.image_id, node.container_id(newest.id)
    status.started = newest.running and newest.started and newest.hook_over
    if newest.running:
        status.state.running.started_at.CopyFrom(timestamp(newest.record.started_at or newest.record.created_at))
    elif not newest.over or _waits(blue, seen, unit, moment):
        status.state.CopyFrom(_waiting(blue, seen, unit))
    else:
        status.state.CopyFrom(_terminated(newest, node))
    status.ready = _is_ready(unit, newest) and not status.state.HasField("waiting")
    last = newest if newest.over and status.state.HasField("waiting") else _first(run for run in runs[1:] if run.over)
    if last is not None:
        status.last_state.CopyFrom(_terminated(last, node))
    return status


def _told_before(seen: Observed, previous: PodStatus) -> dict[str, ContainerStatus]:
    """What was said of containers that have ended and were taken away since: of a pod that is over it stays true."""
    every = (*previous.init_container_statuses, *previous.container_statuses, *previous.ephemeral_container_statuses)
    return {told.name: told for told in every if told.state.HasField("terminated") and not seen.runs.get(told.name)}


def _tell_resources(status: PodStatus, blue: Blueprint, seen: Observed, previous: PodStatus) -> None:
    """What containers were granted, and what those that run have."""
    if status.qos_class == BEST_EFFORT:
        return
    before = {s.name: s for s in (*previous.init_container_statuses, *previous.container_statuses)}
    behind = {run.name for run in _being_resized(blue, seen)}
    for told in (*status.init_container_statuses, *status.container_statuses):
        granted, was = blue.by_name[told.name].container.resources, before.get(told.name)
        told.allocated_resources.update(granted.requests)
        has = was.resources if was is not None and was.HasField("resources") and told.name in behind else granted
        told.resources.SetInParent()
        told.resources.CopyFrom(has)


def _is_ready(unit: Unit, run: Run) -> bool:
    if unit.role is Role.INIT:
        return lives.succeeded(run)
    if unit.role is Role.EPHEMERAL:
        return False
    return run.running and run.started and run.hook_over and run.ready


def _waits(blue: Blueprint, seen: Observed, unit: Unit, moment: _Moment) -> bool:
    """Whether an ended container is kept from its next run by a back-off or a fault."""
    if seen.removal_deadline is not None or lives.outcome(blue, seen):
        return False
    if _fault(seen, unit) is not None:
        return True
    due = lives.next_start(blue, seen, unit)
    return due is not None and due > moment.at


def _waiting(blue: Blueprint, seen: Observed, unit: Unit) -> ContainerState:
    state = ContainerState()
    fault, run = _fault(seen, unit), seen.newest(unit.name)
    if fault is not None:
        state.waiting.reason, state.waiting.message = fault.reason, fault.message
    elif run is not None and run.over:
        state.waiting.reason, state.waiting.message = "CrashLoopBackOff", _crash_message(blue, unit, run)
    elif (shared := _shared_fault(seen)) is not None:
        state.waiting.reason, state.waiting.message = "ContainerCreating", shared.message
    elif _awaits_init(blue, seen, unit):
        state.waiting.reason = "PodInitializing"
    else:
        state.waiting.reason = "ContainerCreating"
    return state


def _shared_fault(seen: Observed) -> Fault | None:
    """What keeps every container of the pod from starting."""
    return seen.faults.get(SANDBOX) or seen.faults.get(NETWORK) or seen.faults.get(VOLUMES)


def _awaits_init(blue: Blueprint, seen: Observed, unit: Unit) -> bool:
    """Whether an init container or sidecar before this one has not let it through yet."""
    if unit.role is Role.EPHEMERAL:
        return False
    before = blue.units[: blue.units.index(unit)]
    return (
        any(u.role is not Role.MAIN for u in before)
        and not lives.main_begun(blue, seen)
        and not all(lives.init_passed(seen, u) for u in before if u.role is not Role.MAIN)
    )


def _fault(seen: Observed, unit: Unit) -> Fault | None:
    return seen.faults.get(image_slot(unit.name)) or seen.faults.get(container_slot(unit.name))


def _crash_message(blue: Blueprint, unit: Unit, run: Run) -> str:
    meta = blue.pod.metadata
    delay = blue.crash_loop.delay(next_level(run.level, run.seconds))
    return f"back-off {delay:g}s restarting failed container={unit.name} pod={meta.name}_{meta.namespace}({meta.uid})"


def _terminated(run: Run, node: NodeFacts) -> ContainerState:
    state = ContainerState()
    ended, record = state.terminated, run.record
    ended.exit_code, ended.container_id = run.exit_code, node.container_id(run.id)
    ended.reason, ended.message = _end_reason(run), run.error or record.error or record.message
    if ended.exit_code in _SIGNALLED:
        ended.signal = ended.exit_code - 128
    if record.started_at is not None:
        ended.started_at.CopyFrom(timestamp(record.started_at))
    if record.finished_at is not None:
        ended.finished_at.CopyFrom(timestamp(record.finished_at))
    return state


def _end_reason(run: Run) -> str:
    if run.lost:
        return "ContainerStatusUnknown"
    if run.error:
        return "StartError"
    if run.record.oom_killed:
        return "OOMKilled"
    return "Completed" if run.exit_code == 0 else "Error"


def _first(runs: Iterable[Run]) -> Run | None:
    return next(iter(runs), None)


# ---------------------------------------------------------------- conditions


def _set_conditions(status: PodStatus, blue: Blueprint, seen: Observed, previous: PodStatus, moment: _Moment) -> None:
    status.conditions.extend(c for c in blue.pod.status.conditions if c.type not in (*_OWN, *_RESIZES))
    said = {c.type for c in status.conditions}
    ours = (*_OWN, *_RESIZES, DISRUPTION_TARGET)
    status.conditions.extend(c for c in previous.conditions if c.type in ours and c.type not in said)
    if seen.verdict is not None and seen.verdict.reason in _DISRUPTIONS:
        set_condition(
            status.conditions, DISRUPTION_TARGET, TRUE, now=moment.wall, reason="TerminationByKubelet",
            message=seen.verdict.message,
        )  # fmt: skip
    over = status.phase in (SUCCEEDED, FAILED)
    unready = [unit.name for unit in blue.units if not _counts_as_ready(unit, status)]
    ready_message = f"containers with unready status: [{' '.join(unready)}]"
    up = seen.sandbox is not None and bool(seen.address)
    begun = lives.initialized(blue, seen) or (over and _any_main_run(blue, seen))
    waiting = [unit.name for unit in blue.init if not lives.init_passed(seen, unit)]
    init_message = f"containers with incomplete status: [{' '.join(waiting)}]"
    lasting: list[tuple[str, bool, str, str]] = [
        (SANDBOX_READY, up, "", ""),
        (INITIALIZED, begun, "ContainersNotInitialized", init_message),
    ]
    ready = not over and not unready and begun
    reason = {SUCCEEDED: "PodCompleted", FAILED: "PodFailed"}.get(status.phase, "ContainersNotReady")
    lasting += [(type_, ready, reason, "" if over else ready_message) for type_ in (CONTAINERS_READY, READY)]
    for type_, holds, why, message in lasting:
        set_condition(
            status.conditions,
            type_,
            TRUE if holds else FALSE,
            now=moment.wall,
            reason="" if holds else why,
            message="" if holds else message,
            observed_generation=blue.pod.metadata.generation,
        )


def _set_resize_conditions(status: PodStatus, blue: Blueprint, seen: Observed, moment: _Moment) -> None:
    """They are there while a resize waits, and while one that was granted is not done (KEP-1287)."""
    faults = [seen.faults[slot] for run in _being_resized(blue, seen) if (slot := resize_slot(run.id)) in seen.faults]
    pending, fault = seen.refusal, next(iter(faults), None)
    for type_, holds, reason, message in (
        (RESIZE_PENDING, pending is not None, pending.reason if pending else "", pending.message if pending else ""),
        (RESIZE_IN_PROGRESS, bool(_being_resized(blue, seen)), fault.reason if fault else "",
         fault.message if fault else ""),
    ):  # fmt: skip
        if holds:
            set_condition(
                status.conditions, type_, TRUE, now=moment.wall, reason=reason, message=message,
                observed_generation=blue.pod.metadata.generation,
            )  # fmt: skip
        else:
            kept = [c for c in status.conditions if c.type != type_]
            del status.conditions[:]
            status.conditions.extend(kept)


def _being_resized(blue: Blueprint, seen: Observed) -> list[Run]:
    newest = ((unit, seen.newest(unit.name)) for unit in blue.units)
    return [run for unit, run in newest if run is not None and run.running and lives.resized(unit, run)]


def _counts_as_ready(unit: Unit, status: PodStatus) -> bool:
    if unit.role in (Role.INIT, Role.EPHEMERAL):
        return True
    statuses: Sequence[ContainerStatus] = (*status.init_container_statuses, *status.container_statuses)
    return next(found.ready for found in statuses if found.name == unit.name)
