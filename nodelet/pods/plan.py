"""What a pod needs next: `plan(blueprint, observed, now)` → actions, when to look again, and why. Pure and total.

    wanted  ─► images, volumes, sandbox ─► network ─► init 1 ─► … ─► init n ─► main containers
               (a sidecar starts in its place among the init containers, and must have started before the next;
                an ephemeral container as soon as there is a network, or its target runs)
    late    ─► activeDeadlineSeconds has passed: condemned, and so over
    over    ─► stop what runs: main, then sidecars last to first ─► remove the sandbox ─► free address, volumes
               (dead containers stay, for their logs)
    removed ─► the same, then remove every container ─► gone
               (it stays as it is first until it is drained: until no node leads new connections to it)

Nothing is remembered here: the same observation gives the same plan, and what is in flight (`observed.busy`) is never
asked for twice. Images are fetched as early as possible, beside everything else. Once a container is being stopped,
only its deadline can be brought forward; past it SIGKILL is sent, again and again, until the runtime says it has
ended: a pod that ignores every signal but that one still goes.
"""

from __future__ import annotations

from collections.abc import Iterator

from nodelet.pods import lives
from nodelet.pods.actions import (
    CONTAINER_SLOTS,
    SANDBOX,
    Action,
    AttachNetwork,
    Condemnation,
    CreateSandbox,
    DetachNetwork,
    HastenStop,
    KillContainer,
    Plan,
    PullImage,
    RemoveContainer,
    RemoveSandbox,
    ResizeContainer,
    RunPostStart,
    SetUpVolumes,
    StartContainer,
    StopContainer,
    TearDownVolumes,
    container_slot,
    hook_slot,
    image_slot,
)
from nodelet.pods.blueprint import Blueprint, Role, Unit
from nodelet.pods.observed import EVICTED, Observed, Run
from nodelet.runtime.protocol import State

KEPT_RUNS = 2
"""Of each container: the newest run, and the one before it for `logs --previous`."""
KILL_AGAIN_SECONDS = 10.0
SIDECAR_LEAST_SECONDS = 2.0
"""What a sidecar gets to end in when the main containers used up the pod's grace."""

_LATE = Condemnation(reason="DeadlineExceeded", message="Pod was active on the node longer than the specified deadline")


def plan(blue: Blueprint, seen: Observed, now: float) -> Plan:
    """Decide a pod's next actions; see the module. `now` is on the monotonic scale of `seen`."""
    if not seen.known:
        return Plan(because="waiting for the runtime")
    draft = _Draft(blue, seen, now)
    if seen.removal_deadline is not None:
        because, gone = _remove(draft, _last_moment(seen, seen.removal_deadline)), _is_gone(seen)
    elif outcome := lives.outcome(blue, seen):
        because, gone = _wind_up(draft, outcome), False
    elif seen.active_until is not None and seen.active_until <= now:
        return Plan(because=_LATE.message, condemned=_LATE)
    else:
        if seen.active_until is not None:
            draft.look_again(seen.active_until)
        because, gone = _carry_on(draft), False
    return Plan(actions=tuple(draft.actions), recheck_at=draft.recheck_at, because=because, gone=gone)


class _Draft:
    """A plan being written: keeps actions off busy slots and failed ones to their back-off."""

    def __init__(self, blue: Blueprint, seen: Observed, now: float) -> None:
        self.blue, self.seen, self.now = blue, seen, now
        self.actions: list[Action] = []
        self.recheck_at: float | None = None

    def look_again(self, moment: float) -> None:
        self.recheck_at = moment if self.recheck_at is None else min(self.recheck_at, moment)

    def do(self, action: Action) -> None:
        """Add an action unless its slot is busy, or failed lately."""
        if action.slot in self.seen.busy:
            return
        fault = self.seen.faults.get(action.slot)
        if fault is not None and fault.retry_at > self.now:
            self.look_again(fault.retry_at)
        else:
            self.actions.append(action)

    def stop(self, run: Run, cause: str, deadline: float | None = None) -> None:
        """Take a running container one step nearer to its end; without a deadline, the pod's grace counts from now."""
        ending = run.ending
        if ending is None:
            until = self.now + self.blue.grace if deadline is None else deadline
            self.do(StopContainer(name=run.name, id=run.id, deadline=until, cause=cause))
            return
        if deadline is not None and deadline < ending.deadline:
            self.do(HastenStop(name=run.name, id=run.id, deadline=deadline))
            return
        kill_at = ending.deadline if ending.killed_at is None else ending.killed_at + KILL_AGAIN_SECONDS
        if self.now >= kill_at:
            self.do(KillContainer(name=run.name, id=run.id))
        else:
            self.look_again(kill_at)


# ---------------------------------------------------------------- a pod that goes on


