"""How long a Deployment is short of pods when a host of the rig dies or is cut off, at default settings.

    make up && python -m bench.bench_failover [--trials 20]

Clock starts just before the host is killed (or its network is taken away), and stops when all replicas are Ready on
other hosts, as a watch shows them. Kill and cut alternate; between trials the host comes back.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

from podium.client import Client
from podium.codec.json import object_from_dict
from podium.objects.pod import is_ready
from podium.v1.apps_pb2 import Deployment
from podium.v1.core_pb2 import Pod
from tests.rig.rig import CONFIG, Host, podium, until

_REPLICAS = 6
_NAME = "bench-failover"


def manifest() -> dict[str, object]:
    """A deployment whose pods are ready as soon as they run."""
    labels = {"app": _NAME}
    container = {"name": "main", "image": "busybox", "command": ["sleep", "100000"]}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": _NAME},
        "spec": {
            "replicas": _REPLICAS, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            },
        },
    }  # fmt: skip


def ready_outside(client: Client, host: str) -> bool:
    """Whether all replicas are Ready on other hosts."""
    pods = client.list(Pod, selector=f"app={_NAME}")
    live = [p for p in pods if not p.metadata.HasField("deletion_timestamp") and is_ready(p)]
    return sum(p.spec.node_name != host for p in live) == _REPLICAS


def trial(client: Client, number: int) -> float:
    """Lose one host; seconds until everything runs elsewhere."""
    host = Host(client.list(Pod, selector=f"app={_NAME}")[0].spec.node_name)
    start = time.monotonic()
    (host.kill if number % 2 == 0 else host.cut)()
    until(lambda: ready_outside(client, host.name), seconds=60, what="replacements")
    took = time.monotonic() - start
    (host.start if number % 2 == 0 else host.heal)()
    podium("wait", "--for=condition=Ready", f"node/{host.name}", "--timeout=90s", timeout=120)
    until(lambda: len(client.list(Pod, selector=f"app={_NAME}")) == _REPLICAS, seconds=60, what="the old pods to go")
    return took


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    trials = parser.parse_args().trials
    with Client.from_config(CONFIG) as client:
        client.create(object_from_dict(manifest()))
        try:
            until(lambda: ready_outside(client, ""), seconds=60, what="the deployment")
            taken = [trial(client, number) for number in range(trials)]
        finally:
            client.delete(Deployment, _NAME)
    print(
        json.dumps(
            {
                "case": "failover",
                "trials": trials,
                "median_s": round(statistics.median(taken), 2),
                "worst_s": round(max(taken), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
