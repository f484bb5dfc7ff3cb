"""How fast pods are placed.

    python -m bench.bench_scheduler placement [--nodes 5000] [--pods 50000] [--classes 1]
    python -m bench.bench_scheduler affinity|anti-affinity|spread [--nodes 5000] [--pods 5000] [--classes 1]
    python -m bench.bench_scheduler e2e       [--nodes 5000] [--pods 50000] [--classes 1]

`placement` is the engine alone: pods and nodes are seen as changes, turns are taken until nothing waits, nothing is
written. Reading the pods is timed apart from placing them.

`affinity`, `anti-affinity` and `spread` are the same with pods that count for each other, as in kube-scheduler's own
performance cases: required affinity to their like in a zone, required anti-affinity to their like on a host, and spread
over three zones with maxSkew 5 (its thresholds there: 35, 60 and 460 pods/s).

`e2e` is everything: a master in a process of its own (SQLite with synchronous=FULL, mutual TLS, controllers running),
nodes that exist as objects only, and this process as its client, creating pods without owners over `Batch` streams. The
clock runs from the first create until the last binding is durable, and the pods are counted again from a list.

Prints its conditions, and the result as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from master.scheduler.engine import Engine
from master.scheduler.plugins import default_profile
from master.scheduler.scheduler import BATCH
from podium.client import AsyncClient
from podium.errors import PodiumError
from podium.v1.core_pb2 import Node, Pod
from podium.v1.meta_pb2 import Condition
from podium.v1.objects_service_pb2 import BatchRequest, CreateRequest
from tests.support.master_process import MasterProcess

CASES = ("placement", "affinity", "anti-affinity", "spread", "e2e")

_STREAMS, _A_CALL = 4, 500
_LONGEST_SECONDS = 300.0
_BOUND = re.compile(rb'^podium_master_scheduler_attempts_total{result="scheduled"} ([0-9.e+]+)', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run. Rates are in pods per second, times in milliseconds."""

    case: str
    nodes: int
    pods: int
    classes: int
    bound: int
    read_per_second: int
    placed_per_second: int
    longest_turn_ms: float


def simulated_node(index: int) -> Node:
    """A ready node of 32 cores and 256 GiB."""
    node = Node()
    node.metadata.name = f"node-{index}"
    node.metadata.labels["kubernetes.io/hostname"] = node.metadata.name
    node.metadata.labels["topology.kubernetes.io/zone"] = f"zone-{index % 3}"
    node.status.allocatable.update({"cpu": "32", "memory": "256Gi", "pods": "110"})
    node.status.conditions.append(Condition(type="Ready", status="True"))
    return node


def simulated_pod(index: int, classes: int, *, owned: bool) -> Pod:
    """A replica of one of `classes` workloads; without an owner no garbage collector asks where that is."""
    pod, workload = Pod(), index % classes
    pod.metadata.namespace, pod.metadata.name, pod.metadata.uid = "default", f"pod-{index}", f"uid-{index}"
    if owned:
        owner = pod.metadata.owner_references.add(api_version="apps/v1", kind="ReplicaSet", controller=True)
        owner.name = owner.uid = f"rs-{workload}"
    container = pod.spec.containers.add(name="main", image=f"registry.example/app-{workload}:1")
    container.resources.requests.update({"cpu": f"{100 + workload}m", "memory": "128Mi"})
    pod.status.phase = "Pending"
    return pod


def tied(pod: Pod, case: str) -> Pod:
    """The pod with a constraint on others of its workload."""
    workload = pod.spec.containers[0].image
    pod.metadata.labels["app"] = label = workload.rpartition("/")[2].partition(":")[0]
    if case == "affinity":
        near = pod.spec.affinity.pod_affinity.required_during_scheduling_ignored_during_execution
        near.add(topology_key="topology.kubernetes.io/zone").label_selector.match_labels["app"] = label
    elif case == "anti-affinity":
        apart = pod.spec.affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution
        apart.add(topology_key="kubernetes.io/hostname").label_selector.match_labels["app"] = label
    elif case == "spread":
        even = pod.spec.topology_spread_constraints.add(max_skew=5, topology_key="topology.kubernetes.io/zone")
        even.when_unsatisfiable = "DoNotSchedule"
        even.label_selector.match_labels["app"] = label
    return pod