def _carry_on(draft: _Draft) -> str:
    _stop_unfit(draft)
    _drop_old_runs(draft, KEPT_RUNS)
    _fetch_images(draft)
    if draft.seen.volumes_due:
        draft.do(SetUpVolumes())
    if waiting := _prepare_sandbox(draft):
        return waiting
    if draft.blue.pod.spec.volumes and not draft.seen.mounted:
        return "setting up volumes"
    return _start_in_order(draft)


def _stop_unfit(draft: _Draft) -> None:
    """Stop what runs but should not as it is, and drop containers that were made for a sandbox now gone."""
    for run in _all_runs(draft.seen):
        if run.running:
            cause, grace = _unfit(draft, run)
            if cause:
                draft.stop(run, cause, None if run.ending or grace is None else draft.now + grace)
            else:
                _check_hook(draft, run)
                _check_size(draft, run)
        elif not run.over and run.generation != lives.generation(draft.seen):
            draft.do(RemoveContainer(name=run.name, id=run.id))


def _unfit(draft: _Draft, run: Run) -> tuple[str, float | None]:
    """Why a running container must be replaced (or nothing), and the grace it gets if that is not the pod's."""
    if run.ending is not None:
        return run.ending.cause, None
    unit = draft.blue.by_name.get(run.name)
    if unit is None or run is not draft.seen.newest(run.name):
        return "is no longer part of the pod", None
    if run.generation != lives.generation(draft.seen):
        return "lost its pod sandbox, will be restarted", None
    if lives.changed(unit, run):
        return "definition changed, will be restarted", None
    if lives.resized(unit, run) and run.record.allowance and unit.must_restart(run.record.allowance):
        return "resources changed, will be restarted", None
    if run.unhealthy is not None:
        return f"failed {run.unhealthy.probe} probe, will be restarted", run.unhealthy.grace
    return "", None


def _check_hook(draft: _Draft, run: Run) -> None:
    if not run.hook_over:
        draft.do(RunPostStart(name=run.name, id=run.id))


def _check_size(draft: _Draft, run: Run) -> None:
    unit = draft.blue.by_name[run.name]
    if lives.resized(unit, run):
        draft.do(ResizeContainer(name=run.name, id=run.id, allowance=unit.allowance))


def _fetch_images(draft: _Draft) -> None:
    begun = lives.main_begun(draft.blue, draft.seen)
    for unit in draft.blue.units:
        if unit.role is Role.INIT and begun:
            continue
        moment = lives.next_start(draft.blue, draft.seen, unit)
        if moment is None or unit.name in draft.seen.pulled or container_slot(unit.name) in draft.seen.busy:
            continue
        if moment <= draft.now:
            draft.do(PullImage(name=unit.name))
        else:
            draft.look_again(moment)


def _prepare_sandbox(draft: _Draft) -> str:
    """Have one running sandbox with an address; what is being waited for, or nothing."""
    seen = draft.seen
    for old in seen.sandboxes[1:]:
        draft.do(RemoveSandbox(id=old.id))
    if seen.sandbox is None:
        if any(run.running for run in _all_runs(seen)):
            return "stopping containers of the lost sandbox"
        newest = seen.sandboxes[0] if seen.sandboxes else None
        made = newest is not None and newest.state is State.CREATED
        attempt = newest.attempt if made and newest is not None else lives.generation(seen)
        draft.do(CreateSandbox(attempt=attempt))
        return "creating the sandbox"
    if not seen.address:
        draft.do(AttachNetwork(sandbox_id=seen.sandbox.id))
        return "attaching the network"
    return ""


def _start_in_order(draft: _Draft) -> str:
    for unit in draft.blue.ephemeral:
        if not unit.target or _runs(draft.seen.newest(unit.target)):
            _start(draft, unit)
    begun = lives.main_begun(draft.blue, draft.seen)
    for unit in draft.blue.init:
        if begun and unit.role is Role.INIT:
            continue
        _start(draft, unit)
        if not begun and not lives.init_passed(draft.seen, unit):
            return f"waiting for init container {unit.name}"
    for unit in draft.blue.main:
        _start(draft, unit)
        if unit.gates_next and not _past_hook(draft.seen.newest(unit.name)):
            return f"waiting for the postStart hook of {unit.name}"
    return "starting containers" if draft.actions else "as it should be"


def _runs(run: Run | None) -> bool:
    return run is not None and run.running


def _past_hook(run: Run | None) -> bool:
    return run is not None and (run.over or (run.running and run.hook_over))


def _start(draft: _Draft, unit: Unit) -> None:
    moment = lives.next_start(draft.blue, draft.seen, unit)
    if moment is None:
        return
    if moment > draft.now:
        draft.look_again(moment)
    elif unit.name in draft.seen.pulled and image_slot(unit.name) not in draft.seen.busy:
        draft.do(_start_action(draft.seen, unit))


