"""How fast pods are placed.

    python -m bench.bench_scheduler placement [--nodes 5000] [--pods 50000] [--classes 1]

`placement` is the engine alone: pods and nodes are seen as changes, turns are taken until nothing waits, nothing is
written. Reading the pods is timed apart from placing them. Prints its conditions, and the result as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import asdict, dataclass

from master.scheduler.engine import Engine
from master.scheduler.plugins import default_profile
from master.scheduler.scheduler import BATCH
from podium.v1.core_pb2 import Node, Pod
from podium.v1.meta_pb2 import Condition

FLOOR = 50_000


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


def simulated_pod(index: int, classes: int) -> Pod:
    """A replica of one of `classes` workloads."""
    pod, workload = Pod(), index % classes
    pod.metadata.namespace, pod.metadata.name, pod.metadata.uid = "default", f"pod-{index}", f"uid-{index}"
    owner = pod.metadata.owner_references.add(api_version="apps/v1", kind="ReplicaSet", controller=True)
    owner.name = owner.uid = f"rs-{workload}"
    container = pod.spec.containers.add(name="main", image=f"registry.example/app-{workload}:1")
    container.resources.requests.update({"cpu": "100m", "memory": "128Mi"})
    pod.status.phase = "Pending"
    return pod


def placement(nodes: int, pods: int, classes: int) -> Result:
    """The engine alone."""
    engine = Engine(default_profile())
    for index in range(nodes):
        engine.see_node(simulated_node(index))
    made = [simulated_pod(index, classes) for index in range(pods)]
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
        case="placement",
        nodes=nodes,
        pods=pods,
        classes=classes,
        bound=bound,
        read_per_second=round(pods / (read - began)),
        placed_per_second=round(bound / (last - read)),
        longest_turn_ms=round(longest * 1000, 2),
    )


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=["placement"])
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--pods", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=1)
    args = parser.parse_args()
    print(f"# Python {platform.python_version()}, {platform.machine()}; one core; floor for one class: {FLOOR} pods/s")
    print(json.dumps(asdict(placement(args.nodes, args.pods, args.classes))))


if __name__ == "__main__":
    main()
