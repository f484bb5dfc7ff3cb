"""Does a container run again, and when; is the pod over? Asked by the planner and the status writer alike. Pure.

An end that the nodelet brought about itself (probe, hook or configuration) counts as a failure whatever the exit code:
a container that answers SIGTERM with 0 is still to be replaced. Init containers run again in every new sandbox; main
containers that are done stay done.
"""

from __future__ import annotations

from nodelet.pods.backoff import next_level
from nodelet.pods.blueprint import Blueprint, Restart, Role, Unit
from nodelet.pods.observed import Observed, Run
from podium.objects.pod import FAILED, SUCCEEDED

AT_ONCE = float("-inf")


def succeeded(run: Run) -> bool:
    """Whether a run ended well, by itself."""
    return run.over and run.exit_code == 0 and run.ending is None


def again(unit: Unit, run: Run) -> bool:
    """Whether an ended run is followed by another."""
    if run.ending is not None:
        return unit.restart is not Restart.NEVER
    return unit.restart.again(run.exit_code)


def changed(unit: Unit, run: Run) -> bool:
    """Whether the run is of another configuration than the one wanted now."""
    return run.record.config_hash != unit.config_hash


def resized(unit: Unit, run: Run) -> bool:
    """Whether the run has another share of the host than it should now."""
    return run.record.allowance is not None and run.record.allowance != unit.allowance


def outdated(unit: Unit, run: Run) -> bool:
    """Whether an ended run says little of how the next one will do."""
    return changed(unit, run) or resized(unit, run)


def generation(seen: Observed) -> int:
    """The attempt of the sandbox that new runs are for: the one that runs, or the one to be made."""
    if not seen.sandboxes:
        return max((run.generation + 1 for runs in seen.runs.values() for run in runs), default=0)
    return seen.sandboxes[0].attempt + (0 if seen.sandbox is not None else 1)


def main_begun(blue: Blueprint, seen: Observed) -> bool:
    """Whether a main container was started in the present sandbox, so that initialisation is behind it."""
    now_in = generation(seen)
    return any(run.generation == now_in for unit in blue.main if (run := seen.newest(unit.name)) is not None)


def next_start(blue: Blueprint, seen: Observed, unit: Unit) -> float | None:
    """The earliest moment of a container's next start, its turn aside; None when it runs, or is done for good."""
    run = seen.newest(unit.name)
    if run is None:
        return None if has_vanished(seen, unit) else AT_ONCE
    if not run.over:
        return None if run.running else AT_ONCE
    if unit.role is Role.INIT and succeeded(run):
        return None if run.generation == generation(seen) else AT_ONCE
    if not again(unit, run):
        return None
    if outdated(unit, run) or run.ended is None:
        return AT_ONCE
    return run.ended + blue.crash_loop.delay(next_level(run.level, run.seconds))


def has_vanished(seen: Observed, unit: Unit) -> bool:
    """Whether an ephemeral container ran and nothing of it is left: it is not started again."""
    return unit.role is Role.EPHEMERAL and seen.newest(unit.name) is None and seen.attempts.get(unit.name, 0) > 0


def start_level(seen: Observed, unit: Unit) -> int:
    """The crash-loop level of a container's next run."""
    run = seen.newest(unit.name)
    if run is None or not run.over or outdated(unit, run):
        return 0
    if unit.role is Role.INIT and succeeded(run):
        return 0
    return next_level(run.level, run.seconds)


def initialized(blue: Blueprint, seen: Observed) -> bool:
    """Whether all init containers are done, and all sidecars have started, in the present sandbox."""
    if main_begun(blue, seen):
        return True
    now_in = generation(seen)
    return all(_init_passed(unit, seen.newest(unit.name), now_in) for unit in blue.init)


def _init_passed(unit: Unit, run: Run | None, now_in: int) -> bool:
    if run is None or run.generation != now_in:
        return False
    return succeeded(run) if unit.role is Role.INIT else run.running and run.started and run.hook_over


def init_passed(seen: Observed, unit: Unit) -> bool:
    """Whether what comes after this init container or sidecar may start."""
    return _init_passed(unit, seen.newest(unit.name), generation(seen))


def is_starting(blue: Blueprint, seen: Observed) -> bool:
    """Whether the pod is Pending, with nothing gone wrong so far."""
    trouble = seen.faults or seen.terminal or seen.verdict is not None or seen.removal_deadline is not None
    waiting = any(unit.name not in seen.runs for unit in blue.main)
    return (
        waiting
        and not trouble
        and not any(run.over and not succeeded(run) for runs in seen.runs.values() for run in runs)
    )


def outcome(blue: Blueprint, seen: Observed) -> str:
    """The terminal phase that the pod has come to (`Succeeded`, `Failed`), or nothing while it goes on."""
    if seen.terminal:
        return seen.terminal
    if seen.verdict is not None:
        return FAILED
    if any(_gave_up(unit, seen.newest(unit.name)) for unit in blue.init if unit.role is Role.INIT):
        return FAILED
    last = [(unit, seen.newest(unit.name)) for unit in blue.main]
    if not all(run is not None and run.over and not again(unit, run) for unit, run in last):
        return ""
    return SUCCEEDED if all(run is not None and run.exit_code == 0 for _, run in last) else FAILED


def _gave_up(unit: Unit, run: Run | None) -> bool:
    return run is not None and run.over and not succeeded(run) and not again(unit, run)