def _start_action(seen: Observed, unit: Unit) -> StartContainer:
    run = seen.newest(unit.name)
    unstarted = run is not None and not run.over and run.generation == lives.generation(seen)
    return StartContainer(
        name=unit.name,
        attempt=run.attempt if unstarted and run is not None else seen.attempts.get(unit.name, 0),
        level=lives.start_level(seen, unit),
        generation=lives.generation(seen),
    )


# ---------------------------------------------------------------- a pod that is over


def _wind_up(draft: _Draft, outcome: str) -> str:
    verdict = draft.seen.verdict
    cause = verdict.reason if verdict is not None else f"pod {outcome.lower()}"
    if not _stop_all(draft, cause, verdict.deadline if verdict is not None else None):
        return f"pod {outcome.lower()}, stopping what still runs"
    _drop_old_runs(draft, 0 if draft.seen.terminal and _is_evicted(draft) else KEPT_RUNS)
    _release(draft)
    return f"pod {outcome.lower()}"


def _is_evicted(draft: _Draft) -> bool:
    """Whether the pod went because the host ran short: what its containers wrote goes, too, once its status is told.
    The next pod would be evicted for a disk that the last one still fills."""
    verdict = draft.seen.verdict
    return (verdict.reason if verdict is not None else draft.blue.pod.status.reason) == EVICTED


def _last_moment(seen: Observed, deadline: float) -> float:
    """By when a pod that must go has ended; the node's own reasons may leave it less time."""
    return deadline if seen.verdict is None else min(deadline, seen.verdict.deadline)


def _remove(draft: _Draft, deadline: float) -> str:
    if _drains(draft, deadline):
        return "waiting until no service leads to it any more"
    if not _stop_all(draft, "pod is being deleted", deadline):
        return "stopping containers"
    _drop_old_runs(draft, 0)
    _release(draft)
    return "removing what is left"


def _drains(draft: _Draft, deadline: float) -> bool:
    until, runs = draft.seen.drained_at, [run for run in _all_runs(draft.seen) if run.running]
    if until is None or not draft.now < until < deadline or draft.seen.verdict is not None:
        return False
    if not runs or any(run.ending for run in runs):
        return False
    draft.look_again(until)
    return True


def _is_gone(seen: Observed) -> bool:
    in_flight = any(not slot.startswith(("image/", "hook/")) for slot in seen.busy)
    left = any(seen.runs.values()) or seen.sandboxes or seen.attached is not False or seen.mounted is not False
    return not (left or in_flight)


def _stop_all(draft: _Draft, cause: str, deadline: float | None) -> bool:
    """Main and init containers, then sidecars last to first; whether none runs, and none is being started."""
    sidecars = {unit.name for unit in draft.blue.sidecars}
    first = [run for run in _all_runs(draft.seen) if run.running and run.name not in sidecars]
    for run in first:
        draft.stop(run, cause, deadline)
    if first:
        return False
    for unit in reversed(draft.blue.sidecars):
        running = [run for run in draft.seen.runs.get(unit.name, ()) if run.running]
        for run in running:
            draft.stop(run, cause, _sidecar_deadline(draft, deadline))
        if running:
            return False
    return not any(slot.startswith(CONTAINER_SLOTS) or slot == SANDBOX for slot in draft.seen.busy)


def _sidecar_deadline(draft: _Draft, deadline: float | None) -> float | None:
    """Sidecars share the pod's grace, with a little of their own; none when the pod was given none."""
    if deadline is None or draft.blue.grace <= 0:
        return deadline
    return max(deadline, draft.now + SIDECAR_LEAST_SECONDS)


def _release(draft: _Draft) -> None:
    for sandbox in draft.seen.sandboxes:
        draft.do(RemoveSandbox(id=sandbox.id))
    if not draft.seen.sandboxes and draft.seen.attached is not False:
        draft.do(DetachNetwork())
    if not draft.seen.sandboxes and draft.seen.mounted is not False:
        draft.do(TearDownVolumes())


# ---------------------------------------------------------------- shared


def _all_runs(seen: Observed) -> Iterator[Run]:
    for runs in seen.runs.values():
        yield from runs


def _drop_old_runs(draft: _Draft, keep: int) -> None:
    """Remove ended runs but the `keep` newest of each name, and what is no longer part of the pod."""
    for name, runs in draft.seen.runs.items():
        kept = keep if name in draft.blue.by_name else 0
        for run in runs[kept:]:
            if not run.running and hook_slot(run.id) not in draft.seen.busy:
                draft.do(RemoveContainer(name=name, id=run.id))
