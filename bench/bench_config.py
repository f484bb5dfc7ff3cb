"""How long a change of a ConfigMap takes to the last file of the pods that show it.

    python -m bench.bench_config [--pods 100] [--nodes 10] [--rounds 20]     # hollow nodes, all in this process
    make up && python -m bench.bench_config --rig [--pods 20] [--rounds 20]  # one real host of the rig

Hollow: a master on SQLite over gRPC, nodes that are real but for their containers, files really written and swapped on
this machine's disk. The clock runs from before the update is sent to when every pod's file has the new content.
Rig: pods of one host, whose files are read by a shell on the host, in one look after another.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

from podium.client import AsyncClient, Client
from podium.codec.json import object_from_dict
from podium.objects.pod import is_ready
from podium.v1.apps_pb2 import Deployment
from podium.v1.core_pb2 import ConfigMap, Pod
from tests.rig.rig import CONFIG, Host, until
from tests.support.cluster import HollowCluster, hollow_cluster
from tests.support.host_volumes import host_volumes
from tests.support.waiting import until as soon

NAME = "bench-config"
PATIENCE = 120.0


def report(case: str, taken: list[float], **figures: object) -> None:
    """One line of JSON."""
    print(
        json.dumps(
            {"case": case, **figures, "rounds": len(taken), "median_s": round(statistics.median(taken), 3),
             "worst_s": round(max(taken), 3)}
        ),
        flush=True,
    )  # fmt: skip


def config_map(value: str) -> ConfigMap:
    """What is changed: a key of some kilobytes, as configuration is."""
    made = ConfigMap(data={"key": value, "more": "x" * 4000})
    made.metadata.namespace, made.metadata.name = "default", NAME
    return made


def deployment(pods: int, node: str = "") -> Deployment:
    """Pods that show it, on one node if one is named."""
    labels = {"app": NAME}
    container = {"name": "main", "image": "busybox", "command": ["sleep", "100000"],
                 "volumeMounts": [{"name": "config", "mountPath": "/config"}]}  # fmt: skip
    spec = {
        "containers": [container], "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "config", "configMap": {"name": NAME}}],
        **({"nodeName": node} if node else {}),
    }  # fmt: skip
    made: Deployment = object_from_dict(
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME, "namespace": "default"},
            "spec": {"replicas": pods, "selector": {"matchLabels": labels},
                     "template": {"metadata": {"labels": labels}, "spec": spec}},
        }
    )  # fmt: skip
    return made


# ---------------------------------------------------------------- hollow nodes


async def hollow(pods: int, nodes: int, rounds: int) -> None:
    """A cluster in this process."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        async with hollow_cluster(root) as cluster:
            for number in range(nodes):
                await cluster.add_node(f"node{number}", volumes=host_volumes(root / f"v{number}"))
            await soon(lambda: len(cluster.ready_nodes()) == nodes, seconds=PATIENCE)
            await _hollow_rounds(cluster, root, pods, rounds, nodes)


async def _hollow_rounds(cluster: HollowCluster, root: Path, pods: int, rounds: int, nodes: int) -> None:
    async with AsyncClient.from_config(cluster.master.admin_config) as client:
        await client.create(config_map("0"))
        await client.create(deployment(pods))
        await soon(lambda: len(cluster.pods(phase="Running")) == pods, seconds=PATIENCE)
        files = _files(root)
        assert len(files) == pods, f"{len(files)} files"
        taken = [await _hollow_round(client, files, str(number)) for number in range(1, rounds + 1)]
    report("config_change_hollow", taken, pods=pods, nodes=nodes)


async def _hollow_round(client: AsyncClient, files: list[Path], value: str) -> float:
    began = time.monotonic()
    stored = await client.get(ConfigMap, NAME)
    stored.data["key"] = value
    await client.update(stored)
    await soon(lambda: all(file.read_text() == value for file in files), seconds=PATIENCE)
    return time.monotonic() - began


def _files(root: Path) -> list[Path]:
    return list(root.glob("v*/*/config/key"))


# ---------------------------------------------------------------- a host of the rig


def rig(pods: int, rounds: int) -> None:
    """Real containers on one host."""
    host = Host("node1")
    with Client.from_config(CONFIG) as client:
        client.create(config_map("0"))
        client.create(deployment(pods, host.name))
        try:
            until(lambda: _ready(client) == pods, seconds=PATIENCE, what="the pods")
            taken = [_rig_round(client, host, pods, f"value-{number}") for number in range(1, rounds + 1)]
        finally:
            client.delete(Deployment, NAME)
            client.delete(ConfigMap, NAME)
    report("config_change_host", taken, pods=pods)


def _ready(client: Client) -> int:
    return sum(is_ready(p) for p in client.list(Pod, selector=f"app={NAME}"))


def _rig_round(client: Client, host: Host, pods: int, value: str) -> float:
    stored = client.get(ConfigMap, NAME)
    stored.data["key"] = value
    began = time.monotonic()
    client.update(stored)
    host.sh(
        f"until [ $(cat /var/lib/podium/nodelet/volumes/*/config/key | grep -o {value} | wc -l) = {pods} ]; "
        "do sleep 0.02; done"
    )
    return time.monotonic() - began


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rig", action="store_true", help="measure on a host of the rig, which must be up")
    parser.add_argument("--pods", type=int)
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    chosen = parser.parse_args()
    if chosen.rig:
        rig(chosen.pods or 20, chosen.rounds)
    else:
        asyncio.run(hollow(chosen.pods or 100, chosen.nodes, chosen.rounds))


if __name__ == "__main__":
    main()
