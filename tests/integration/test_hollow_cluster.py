"""The whole control plane with hollow nodes: what is asked for runs, heals, and outlives its master."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from podium.objects.kinds import Key
from podium.v1.apps_pb2 import Deployment
from podium.v1.cluster_service_pb2 import UsageRequest
from podium.v1.cluster_service_pb2_grpc import ClusterStub
from podium.v1.core_pb2 import Container, Pod
from podium.v1.pods_service_pb2 import ExecRequest, LogsRequest, PodKey, StreamFrame
from podium.v1.pods_service_pb2_grpc import PodsStub
from tests.support.cluster import ADMIN, HollowCluster, hollow_cluster
from tests.support.waiting import until

FLEET, PATIENCE = 200, 60.0


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[HollowCluster]:
    async with hollow_cluster(tmp_path, nodes=3) as running:
        yield running


def deployment(replicas: int, name: str = "web") -> Deployment:
    made = Deployment()
    made.metadata.namespace, made.metadata.name = "default", name
    made.spec.replicas = replicas
    made.spec.selector.match_labels["app"] = name
    made.spec.template.metadata.labels["app"] = name
    made.spec.template.spec.containers.append(Container(name="main", image="web:1"))
    return made


async def test_a_deployment_runs_spread_over_the_nodes(cluster: HollowCluster) -> None:
    await cluster.writer.create(deployment(6), by=ADMIN)
    await until(lambda: len(cluster.pods(phase="Running")) == 6)
    assert {len(cluster.pods(node=name)) for name in cluster.members} == {2}
    await until(lambda: all(p.status.pod_ip for p in cluster.pods()))
    assert len({p.status.pod_ip for p in cluster.pods()}) == 6


async def test_scaling_down_removes_pods_everywhere(cluster: HollowCluster) -> None:
    await cluster.writer.create(deployment(4), by=ADMIN)
    await until(lambda: len(cluster.pods(phase="Running")) == 4)

    def scale(stored: Deployment) -> None:
        stored.spec.replicas = 1

    await cluster.writer.mutate(Deployment, "default", "web", scale, by=ADMIN)
    await until(lambda: len(cluster.pods()) == 1)


async def test_a_dead_nodes_pods_run_elsewhere_within_ten_seconds(cluster: HollowCluster) -> None:
    await cluster.writer.create(deployment(3), by=ADMIN)
    await until(lambda: len(cluster.pods(phase="Running")) == 3)
    await cluster.members["node1"].kill()

    def replaced() -> bool:
        return len([p for p in cluster.pods(phase="Running") if p.spec.node_name != "node1"]) == 3

    await until(replaced, seconds=10.0)
    await until(lambda: "node1" not in cluster.ready_nodes())


async def test_pods_outlive_their_master(cluster: HollowCluster) -> None:
    await cluster.writer.create(deployment(3), by=ADMIN)
    await until(lambda: len(cluster.pods(phase="Running")) == 3)
    before = {c.id for m in cluster.members.values() for c in (await m.runtime.listing()).containers}
    await cluster.stop_master()
    await cluster.start_master()
    await until(lambda: all(m.node.session.connected for m in cluster.members.values()), seconds=15)
    await until(lambda: len(cluster.ready_nodes()) == 3)
    assert len(cluster.pods(phase="Running")) == 3
    after = {c.id for m in cluster.members.values() for c in (await m.runtime.listing()).containers}
    assert after == before


async def test_a_container_killed_behind_our_back_is_started_again(cluster: HollowCluster) -> None:
    await cluster.writer.create(deployment(1), by=ADMIN)
    await until(lambda: len(cluster.pods(phase="Running")) == 1)
    (pod,) = cluster.pods()
    runtime = cluster.members[pod.spec.node_name].runtime
    (container,) = (await runtime.listing()).containers
    runtime.crash(container.id)
    await until(lambda: cluster.pods()[0].status.container_statuses[0].restart_count == 1)
    await until(lambda: cluster.pods()[0].status.container_statuses[0].ready)


async def test_a_deleted_node_that_lives_comes_back(cluster: HollowCluster) -> None:
    await cluster.writer.delete(Key("Node", "", "node1"), by=ADMIN)
    await until(lambda: "node1" in cluster.ready_nodes())


async def test_logs_exec_and_usage_reach_through(cluster: HollowCluster) -> None:
    await cluster.writer.create(deployment(1), by=ADMIN)
    await until(lambda: len(cluster.pods(phase="Running")) == 1)
    key = PodKey(namespace="default", name=cluster.pods()[0].metadata.name)
    async with cluster.admin() as channel:
        logs = [f async for f in PodsStub(channel).Logs(LogsRequest(pod=key))]
        assert b"hollow" in logs[0].data
        stub: Any = PodsStub(channel)
        call = stub.Exec()
        await call.write(StreamFrame(exec=ExecRequest(pod=key, command=["ls"])))
        got = [await call.read(), await call.read()]
        assert b"would run ls" in got[0].data
        assert got[1].exit.code == 0
        usage = await ClusterStub(channel).Usage(UsageRequest())
        assert {n.name for n in usage.nodes} <= set(cluster.members)


async def test_pods_of_a_deleted_pod_object_leave_the_node(cluster: HollowCluster) -> None:
    pod = Pod()
    pod.metadata.namespace, pod.metadata.name = "default", "single"
    pod.spec.containers.append(Container(name="main", image="web:1"))
    await cluster.writer.create(pod, by=ADMIN)
    await until(lambda: len(cluster.pods(phase="Running")) == 1)
    node = cluster.members[cluster.pods()[0].spec.node_name]
    await cluster.writer.delete(Key("Pod", "default", "single"), by=ADMIN)
    await until(lambda: not cluster.pods())
    await until(lambda: not node.node.pods.pod_uids())
    listing = await node.runtime.listing()
    assert not listing.containers
    assert not listing.sandboxes


async def test_a_fleet_of_some_hundred_nodes(tmp_path: Path) -> None:
    async with hollow_cluster(tmp_path, nodes=FLEET) as cluster:
        await cluster.writer.create(deployment(2 * FLEET), by=ADMIN)
        await until(lambda: len(cluster.pods(phase="Running")) == 2 * FLEET, seconds=PATIENCE)
        assert max(len(cluster.pods(node=name)) for name in cluster.members) <= 4, (
            "spread, if not evenly while some join"
        )
        assert len({p.status.pod_ip for p in cluster.pods()}) == 2 * FLEET
        lost = [f"node{number}" for number in (7, 70, 170)]
        for name in lost:
            await cluster.members[name].kill()

        def replaced() -> bool:
            return sum(p.spec.node_name not in lost for p in cluster.pods(phase="Running")) == 2 * FLEET

        await until(replaced, seconds=PATIENCE)
        await until(lambda: set(cluster.ready_nodes()) == set(cluster.members) - set(lost), seconds=PATIENCE)
