"""Node pools on a real master and hollow nodes: hosts are set up by a script, and everything else is as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from podium.objects.kinds import Key
from podium.objects.meta import is_terminating
from podium.objects.nodepool import POOL_LABEL
from podium.v1.apps_pb2 import Deployment
from podium.v1.core_pb2 import Event, Node, Pod, Secret, Taint
from podium.v1.nodepool_pb2 import NodePool
from podium.v1.policy_pb2 import PodDisruptionBudget
from tests.support.cluster import ADMIN, HollowCluster, hollow_cluster
from tests.support.nodepools import SIZE, ScriptedProvisioner, credentials, node_pool
from tests.support.waiting import until
from tests.support.workloads import deployment


@asynccontextmanager
async def cluster_with(
    directory: Path, pool: NodePool, *, nodes: int = 1
) -> AsyncIterator[tuple[HollowCluster, ScriptedProvisioner]]:
    """A cluster of small nodes with this pool."""
    script = ScriptedProvisioner()
    async with hollow_cluster(directory, nodes=nodes, size=SIZE, provisioner=script, nodepool_backoff=1.0) as cluster:
        script.cluster = cluster
        await cluster.writer.create(credentials(), by=ADMIN)
        await cluster.writer.create(pool, by=ADMIN)
        yield cluster, script


def phases(cluster: HollowCluster, name: str = "pool") -> dict[str, str]:
    pool = cluster.reader.get(NodePool, "", name)
    return {h.name: h.phase for h in pool.status.hosts} if pool is not None else {}


def running(cluster: HollowCluster, on: str = "") -> int:
    return sum(1 for p in cluster.pods(phase="Running") if not is_terminating(p) and p.spec.node_name.startswith(on))


async def scale(cluster: HollowCluster, replicas: int) -> None:
    def change(obj: Deployment) -> None:
        obj.spec.replicas = replicas

    await cluster.writer.mutate(Deployment, "default", "web", change, by=ADMIN)


def of_cpu(cpu: str, replicas: int, **more: Any) -> Deployment:
    made = deployment("web", replicas=replicas)
    made.spec.template.spec.containers[0].resources.requests["cpu"] = cpu
    return made


def events(cluster: HollowCluster) -> Counter[str]:
    return Counter(e.reason for e in cluster.reader.list(Event) if e.involved_object.kind == "NodePool")


async def test_pods_that_wait_get_a_host_and_nobody_else_does(tmp_path: Path) -> None:
    pool = node_pool(labels={"disk": "ssd"}, taints=[Taint(key="batch", value="yes", effect="PreferNoSchedule")])
    async with cluster_with(tmp_path, pool) as (cluster, script):
        await cluster.writer.create(of_cpu("1", 8), by=ADMIN)
        await until(lambda: running(cluster) == 8, seconds=30)
        assert [t.name for t in script.joined] == ["pool-0"], "one host was enough"
        assert (running(cluster, "node1"), running(cluster, "pool-0")) == (4, 4)
        node = cluster.reader.get(Node, "", "pool-0")
        assert node is not None
        assert node.metadata.labels[POOL_LABEL] == "pool"
        assert node.metadata.labels["disk"] == "ssd"
        assert [(t.key, t.value, t.effect) for t in node.spec.taints] == [("batch", "yes", "PreferNoSchedule")]
        await until(lambda: phases(cluster)["pool-0"] == "Ready")
        await until(lambda: events(cluster).keys() >= {"HostProvisioning", "HostReady"})
        tokens = [s for s in cluster.reader.list(Secret, "podium-system") if s.metadata.name.startswith("join-token")]
        assert not any(b"node pool" in s.data.get("description", b"") for s in tokens), "its token is void"


async def test_a_host_that_cannot_be_set_up_rests_and_another_is_taken(tmp_path: Path) -> None:
    async with cluster_with(tmp_path, node_pool(hosts=2)) as (cluster, script):
        script.broken["pool-0"] = "Install the engine: no such package"
        await cluster.writer.create(of_cpu("1", 8), by=ADMIN)
        await until(lambda: running(cluster, "pool-1") == 4, seconds=30)
        pool = cluster.reader.get(NodePool, "", "pool")
        assert pool is not None
        failed = next(h for h in pool.status.hosts if h.name == "pool-0")
        assert (failed.phase, failed.message) == ("Failed", "Install the engine: no such package")
        unhealthy = next(c for c in pool.status.conditions if c.type == "HostsHealthy")
        assert (unhealthy.status, unhealthy.reason) == ("False", "HostsFailed")
        # When it is mended, and needed, it is tried again by itself.
        del script.broken["pool-0"]
        await scale(cluster, 12)
        await until(lambda: running(cluster, "pool-0") == 4, seconds=30)


async def test_a_master_that_restarts_in_the_middle_goes_on(tmp_path: Path) -> None:
    async with cluster_with(tmp_path, node_pool(hosts=2)) as (cluster, script):
        script.slow.add("pool-0")
        await cluster.writer.create(of_cpu("1", 8), by=ADMIN)
        await until(lambda: script.active == {"pool-0"}, seconds=20)
        await cluster.stop_master()
        assert script.active == set(), "what a master has begun ends with it"
        await cluster.start_master()
        await until(lambda: script.active == {"pool-0"}, seconds=20)
        script.go_on("pool-0")
        await until(lambda: running(cluster, "pool-0") == 4, seconds=30)
        assert [t.name for t in script.joined] == ["pool-0", "pool-0"], "the same host again, and no other"


async def test_an_idle_host_is_emptied_by_budgets_let_go_and_taken_again(tmp_path: Path) -> None:
    async with cluster_with(tmp_path, node_pool(idle=1), nodes=2) as (cluster, script):
        await cluster.writer.create(_budget(), by=ADMIN)
        await cluster.writer.create(of_cpu("1", 12), by=ADMIN)
        await until(lambda: running(cluster) == 12, seconds=30)
        assert phases(cluster)["pool-0"] in ("Joined", "Ready")
        seen_on_release: list[int] = []
        script.on_release = lambda name: seen_on_release.append(len(cluster.pods(node=name)))
        fewest = 12

        def watched() -> bool:
            nonlocal fewest
            fewest = min(fewest, sum(1 for p in cluster.pods() if _is_ready(p)))
            return phases(cluster)["pool-0"] == "Standby"

        await scale(cluster, 5)
        await until(lambda: running(cluster) == 5)
        fewest = 5
        await until(watched, seconds=40)
        assert [t.name for t in script.released] == ["pool-0"]
        assert seen_on_release == [0], "it was empty before it was let go"
        assert fewest >= 4, "the budget was kept"
        assert cluster.reader.get(Node, "", "pool-0") is None
        await until(lambda: running(cluster) == 5)
        await scale(cluster, 12)
        await until(lambda: running(cluster, "pool-0") == 4, seconds=30)


def _budget() -> PodDisruptionBudget:
    budget = PodDisruptionBudget()
    budget.metadata.namespace, budget.metadata.name = "default", "web"
    budget.spec.selector.match_labels["app"] = "web"
    budget.spec.max_unavailable.int_value = 1
    return budget


def _is_ready(pod: Pod) -> bool:
    return not is_terminating(pod) and any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)


async def test_pods_that_fit_no_host_start_none(tmp_path: Path) -> None:
    async with cluster_with(tmp_path, node_pool()) as (cluster, script):
        await cluster.writer.create(of_cpu("64", 1), by=ADMIN)
        decision = await until(lambda: _decision(cluster, "does not grow"), seconds=20)
        assert decision == "does not grow: waiting pods do not fit an empty host of it: 1 Insufficient cpu"
        assert script.joined == []


def _decision(cluster: HollowCluster, has: str) -> str:
    pool = cluster.reader.get(NodePool, "", "pool")
    return pool.status.decision if pool is not None and has in pool.status.decision else ""


async def test_a_pool_that_is_deleted_leaves_its_nodes_and_stops_what_it_does(tmp_path: Path) -> None:
    async with cluster_with(tmp_path, node_pool(hosts=2)) as (cluster, script):
        script.slow.add("pool-1")
        await cluster.writer.create(of_cpu("1", 12), by=ADMIN)
        await until(lambda: running(cluster, "pool-0") == 4 and script.active == {"pool-1"}, seconds=30)
        await cluster.writer.delete(Key("NodePool", "", "pool"), by=ADMIN)
        await until(lambda: script.active == set())
        assert running(cluster, "pool-0") == 4


@pytest.mark.parametrize("missing", ["ssh-privatekey", "known_hosts"])
async def test_credentials_that_are_incomplete_are_named(tmp_path: Path, missing: str) -> None:
    async with cluster_with(tmp_path, node_pool()) as (cluster, script):

        def change(secret: Secret) -> None:
            secret.data.pop(missing, None)

        await cluster.writer.mutate(Secret, "podium-system", "ssh", change, by=ADMIN)
        await cluster.writer.create(of_cpu("1", 30), by=ADMIN)
        sentence = f"secret podium-system/ssh has no {missing}"
        await until(lambda: _decision(cluster, sentence), seconds=20)
        assert script.joined == []
