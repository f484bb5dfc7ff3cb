"""How long a command takes from a cold start: `podium --help`, and `podium get pods` against a running master.

    python -m bench.bench_cli [--runs 15]

`get` is measured only when `$PODIUM_CONFIG` leads to a master that answers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

PODIUM = str(Path(sys.executable).parent / "podium")


def timed(command: list[str], runs: int) -> list[float]:
    """Milliseconds of each run of a whole process, after one that is not counted."""
    taken = []
    for index in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        if index:
            taken.append((time.perf_counter() - start) * 1000)
    return taken


def report(case: str, taken: list[float]) -> None:
    """One line of JSON."""
    print(
        json.dumps(
            {
                "case": case,
                "runs": len(taken),
                "median_ms": round(statistics.median(taken), 1),
                "max_ms": round(max(taken), 1),
            }
        )
    )


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    report("cli_help", timed([PODIUM, "--help"], runs))
    reachable = subprocess.run([PODIUM, "--request-timeout", "3", "version"], capture_output=True, check=False)
    if reachable.returncode == 0:
        report("cli_get_pods", timed([PODIUM, "get", "pods"], runs))


if __name__ == "__main__":
    main()
