"""Measure everything that docs/performance.md states: `python -m bench [NAME...]` (or `make bench`).

Each benchmark is a program of its own that prints its conditions, and a line of JSON a figure. This runs them one
after the other, keeps the figures in `bench/results.json` (those of programs that were not run stay there), and prints
a table which says of each goal whether it was met. A goal that is missed is marked and no failure; a program that ends
with an error is one: the others are run nevertheless, the last lines say which failed, and the exit code is 1.

Nothing else should run meanwhile. What needs the rig comes last; the rig is brought up for it, and left up.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import results
from bench.goals import MISSED, UNMEASURED, rows

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results.json"
LONGEST_SECONDS = 3600.0
"""Of one program; the longest of them takes a quarter of it."""
TIDY_SECONDS = 60.0

PROGRAMS: dict[str, tuple[str, ...]] = {
    "placement": ("bench.bench_scheduler", "placement"),
    "affinity": ("bench.bench_scheduler", "affinity"),
    "anti-affinity": ("bench.bench_scheduler", "anti-affinity"),
    "spread": ("bench.bench_scheduler", "spread"),
    "e2e": ("bench.bench_scheduler", "e2e"),
    "api": ("bench.bench_api",),
    "policy": ("bench.bench_policy",),
    "scale": ("bench.bench_scale",),
    "scale-usage": ("bench.bench_scale", "--nodes=500", "--pods=15000", "--usage-period=2.5"),
    "jobs": ("bench.bench_jobs",),
    "start": ("bench.bench_start",),
    "start-wired": ("bench.bench_start", "--network"),
    "services": ("bench.bench_services",),
    "dns": ("bench.bench_dns",),
    "nodepools": ("bench.bench_nodepools",),
    "path": ("bench.bench_path",),
    "cli": ("bench.bench_cli",),
    "config": ("bench.bench_config",),
    "storage": ("bench.bench_storage",),
}
ON_RIG: dict[str, tuple[str, ...]] = {
    "idle": ("bench.bench_idle",),
    "failover": ("bench.bench_failover",),
    "autoscale": ("bench.bench_autoscale",),
    "network": ("bench.bench_network",),
    "endpoints": ("bench.bench_endpoints",),
    "ingress": ("bench.bench_ingress",),
    "config-host": ("bench.bench_config", "--rig", "--pods=100"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a program: the lines of JSON that it printed, and why it failed, if it did."""

    lines: list[Mapping[str, object]] = field(default_factory=list)
    failure: str = ""


def run(command: Sequence[str], seconds: float = LONGEST_SECONDS) -> Outcome:
    """Run a benchmark to its end; everything it says is shown as it comes. One that takes longer is ended."""
    lines: list[Mapping[str, object]] = []
    environment = {"PODIUM_CONFIG": str(ROOT / ".rig" / "admin.yaml"), **os.environ}
    with subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment, process_group=0
    ) as process:
        assert process.stdout is not None
        with _ended_after(seconds, process.pid) as overdue:
            for line in process.stdout:
                print(line, end="", flush=True)
                if line.startswith("{"):
                    lines.append(json.loads(line))
            code = process.wait()
    if overdue.is_set():
        return Outcome(lines, f"had not ended after {seconds:g} s")
    return Outcome(lines, f"ended with {code}" if code else "" if lines else "printed no figure")


@contextlib.contextmanager
def _ended_after(seconds: float, group: int) -> Iterator[threading.Event]:
    """Interrupt a program with all that it started, as Ctrl-C does, when its time is over (the event says so); what is
    still there a minute later is killed, so that nobody waits for its output. It hears of Ctrl-C here, too."""
    overdue, done = threading.Event(), threading.Event()

    def watch() -> None:
        if done.wait(seconds):
            return
        overdue.set()
        with contextlib.suppress(ProcessLookupError):  # it ended at this very moment
            os.killpg(group, signal.SIGINT)
            if not done.wait(TIDY_SECONDS):
                os.killpg(group, signal.SIGKILL)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield overdue
    except KeyboardInterrupt:
        os.killpg(group, signal.SIGINT)
        raise
    finally:
        done.set()
        watching.join()


def table(outcomes: Mapping[str, Outcome]) -> str:
    """Every figure, a line each, its goals below it."""
    text = []
    for program, outcome in outcomes.items():
        for row in rows(program, outcome.lines):
            text.append(f"{row.case:<24} {row.figures}".rstrip())
            text += [f"{'':<24} {verdict}: {goal}" for verdict, goal in row.verdicts]
    return "\n".join(text)


def summary(outcomes: Mapping[str, Outcome]) -> str:
    """Which goals were missed, which were not measured, and which programs failed."""
    text = []
    for mark in (MISSED, UNMEASURED):
        text += [
            f"{mark}: {program}: {row.case}: {goal}"
            for program, outcome in outcomes.items()
            for row in rows(program, outcome.lines)
            for verdict, goal in row.verdicts
            if verdict == mark
        ]
    text += [f"FAILED: {program}: {of.failure}" for program, of in outcomes.items() if of.failure]
    return "\n".join(text) or "Every goal was met."


def measure(names: Sequence[str]) -> dict[str, Outcome]:
    """Run the programs of these names, those of the rig last, and keep the figures of each that ends well."""
    outcomes: dict[str, Outcome] = {}
    rig = ""
    for name in sorted(names, key=lambda name: name in ON_RIG):
        if name in ON_RIG and not ON_RIG.keys() & outcomes.keys():
            rig = _rig_up()
        if name in ON_RIG and rig:
            outcomes[name] = Outcome(failure=rig)
            continue
        under = results.conditions()
        outcomes[name] = outcome = run((PROGRAMS | ON_RIG)[name])
        if outcome.failure:
            print(f"{name}: {outcome.failure}", file=sys.stderr)
        else:
            results.merge(RESULTS, name, outcome.lines, under)
    return outcomes


def _rig_up() -> str:
    """Bring the rig up; why it is not, if it is not."""
    try:
        done = subprocess.run([ROOT / "tools" / "rig" / "up.sh"], cwd=ROOT, check=False, timeout=1800)
    except subprocess.TimeoutExpired:
        return "the rig did not come up within half an hour"
    return f"the rig did not come up: tools/rig/up.sh ended with {done.returncode}" if done.returncode else ""


def main() -> int:
    """Entry point; 1 when a program failed."""
    known = [*PROGRAMS, *ON_RIG]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ({', '.join(known)}); all when none is named")
    names = parser.parse_args().names or known
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there is {', '.join(known)}")
    outcomes = measure(names)
    print("\n" + table(outcomes) + "\n\n" + summary(outcomes))
    if ON_RIG.keys() & outcomes.keys():
        print("\nThe rig is up; `make down` removes it.")
    return int(any(outcome.failure for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
