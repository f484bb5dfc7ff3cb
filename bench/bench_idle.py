"""What a master and a nodelet with 20 pods cost while nothing happens, and with an autoscaler that looks every second.

    make up && python -m bench.bench_idle [--pods 20] [--seconds 30] [--settle 15]

Processes of the rig as they run there: resident memory at the end, and processor time over the whole period, all
threads, from `/proc` of their hosts. All pods are on one host. `idle`: pods that sleep and have no probes. Then they
are autoscaled on CPU with nothing to do, so that the nodelet measures and reports every second: `idle_autoscaled`.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from dataclasses import dataclass

from podium.client import Client
from podium.codec.json import object_from_dict
from podium.objects.pod import is_ready
from podium.v1.apps_pb2 import Deployment
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler
from podium.v1.core_pb2 import Pod
from tests.rig.rig import CONFIG, MASTER, NODES, Host, until

NAME = "bench-idle"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a host of the rig."""

    host: Host
    pid: int

    def read(self) -> tuple[float, float]:
        """Processor time in seconds so far, and resident memory in megabytes (10^6 bytes)."""
        stat, statm = self.host.sh(f"cat /proc/{self.pid}/stat /proc/{self.pid}/statm").splitlines()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS, int(statm.split()[1]) * PAGE / 1e6


def found(host: Host, program: str) -> Process:
    """The process of a program on a host."""
    pid = host.pid_of(program)
    assert pid, f"{program} does not run on {host.name}"
    return Process(host, pid)


def deployment(pods: int, host: str) -> Deployment:
    """Pods that sleep on one host."""
    labels = {"app": NAME}
    container = {"name": "main", "image": "busybox", "command": ["sleep", "100000"],
                 "resources": {"requests": {"cpu": "10m"}}}  # fmt: skip
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0, "nodeName": host}
    made: Deployment = object_from_dict(
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME, "namespace": "default"},
            "spec": {"replicas": pods, "selector": {"matchLabels": labels},
                     "template": {"metadata": {"labels": labels}, "spec": spec}},
        }
    )  # fmt: skip
    return made


def autoscaler(pods: int) -> HorizontalPodAutoscaler:
    """One that looks at them, and may change nothing."""
    made = HorizontalPodAutoscaler()
    made.metadata.name, made.metadata.namespace = NAME, "default"
    made.spec.scale_target_ref.kind, made.spec.scale_target_ref.name = "Deployment", NAME
    made.spec.min_replicas = made.spec.max_replicas = pods
    return made


def seen(client: Client) -> bool:
    """Whether the autoscaler knows what the pods use."""
    status = client.get(HorizontalPodAutoscaler, NAME).status
    return any(metric.resource.HasField("current") for metric in status.current_metrics)


def measure(case: str, pods: int, seconds: float, settle: float) -> None:
    """Do nothing for a while, and print what that took."""
    master, nodelet = found(MASTER, "podium-master"), found(NODES[0], "podium-nodelet")
    quiet = threading.Event()
    quiet.wait(settle)
    began, before = time.monotonic(), (master.read()[0], nodelet.read()[0])
    quiet.wait(seconds)
    (master_cpu, master_mb), (nodelet_cpu, nodelet_mb) = master.read(), nodelet.read()
    took = time.monotonic() - began
    figures = {
        "master_mb": round(master_mb, 1), "master_cores": round((master_cpu - before[0]) / took, 4),
        "nodelet_mb": round(nodelet_mb, 1), "nodelet_cores": round((nodelet_cpu - before[1]) / took, 4),
    }  # fmt: skip
    print(json.dumps({"case": case, "pods": pods, "seconds": seconds, **figures}), flush=True)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--settle", type=float, default=15.0, help="seconds before each period that are not counted")
    chosen = parser.parse_args()
    with Client.from_config(CONFIG) as client:
        client.create(deployment(chosen.pods, NODES[0].name))
        try:
            until(lambda: sum(map(is_ready, client.list(Pod, selector=f"app={NAME}"))) == chosen.pods, seconds=180,
                  what="the pods")  # fmt: skip
            measure("idle", chosen.pods, chosen.seconds, chosen.settle)
            client.create(autoscaler(chosen.pods))
            until(lambda: seen(client), seconds=60, what="the autoscaler to see what the pods use")
            measure("idle_autoscaled", chosen.pods, chosen.seconds, chosen.settle)
            client.delete(HorizontalPodAutoscaler, NAME)
        finally:
            client.delete(Deployment, NAME)


if __name__ == "__main__":
    main()
