"""Measure everything that docs/performance.md states: `python -m bench [NAME...]` (or `make bench`).

Each benchmark is a program of its own that prints its conditions, and a line of JSON a figure. This runs them one
after the other, gathers the lines in `bench/results.json`, and prints a table. Nothing else should run meanwhile.
What needs the rig comes last; the rig is brought up for it, and left up.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results.json"

PROGRAMS: dict[str, tuple[str, ...]] = {
    "placement": ("bench.bench_scheduler", "placement"),
    "affinity": ("bench.bench_scheduler", "affinity"),
    "anti-affinity": ("bench.bench_scheduler", "anti-affinity"),
    "spread": ("bench.bench_scheduler", "spread"),
    "e2e": ("bench.bench_scheduler", "e2e"),
    "api": ("bench.bench_api",),
    "policy": ("bench.bench_policy",),
    "scale": ("bench.bench_scale",),
    "jobs": ("bench.bench_jobs",),
    "start": ("bench.bench_start", "--network"),
    "services": ("bench.bench_services",),
    "dns": ("bench.bench_dns",),
    "nodepools": ("bench.bench_nodepools",),
    "path": ("bench.bench_path",),
    "cli": ("bench.bench_cli",),
    "config": ("bench.bench_config",),
    "storage": ("bench.bench_storage",),
}
ON_RIG: dict[str, tuple[str, ...]] = {
    "failover": ("bench.bench_failover",),
    "autoscale": ("bench.bench_autoscale",),
    "network": ("bench.bench_network",),
    "endpoints": ("bench.bench_endpoints",),
    "ingress": ("bench.bench_ingress",),
    "config-host": ("bench.bench_config", "--rig"),
}


def run(name: str) -> list[dict[str, object]]:
    """The JSON lines that a benchmark prints; everything it says is shown as it comes."""
    module, *words = (PROGRAMS | ON_RIG)[name]
    lines = []
    environment = {"PODIUM_CONFIG": str(ROOT / ".rig" / "admin.yaml"), **os.environ}
    with subprocess.Popen(
        [sys.executable, "-m", module, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("{"):
                lines.append(json.loads(line))
    if process.returncode:
        print(f"{name}: ended with {process.returncode}", file=sys.stderr)
    return lines


def table(results: dict[str, list[dict[str, object]]]) -> str:
    """Every figure, a line each."""
    rows = []
    for lines in results.values():
        for line in lines:
            figures = ", ".join(f"{k} {v}" for k, v in line.items() if k not in ("case", "conditions"))
            rows.append(f"{line.get('case', '?'):<20} {figures}")
    return "\n".join(rows)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*PROGRAMS, *ON_RIG]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; all when none is named")
    names = parser.parse_args().names or known
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there is {', '.join(known)}")
    names.sort(key=lambda name: name in ON_RIG)
    results: dict[str, list[dict[str, object]]] = {}
    for name in names:
        if name in ON_RIG and not ON_RIG.keys() & results.keys():
            subprocess.run([ROOT / "tools" / "rig" / "up.sh"], cwd=ROOT, check=True, timeout=1800)
        results[name] = run(name)
    conditions = {"cpus": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()}
    RESULTS.write_text(json.dumps({"conditions": conditions, "results": results}, indent=2) + "\n")
    print("\n" + table(results))
    if ON_RIG.keys() & results.keys():
        print("\nThe rig is up; `make down` removes it.")


if __name__ == "__main__":
    main()
