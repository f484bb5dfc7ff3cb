"""How long a command takes from a cold start: `podium --help`, and `podium get pods` against a running master.

    python -m bench.bench_cli [--runs 15]

`get` asks a master in a process of its own that has nothing to do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.support.master_process import MasterProcess

PODIUM = str(Path(sys.executable).parent / "podium")


def timed(command: list[str], runs: int, environment: Mapping[str, str] | None = None) -> list[float]:
    """Milliseconds of each run of a whole process, after one that is not counted."""
    taken = []
    for index in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=environment, timeout=60)
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


async def get_pods(runs: int) -> list[float]:
    """A whole `podium get pods`, connection and answer included."""
    with tempfile.TemporaryDirectory(prefix="podium-bench-") as folder:
        master = MasterProcess(Path(folder))
        await master.start()
        try:
            environment = {**os.environ, "PODIUM_CONFIG": str(master.folder / "admin.yaml")}
            return await asyncio.to_thread(timed, [PODIUM, "get", "pods"], runs, environment)
        finally:
            await master.end()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    report("cli_help", timed([PODIUM, "--help"], runs))
    report("cli_get_pods", asyncio.run(get_pods(runs)))


if __name__ == "__main__":
    main()
