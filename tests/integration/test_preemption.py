"""Preemption on a whole cluster: real disruption budgets, counted by their controller, decide who goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nodelet.hollow import HollowSize
from nodelet.runtime.hollow import Behaviour, HollowSettings
from podium.objects.conditions import get_condition
from podium.objects.kinds import Key
from podium.v1.cluster_service_pb2 import ExplainPodRequest, ExplainPodResponse
from podium.v1.cluster_service_pb2_grpc import ClusterStub
from podium.v1.core_pb2 import Pod
from podium.v1.policy_pb2 import PodDisruptionBudget
from tests.support.cluster import ADMIN, HollowCluster, hollow_cluster
from tests.support.policies import bounded_pod, budget, priority_class
from tests.support.waiting import until

LINGERING = HollowSettings(default=Behaviour(stop_takes=None))
"""Containers that ignore being stopped, so that a preemption under way can be looked at."""


@asynccontextmanager
async def two_full_nodes(folder: Path) -> AsyncIterator[HollowCluster]:
    """Each with room for one more pod like those of this test."""
    async with hollow_cluster(folder) as cluster:
        for name in ("node1", "node2"):
            await cluster.add_node(name, size=HollowSize(cpu="4"), behaviours=LINGERING)
        await until(lambda: len(cluster.ready_nodes()) == 2)
        for name, value in (("low", 10), ("middle", 100), ("high", 1000)):
            await cluster.writer.create(priority_class(name, value), by=ADMIN)
        await runs(cluster, "guarded", "low", app="db")
        await runs(cluster, "free", "middle")
        yield cluster


async def made(cluster: HollowCluster, name: str, importance: str, app: str = "") -> None:
    """A pod that needs most of a node."""
    pod = bounded_pod(name, requests={"cpu": "3"}, spec={"priorityClassName": importance})
    pod.metadata.labels["app"] = app
    pod.spec.termination_grace_period_seconds = 600
    await cluster.writer.create(pod, by=ADMIN)


async def runs(cluster: HollowCluster, name: str, importance: str, app: str = "") -> None:
    await made(cluster, name, importance, app)
    await until(lambda: _is_ready(its(cluster, name)))


def its(cluster: HollowCluster, name: str) -> Pod:
    found = cluster.reader.get(Pod, "default", name)
    assert found is not None
    return found


def _is_ready(pod: Pod) -> bool:
    condition = get_condition(pod.status.conditions, "Ready")
    return condition is not None and condition.status == "True"


async def guard(cluster: HollowCluster) -> None:
    """The budget, once its controller has counted: nobody of app=db may go."""
    await cluster.writer.create(budget(labels={"app": "db"}, minAvailable=1), by=ADMIN)

    def counted() -> bool:
        found = cluster.reader.get(PodDisruptionBudget, "default", "budget")
        return found is not None and found.status.current_healthy == 1 and found.status.disruptions_allowed == 0

    await until(counted)


async def nominated(cluster: HollowCluster, name: str) -> str:
    return await until(lambda: its(cluster, name).status.nominated_node_name)


async def explained(cluster: HollowCluster, name: str) -> ExplainPodResponse:
    async with cluster.admin() as channel:
        answer: Any = await ClusterStub(channel).ExplainPod(ExplainPodRequest(namespace="default", name=name))
        assert isinstance(answer, ExplainPodResponse)
        return answer


def leaves(cluster: HollowCluster, name: str) -> None:
    """Its container ends at last."""
    pod = its(cluster, name)
    runtime = cluster.members[pod.spec.node_name].runtime
    for container, _ in runtime.loads():
        if container.pod.name == name:
            runtime.crash(container.id)


@pytest.mark.parametrize(("guarded", "victim"), [(False, "guarded"), (True, "free")])
async def test_a_budget_makes_the_scheduler_choose_other_victims(tmp_path: Path, guarded: bool, victim: str) -> None:
    async with two_full_nodes(tmp_path) as cluster:
        if guarded:
            await guard(cluster)
        where, spared = its(cluster, victim).spec.node_name, "free" if victim == "guarded" else "guarded"
        await made(cluster, "urgent", "high")
        assert await nominated(cluster, "urgent") == where
        answer = await explained(cluster, "urgent")
        assert (answer.state, answer.node_name) == ("Preempting", where)
        assert [(v.name, v.overdraws_budget) for v in answer.victims] == [(victim, False)]
        await until(lambda: its(cluster, victim).metadata.HasField("deletion_timestamp"))
        leaves(cluster, victim)
        assert await until(lambda: its(cluster, "urgent").spec.node_name) == where
        assert not its(cluster, spared).metadata.HasField("deletion_timestamp")


async def test_where_all_victims_overdraw_a_budget_one_goes_all_the_same_and_it_is_said(tmp_path: Path) -> None:
    async with two_full_nodes(tmp_path) as cluster:
        await guard(cluster)
        await cluster.writer.delete(Key("Pod", "default", "free"), by=ADMIN)
        leaves(cluster, "free")
        await until(lambda: cluster.reader.get(Pod, "default", "free") is None)
        await runs(cluster, "equal", "high")
        await made(cluster, "urgent", "high")
        assert await nominated(cluster, "urgent") == its(cluster, "guarded").spec.node_name
        [only] = (await explained(cluster, "urgent")).victims
        assert (only.name, only.priority, only.overdraws_budget) == ("guarded", 10, True)
