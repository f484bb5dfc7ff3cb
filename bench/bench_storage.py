"""How fast pods come that each bring a claim, against the same pods without: on hollow nodes, all in this process.

    python -m bench.bench_storage [--pods 300] [--nodes 10]

One StatefulSet, all pods at once. The clock runs from before it is created to when all its pods run; with claims that
includes making and binding a volume for each, on the node that was chosen for its pod.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

from podium.codec.json import object_from_dict
from podium.v1.apps_pb2 import StatefulSet
from tests.support.cluster import ADMIN, HollowCluster, hollow_cluster
from tests.support.waiting import until

PATIENCE = 300.0


def stateful_set(name: str, pods: int, *claims: str) -> StatefulSet:
    """Pods that sleep, with a claim of the default class for each name."""
    mounts = [{"name": claim, "mountPath": f"/{claim}"} for claim in claims]
    container = {"name": "main", "image": "busybox", "command": ["sleep", "100000"], "volumeMounts": mounts}
    request = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    labels = {"app": name}
    made: StatefulSet = object_from_dict(
        {
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "replicas": pods, "podManagementPolicy": "Parallel", "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
                "volumeClaimTemplates": [{"metadata": {"name": claim}, "spec": request} for claim in claims],
            },
        }
    )  # fmt: skip
    return made


async def measure(cluster: HollowCluster, name: str, pods: int, *claims: str) -> None:
    """Create a set, wait for its pods, print a line of JSON."""
    began = time.perf_counter()
    await cluster.writer.create(stateful_set(name, pods, *claims), by=ADMIN)

    def all_run() -> bool:
        return sum(p.metadata.labels["app"] == name for p in cluster.pods(phase="Running")) == pods

    await until(all_run, seconds=PATIENCE)
    took = time.perf_counter() - began
    figures = {"pods": pods, "seconds": round(took, 2), "per_second": round(pods / took)}
    print(json.dumps({"case": f"pods, {len(claims)} claim(s) each", **figures}), flush=True)


async def main(pods: int, nodes: int) -> None:
    """Without claims, with one, with two."""
    with tempfile.TemporaryDirectory() as folder:
        async with hollow_cluster(Path(folder), nodes=nodes) as cluster:
            await measure(cluster, "plain", pods)
            await measure(cluster, "one", pods, "data")
            await measure(cluster, "two", pods, "data", "log")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=300)
    parser.add_argument("--nodes", type=int, default=10)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.pods, arguments.nodes))
