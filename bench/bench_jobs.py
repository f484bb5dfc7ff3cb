"""How fast short jobs run: created → placed → run on hollow nodes → ended → counted → Complete.

    python -m bench.bench_jobs [--nodes 50] [--pods 10000] [--jobs 20] [--parallelism 250] [--seconds 0.05] [--indexed]

A master in a process of its own (SQLite with synchronous=FULL, mutual TLS, all controllers), hollow nodes in two
others: real nodelets with sessions, whose containers end by themselves. This process creates the Jobs and watches them;
the clock runs from the first create until the last Job is Complete, and what they counted is checked. One line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.bench_scale import cpu_seconds, nodes_ready
from nodelet.hollow import HollowSize, join_fleet, run_fleet
from nodelet.runtime.hollow import Behaviour, HollowSettings
from nodelet.session.join import parse_token
from podium.aio.clock import SystemClock
from podium.client import AsyncClient
from podium.objects.job import is_finished
from podium.v1.batch_pb2 import Job
from podium.v1.core_pb2 import Container
from tests.support.master_process import MasterProcess

FLEETS = 2
"""Processes of hollow nodes: one would be slower than the master."""
LONGEST_SECONDS = 300.0


def job(number: int, completions: int, parallelism: int, indexed: bool) -> Job:
    """A Job of pods that end by themselves."""
    made = Job()
    made.metadata.name, made.metadata.namespace = f"load-{number}", "default"
    made.spec.completions, made.spec.parallelism = completions, parallelism
    made.spec.completion_mode = "Indexed" if indexed else "NonIndexed"
    made.spec.template.spec.restart_policy = "Never"
    made.spec.template.spec.containers.append(Container(name="main", image="short:1"))
    return made


async def work_off(client: AsyncClient, jobs: Sequence[Job]) -> int:
    """Create the Jobs and wait until all are Complete; how many pods they counted."""
    counted: dict[str, int] = {}
    _ = await client.create_many(list(jobs))
    async with asyncio.timeout(LONGEST_SECONDS):
        async for change in client.watch(Job):
            if is_finished(change.object):
                counted[change.object.metadata.name] = change.object.status.succeeded
                if len(counted) == len(jobs):
                    break
    return sum(counted.values())


@contextlib.contextmanager
def fleets(master: MasterProcess, token: str, nodes: int, seconds: float) -> Iterator[list[int]]:
    """Processes of hollow nodes; yields their pids."""
    each = nodes // FLEETS
    ends = [f"127.0.0.1:{master.api}", f"127.0.0.1:{master.join}", token, str(each), str(seconds)]
    with contextlib.ExitStack() as stack:
        children = []
        for number in range(FLEETS):
            words = [sys.executable, "-m", "bench.bench_jobs", "--fleet", f"hollow{number}", *ends]
            children.append(stack.enter_context(subprocess.Popen(words)))
        try:
            yield [child.pid for child in children]
        finally:
            for child in children:
                child.terminate()


async def be_fleet(name: str, api: str, joining: str, token: str, nodes: str, seconds: str) -> None:
    """The nodes' process."""
    identities = await join_fleet(int(nodes), name, [joining], parse_token(token))
    behaviours = HollowSettings(behaviours={"short:1": Behaviour(exits_after=float(seconds))})
    await run_fleet(identities, [api], clock=SystemClock(), size=HollowSize(pods=1000), behaviours=behaviours)


async def run(master: MasterProcess, args: argparse.Namespace) -> dict[str, object]:
    """The figures of one run."""
    assert master.process is not None
    async with master.client() as client:
        token = await client.cluster.create_token()
        with fleets(master, token.token, args.nodes, args.seconds) as nodes:
            await nodes_ready(client, args.nodes // FLEETS * FLEETS)
            each = args.pods // args.jobs
            jobs = [job(n, each, min(args.parallelism, each), args.indexed) for n in range(args.jobs)]
            began, cpu = time.monotonic(), cpu_seconds(master.process.pid)
            fleet_cpu = sum(map(cpu_seconds, nodes))
            counted = await work_off(client, jobs)
            took = time.monotonic() - began
            assert counted == each * args.jobs, f"{counted} pods were counted of {each * args.jobs}"
            return {
                "pods": counted, "jobs": args.jobs, "nodes": args.nodes, "indexed": args.indexed,
                "pods_per_second": round(counted / took), "seconds": round(took, 1),
                "master_ms_a_pod": round((cpu_seconds(master.process.pid) - cpu) / counted * 1000, 2),
                "nodes_ms_a_pod": round((sum(map(cpu_seconds, nodes)) - fleet_cpu) / counted * 1000, 2),
                "load": os.getloadavg()[0],
            }  # fmt: skip


async def measure(args: argparse.Namespace) -> None:
    """Run all, and print the figures."""
    with tempfile.TemporaryDirectory(prefix="podium-jobs-") as made:
        master = MasterProcess(Path(made))
        await master.start()
        try:
            figures = await run(master, args)
        finally:
            _ = await master.end()
    print(json.dumps({"case": "jobs", **figures}), flush=True)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--parallelism", type=int, default=250)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--indexed", action="store_true")
    parser.add_argument("--fleet", nargs=6, help=argparse.SUPPRESS)
    args = parser.parse_args()
    asyncio.run(be_fleet(*args.fleet) if args.fleet else measure(args))


if __name__ == "__main__":
    main()