def placement(case: str, nodes: int, pods: int, classes: int) -> Result:
    """The engine alone."""
    engine = Engine(default_profile())
    for index in range(nodes):
        engine.see_node(simulated_node(index))
    made = [simulated_pod(index, classes, owned=True) for index in range(pods)]
    if case != "placement":
        made = [tied(pod, case) for pod in made]
    began = time.perf_counter()
    for pod in made:
        engine.see_pod(pod, 0.0)
    read = time.perf_counter()
    bound, longest, last = 0, 0.0, read
    while (turn := engine.turn(BATCH)) is not None:
        bound += len(turn.bound)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return Result(
        case=case,
        nodes=nodes,
        pods=pods,
        classes=classes,
        bound=bound,
        read_per_second=round(pods / (read - began)),
        placed_per_second=round(bound / (last - read)),
        longest_turn_ms=round(longest * 1000, 2),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EndToEnd:
    """One run with everything in the loop. Rates are in pods per second."""

    case: str
    nodes: int
    pods: int
    classes: int
    bound: int
    seconds: float
    created_per_second: int
    bound_per_second: int
    master_rss_mb: int
    master_cpu_seconds: float


async def e2e(nodes: int, pods: int, classes: int) -> EndToEnd:
    """A whole master, and this process as its client."""
    with tempfile.TemporaryDirectory(prefix="podium-bench-") as folder:
        master = MasterProcess(Path(folder))
        await master.start()
        try:
            async with master.client() as client:
                return await _run(master, client, nodes, pods, classes)
        finally:
            await master.end()


async def _run(master: MasterProcess, client: AsyncClient, nodes: int, pods: int, classes: int) -> EndToEnd:
    await _create(client, [_request(simulated_node(index)) for index in range(nodes)])
    requests = [_request(simulated_pod(index, classes, owned=False)) for index in range(pods)]
    assert master.process is not None
    cpu, began = _cpu_seconds(master.process.pid), time.perf_counter()
    await _create(client, requests)
    created = time.perf_counter()
    async with asyncio.timeout(_LONGEST_SECONDS):
        while await _bound(master.http) < pods:  # noqa: ASYNC110 (it happens in another process)
            await asyncio.sleep(0.05)
    done, cpu_used = time.perf_counter(), _cpu_seconds(master.process.pid) - cpu
    return EndToEnd(
        case="e2e",
        nodes=nodes,
        pods=pods,
        classes=classes,
        bound=sum(bool(pod.spec.node_name) for pod in await client.list(Pod)),
        seconds=round(done - began, 2),
        created_per_second=round(pods / (created - began)),
        bound_per_second=round(pods / (done - began)),
        master_rss_mb=_rss_mb(master.process.pid),
        master_cpu_seconds=round(cpu_used, 2),
    )


def _request(obj: Node | Pod) -> BatchRequest:
    request = CreateRequest(field_manager="bench")
    request.object.Pack(obj)
    return BatchRequest(create=request, omit_object=True)


async def _create(client: AsyncClient, requests: Sequence[BatchRequest]) -> None:
    calls = iter([requests[at : at + _A_CALL] for at in range(0, len(requests), _A_CALL)])

    async def stream() -> None:
        for call in calls:
            for result in await client.batch(call):
                if result.code:
                    raise PodiumError(result.message)

    async with asyncio.TaskGroup() as group:
        for _ in range(_STREAMS):
            group.create_task(stream())


async def _bound(port: int) -> int:
    """How many bindings the master has made, from its metrics."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")
        found = _BOUND.search(await reader.read())
    finally:
        writer.close()
    return int(float(found.group(1))) if found else 0


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--pods", type=int, help="default: 50000, and 5000 of such as count for each other")
    parser.add_argument("--classes", type=int, default=1)
    args = parser.parse_args()
    print(f"# Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    size = (args.nodes, args.pods or (50_000 if args.case in ("placement", "e2e") else 5_000), args.classes)
    result = asyncio.run(e2e(*size)) if args.case == "e2e" else placement(args.case, *size)
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
