"""What Podium's figures must reach: the goals of docs/performance.md, by program, case and figure.

Programs measure and print; nothing but this table judges. A goal that is missed is said so, and is no failure: how
fast a machine is, and what else it does, is not the program's fault. A case that has a goal and was not measured is
said, too.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "≤": operator.le, "≥": operator.ge, "=": operator.eq,
}  # fmt: skip

MET, MISSED, UNMEASURED = "met", "MISSED", "NOT MEASURED"


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure of a case, and how it must compare with a bound in the figure's own unit."""

    figure: str
    sign: str
    bound: float

    def __str__(self) -> str:
        """As in the table of docs/performance.md."""
        return f"{self.figure} {self.sign} {self.bound:,g}"

    def judge(self, line: Mapping[str, object]) -> str:
        """`MET`, `MISSED`, or `UNMEASURED` when the line has no such number."""
        value = line.get(self.figure)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return UNMEASURED
        return MET if _COMPARE[self.sign](value, self.bound) else MISSED


@dataclass(frozen=True, slots=True)
class Row:
    """What the table says of a case: its figures, and of each of its goals what became of it."""

    case: str
    figures: str
    verdicts: tuple[tuple[str, Goal], ...]


GOALS: Mapping[str, Mapping[str, tuple[Goal, ...]]] = {
    "placement": {"placement": (Goal("placed_per_second", "≥", 50_000),)},
    "affinity": {"affinity": (Goal("placed_per_second", "≥", 1_000),)},
    "anti-affinity": {"anti-affinity": (Goal("placed_per_second", "≥", 1_000),)},
    "spread": {"spread": (Goal("placed_per_second", "≥", 1_000),)},
    "e2e": {"e2e": (Goal("bound_per_second", "≥", 2_500),)},
    "jobs": {"jobs": (Goal("pods_per_second", "≥", 500),)},
    "api": {
        "create": (Goal("per_second", "≥", 2_000),),
        "bulk": (Goal("per_second", "≥", 10_000),),
        "watch": (Goal("p99_ms", "<", 50),),
        "restart": (Goal("seconds", "≤", 3),),
    },
    "policy": {f"quota, {how}": (Goal("admitted", "=", 1_000),) for how in ("calls", "streams", "killed")},
    "scale": {
        case: (Goal("master_cores", "<", 0.3), Goal("master_mb", "<", 600))
        for case in ("steady_state", "steady_state_autoscaled")
    },
    "scale-usage": {case: (Goal("master_cores", "<", 0.3),) for case in ("steady_state", "steady_state_autoscaled")},
    "start": {"start_pods": (Goal("ratio", "≥", 0.9),)},
    "start-wired": {"start_pods_wired": (Goal("ratio", "≥", 0.9),)},
    "services": {
        "first_connect": (Goal("ratio", "≤", 1.1),),
        "first_packet": (Goal("ratio", "≤", 1.1),),
        "endpoint_change": (Goal("many_median_ms", "≤", 50),),
    },
    "dns": {"dns_again": (Goal("per_s", "≥", 10_000), Goal("lost", "=", 0))},
    "cli": {"cli_help": (Goal("median_ms", "≤", 120),), "cli_get_pods": (Goal("median_ms", "≤", 350),)},
    "config": {"config_change_hollow": (Goal("worst_s", "≤", 2),)},
    "config-host": {"config_change_host": (Goal("worst_s", "≤", 2),)},
    "failover": {"failover": (Goal("worst_s", "≤", 10),)},
    "autoscale": {"autoscale": (Goal("beyond_start_worst_s", "≤", 5),)},
    "endpoints": {
        "endpoint_ready_routed": (Goal("p99_ms", "≤", 200),),
        "endpoint_ready_named": (Goal("p99_ms", "≤", 200),),
        "rolling_update": (Goal("failed", "=", 0),),
    },
    "network": {
        "network_gbit_s": (Goal("service_to_plain", "≥", 0.9), Goal("service_to_swarm", "≥", 1)),
        "network_latency_us": (Goal("service_to_plain", "≤", 1.11), Goal("service_to_swarm", "≤", 1)),
    },
    "idle": {
        "idle": (Goal("master_mb", "<", 150), Goal("nodelet_mb", "<", 80), Goal("nodelet_cores", "<", 0.02)),
        "idle_autoscaled": (Goal("nodelet_cores", "<", 0.02),),
    },
}
"""Of programs as `python -m bench` names them. What has none in docs/performance.md has none here."""


def rows(program: str, lines: Iterable[Mapping[str, object]]) -> list[Row]:
    """The lines that a program printed, judged; and a row for each case that has a goal and was not printed."""
    goals = GOALS.get(program, {})
    found = [_row(line, goals.get(str(line.get("case")), ())) for line in lines]
    there = {row.case for row in found}
    return found + [_row({"case": case}, of) for case, of in goals.items() if case not in there]


def _row(line: Mapping[str, object], goals: tuple[Goal, ...]) -> Row:
    figures = ", ".join(f"{key} {value}" for key, value in line.items() if key != "case")
    return Row(str(line.get("case", "?")), figures, tuple((goal.judge(line), goal) for goal in goals))
