"""What a large fleet costs its master: hollow nodes with their own sessions, pods that run, and then nothing happening.

    python -m bench.bench_scale [--nodes 1000] [--pods 30000] [--steady 30] [--usage-period 5]

A master and one process of hollow nodes are started as a user starts them; Deployments of 100 replicas are created
through the API in waves, and the clock runs until all pods are Running. Then the master's CPU time and resident memory
are read over a quiet period, and over another in which each Deployment is autoscaled by CPU, at rest. One line of JSON
a figure.
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
from collections.abc import Iterator
from pathlib import Path

from podium.client import AsyncClient
from podium.v1.apps_pb2 import Deployment
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler
from podium.v1.core_pb2 import Container, Node

API, JOIN = 17443, 17442
REPLICAS = 100
WAVE = 20
TICKS = os.sysconf("SC_CLK_TCK")


def report(case: str, **figures: object) -> None:
    """One line of JSON."""
    print(json.dumps({"case": case, **figures}), flush=True)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def process(name: str, log: Path, *arguments: str) -> Iterator[int]:
    """A process of ours; yields its pid, and ends it."""
    program = str(Path(sys.executable).parent / name)
    with log.open("wb") as sink, subprocess.Popen([program, "run", *arguments], stdout=sink, stderr=sink) as child:
        try:
            yield child.pid
        finally:
            child.terminate()


@contextlib.contextmanager
def cluster(directory: Path, nodes: int, usage_period: float) -> Iterator[tuple[int, int]]:
    """Pids of the master and of the hollow nodes."""
    token = directory / "token"
    master = (
        f"--data-dir={directory / 'master'}", f"--listen=127.0.0.1:{API}", f"--join-listen=127.0.0.1:{JOIN}",
        "--http-listen=", f"--join-token-file={token}", f"--advertise=127.0.0.1:{API}", "--log-level=warning",
    )  # fmt: skip
    fleet = (
        f"--master=127.0.0.1:{API}", f"--join=127.0.0.1:{JOIN}", f"--join-token-file={token}", "--http-listen=",
        "--runtime=hollow", f"--hollow={nodes}", "--node-name=hollow", "--log-level=error",
        f"--usage-period={usage_period}s",
    )  # fmt: skip
    with (
        process("podium-master", directory / "master.log", *master) as first,
        process("podium-nodelet", directory / "nodes.log", *fleet) as second,
    ):
        yield first, second


def written(config: Path) -> Path:
    """The administrator's configuration, once the master has written it."""
    while not config.exists():
        time.sleep(0.1)
    return config


def deployment(number: int, replicas: int) -> Deployment:
    """A small workload."""
    made = Deployment()
    made.metadata.name, made.metadata.namespace = f"load-{number}", "default"
    made.spec.replicas = replicas
    made.spec.progress_deadline_seconds = 3600
    made.spec.selector.match_labels["app"] = f"load-{number}"
    made.spec.template.metadata.labels["app"] = f"load-{number}"
    container = Container(name="main", image="load:1")
    container.resources.requests.update({"cpu": "100m", "memory": "64Mi"})
    made.spec.template.spec.containers.append(container)
    return made


def autoscaler(number: int, replicas: int) -> HorizontalPodAutoscaler:
    """One that looks at a workload and finds nothing to do."""
    made = HorizontalPodAutoscaler()
    made.metadata.name, made.metadata.namespace = f"load-{number}", "default"
    made.spec.scale_target_ref.kind, made.spec.scale_target_ref.name = "Deployment", f"load-{number}"
    made.spec.min_replicas = made.spec.max_replicas = replicas
    return made


async def nodes_ready(client: AsyncClient, wanted: int) -> None:
    """Wait until as many nodes are Ready."""
    while True:
        nodes = await client.list(Node)
        ready = sum(any(c.type == "Ready" and c.status == "True" for c in n.status.conditions) for n in nodes)
        if ready >= wanted:
            return
        await asyncio.sleep(0.5)


async def fill(client: AsyncClient, pods: int) -> None:
    """Create Deployments a wave at a time, each when the pods of the one before are ready."""
    made = [deployment(i, min(REPLICAS, pods - i * REPLICAS)) for i in range(-(-pods // REPLICAS))]
    wanted = 0
    for start in range(0, len(made), WAVE):
        wave = made[start : start + WAVE]
        wanted += sum(d.spec.replicas for d in wave)
        await client.create_many(wave)
        await pods_ready(client, wanted)


async def pods_ready(client: AsyncClient, wanted: int) -> None:
    """Follow the Deployments until as many pods are ready, as their controllers saw it."""
    ready: dict[str, int] = {}
    async for change in client.watch(Deployment):
        ready[change.object.metadata.name] = change.object.status.ready_replicas
        if sum(ready.values()) >= wanted:
            return


async def measure(directory: Path, master: int, fleet: int, nodes: int, pods: int, steady: float) -> None:
    """Fill the cluster, then watch it do nothing."""
    async with AsyncClient.from_config(directory / "master" / "admin.yaml", timeout=120) as client:
        began = time.monotonic()
        await nodes_ready(client, nodes)
        report("nodes_ready", nodes=nodes, seconds=round(time.monotonic() - began, 1))
        began, cpu = time.monotonic(), cpu_seconds(master)
        await fill(client, pods)
        took = time.monotonic() - began
        report(
            "pods_running", pods=pods, seconds=round(took, 1), pods_per_second=round(pods / took),
            master_cpu_seconds=round(cpu_seconds(master) - cpu, 1),
        )  # fmt: skip
        await at_rest("steady_state", master, fleet, nodes, pods, steady)
        counts = [min(REPLICAS, pods - start) for start in range(0, pods, REPLICAS)]
        await client.create_many([autoscaler(number, count) for number, count in enumerate(counts)])
        await at_rest("steady_state_autoscaled", master, fleet, nodes, pods, steady)


async def at_rest(case: str, master: int, fleet: int, nodes: int, pods: int, steady: float) -> None:
    """What doing nothing costs."""
    await asyncio.sleep(10)
    first, cpu, fleet_cpu = time.monotonic(), cpu_seconds(master), cpu_seconds(fleet)
    await asyncio.sleep(steady)
    elapsed = time.monotonic() - first
    report(
        case, nodes=nodes, pods=pods,
        master_cores=round((cpu_seconds(master) - cpu) / elapsed, 3), master_mb=round(resident_mb(master)),
        fleet_cores=round((cpu_seconds(fleet) - fleet_cpu) / elapsed, 3), fleet_mb=round(resident_mb(fleet)),
    )  # fmt: skip


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--pods", type=int, default=30_000)
    parser.add_argument("--steady", type=float, default=30.0)
    parser.add_argument("--usage-period", type=float, default=5.0, help="seconds between a node's reports of usage")
    parsed = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="podium-scale-") as made,
        cluster(Path(made), parsed.nodes, parsed.usage_period) as pids,
    ):
        written(Path(made) / "master" / "admin.yaml")
        asyncio.run(measure(Path(made), *pids, parsed.nodes, parsed.pods, parsed.steady))


if __name__ == "__main__":
    main()
