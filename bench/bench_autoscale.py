"""How long a load step on real containers takes to be answered with more of them, on the rig, at default settings.

    make up && python -m bench.bench_autoscale [--trials 10]

A Deployment of one idle pod is autoscaled on CPU at 50 %. The clock starts when the pod becomes busy (a file in it
appears), and stops twice: when the Deployment is told to have more replicas, and when a second pod runs. Container
start is from the second pod's creation to its Running. Between trials the load ends, and the replicas go.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass

from podium.client import Client
from podium.codec.yaml import load_all
from podium.objects.pod import is_ready
from podium.v1.apps_pb2 import Deployment
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler
from podium.v1.core_pb2 import Pod
from tests.rig.manifests import on_demand
from tests.rig.rig import CONFIG, podium, until

_NAME = "bench-autoscale"


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds from the load step to the decision, and to a second running pod; and what its container took."""

    decided: float
    running: float
    start: float


def pods(client: Client) -> list[Pod]:
    """Those that are ready and stay."""
    found = client.list(Pod, selector=f"app={_NAME}")
    return [p for p in found if not p.metadata.HasField("deletion_timestamp") and is_ready(p)]


def idle(client: Client) -> bool:
    """Whether there is one pod, and its autoscaler sees that it has nothing to do."""
    hpa = client.get(HorizontalPodAutoscaler, _NAME)
    seen = [m.resource.current for m in hpa.status.current_metrics if m.resource.HasField("current")]
    one = len(pods(client)) == 1 and client.get(Deployment, _NAME).spec.replicas == 1
    return one and len(seen) == 1 and seen[0].average_utilization < 30


def trial(client: Client) -> Taken:
    """One load step."""
    until(lambda: idle(client), seconds=90, what="an idle pod")
    (first,) = pods(client)
    podium("exec", first.metadata.name, "--", "touch", "/tmp/busy")
    began = time.monotonic()
    until(lambda: client.get(Deployment, _NAME).spec.replicas > 1, seconds=60, what="a decision")
    decided = time.monotonic() - began
    until(lambda: len(pods(client)) > 1, seconds=60, what="a second pod")
    running = time.monotonic() - began
    second = next(p for p in pods(client) if p.metadata.uid != first.metadata.uid)
    started = second.status.container_statuses[0].state.running.started_at.ToMicroseconds() / 1e6
    podium("exec", first.metadata.name, "--", "rm", "/tmp/busy")
    return Taken(decided, running, max(0.0, started - second.metadata.creation_timestamp.ToMicroseconds() / 1e6))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10)
    trials = parser.parse_args().trials
    with Client.from_config(CONFIG) as client:
        for obj in load_all(on_demand(_NAME, most=3)):
            client.create(obj)
        try:
            taken = [trial(client) for _ in range(trials)]
        finally:
            client.delete(HorizontalPodAutoscaler, _NAME)
            client.delete(Deployment, _NAME)
    print(
        json.dumps(
            {
                "case": "autoscale",
                "trials": trials,
                "decided_median_s": round(statistics.median(one.decided for one in taken), 2),
                "decided_worst_s": round(max(one.decided for one in taken), 2),
                "running_median_s": round(statistics.median(one.running for one in taken), 2),
                "running_worst_s": round(max(one.running for one in taken), 2),
                "start_median_s": round(statistics.median(one.start for one in taken), 2),
                "beyond_start_worst_s": round(max(one.running - one.start for one in taken), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
