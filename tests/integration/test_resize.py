"""Resources changed in place on hollow nodes: granted, put off, refused; counted by the scheduler and by quotas."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nodelet.hollow import HollowSize
from nodelet.runtime.protocol import State
from podium.errors import Forbidden
from podium.v1.core_pb2 import Pod
from podium.v1.policy_pb2 import LimitRange, ResourceQuota
from tests.support.cluster import ADMIN, HollowCluster, hollow_cluster
from tests.support.waiting import until


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[HollowCluster]:
    async with hollow_cluster(tmp_path, nodes=1, size=HollowSize(cpu="4", memory="8Gi")) as running:
        yield running


def pod(name: str, cpu: str) -> Pod:
    made = Pod()
    made.metadata.namespace, made.metadata.name = "default", name
    made.spec.containers.add(name="main", image="web:1").resources.requests.update({"cpu": cpu, "memory": "64Mi"})
    return made


def stored(cluster: HollowCluster, name: str) -> Pod:
    found = cluster.reader.get(Pod, "default", name)
    assert found is not None
    return found


async def resize(cluster: HollowCluster, name: str, cpu: str) -> None:
    def change(found: Pod) -> None:
        found.spec.containers[0].resources.requests["cpu"] = cpu

    await cluster.writer.mutate(Pod, "default", name, change, by=ADMIN, subresource="resize")


def pending(cluster: HollowCluster, name: str) -> str:
    found = [c.reason for c in stored(cluster, name).status.conditions if c.type == "PodResizePending"]
    return found[0] if found else ""


def has(cluster: HollowCluster, name: str) -> str:
    (status,) = stored(cluster, name).status.container_statuses
    return status.resources.requests["cpu"]


async def shares(cluster: HollowCluster, name: str) -> int:
    (runtime,) = [member.runtime for member in cluster.members.values()]
    (record,) = [c for c in (await runtime.listing()).containers if c.pod.name == name]
    assert record.allowance is not None
    return record.allowance.cpu_shares


async def test_resources_change_in_place(cluster: HollowCluster) -> None:
    for name in ("a", "b"):
        await cluster.writer.create(pod(name, "1"), by=ADMIN)
    await until(lambda: len(cluster.pods(phase="Running")) == 2)
    before = stored(cluster, "a").status.container_statuses[0]

    await resize(cluster, "a", "3")
    await until(lambda: has(cluster, "a") == "3")
    assert await shares(cluster, "a") == 3 * 1024
    after = stored(cluster, "a").status.container_statuses[0]
    assert (after.container_id, after.restart_count) == (before.container_id, 0)
    assert after.allocated_resources["cpu"] == "3"

    await cluster.writer.create(pod("c", "1"), by=ADMIN)  # the scheduler counts what the resized pod has now
    await until(lambda: any(c.reason == "Unschedulable" for c in stored(cluster, "c").status.conditions))

    await resize(cluster, "b", "2")
    await until(lambda: pending(cluster, "b") == "Deferred")
    assert (has(cluster, "b"), await shares(cluster, "b")) == ("1", 1024)
    await resize(cluster, "b", "9")
    await until(lambda: pending(cluster, "b") == "Infeasible")
    await resize(cluster, "b", "2")
    await until(lambda: pending(cluster, "b") == "Deferred")

    await resize(cluster, "a", "1")  # which leaves room for what was put off
    await until(lambda: has(cluster, "b") == "2")
    assert pending(cluster, "b") == ""
    assert await shares(cluster, "b") == 2 * 1024
    await until(lambda: stored(cluster, "c").status.phase == "Running")


async def test_a_quota_counts_a_resize(cluster: HollowCluster) -> None:
    await cluster.writer.create(pod("a", "1"), by=ADMIN)
    quota = ResourceQuota()
    quota.metadata.namespace, quota.metadata.name = "default", "cpu"
    quota.spec.hard["requests.cpu"] = "2"
    await cluster.writer.create(quota, by=ADMIN)
    await resize(cluster, "a", "2")
    with pytest.raises(Forbidden, match="exceeded quota"):
        await resize(cluster, "a", "2100m")
    await until(lambda: stored(cluster, "a").status.phase == "Running")


async def test_a_limit_range_bounds_a_resize(cluster: HollowCluster) -> None:
    await cluster.writer.create(pod("a", "1"), by=ADMIN)
    bounds = LimitRange()
    bounds.metadata.namespace, bounds.metadata.name = "default", "cpu"
    bounds.spec.limits.add(type="Container").min["cpu"] = "500m"
    await cluster.writer.create(bounds, by=ADMIN)
    with pytest.raises(Forbidden, match="must be at least 500m"):
        await resize(cluster, "a", "100m")
    await resize(cluster, "a", "600m")


async def test_a_policy_restarts_the_container_once_and_at_once(cluster: HollowCluster) -> None:
    made = pod("a", "1")
    made.spec.containers[0].resize_policy.add(resource_name="cpu", restart_policy="RestartContainer")
    await cluster.writer.create(made, by=ADMIN)
    await until(lambda: stored(cluster, "a").status.phase == "Running")
    await resize(cluster, "a", "2")
    await until(lambda: has(cluster, "a") == "2" and stored(cluster, "a").status.container_statuses[0].ready)
    (status,) = stored(cluster, "a").status.container_statuses
    assert (status.restart_count, status.state.HasField("running")) == (1, True)
    (runtime,) = [member.runtime for member in cluster.members.values()]
    (now,) = [c for c in (await runtime.listing()).containers if c.state is State.RUNNING]
    assert now.allowance is not None
    assert now.allowance.cpu_shares == 2 * 1024
