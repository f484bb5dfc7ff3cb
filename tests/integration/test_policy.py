"""Policies of namespaces over gRPC: what they add, and what they refuse, however the writes come."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from master.access.protocol import Create
from master.access.writes import Evict
from master.store.memory import MemoryStore
from master.store.sqlite import SqliteStore
from podium.aio.clock import SystemClock
from podium.cli.describe.objects import describe
from podium.cli.describe.page import Page
from podium.cli.output.columns import cells, columns_of
from podium.client import AsyncClient
from podium.errors import Forbidden, Invalid, PodiumError, TooManyRequests
from podium.objects.kinds import kind_of
from podium.v1 import objects_service_pb2 as wire
from podium.v1.apps_pb2 import ReplicaSet
from podium.v1.core_pb2 import Eviction, Pod
from podium.v1.policy_pb2 import PodDisruptionBudget, PriorityClass, ResourceQuota
from tests.support.control_plane import ME, ControlPlane, control_plane
from tests.support.master_process import MasterProcess
from tests.support.objects_api import ADMIN, Api, objects_api, packed
from tests.support.policies import bounded_pod, budget, limit_range, named, priority_class, quota
from tests.support.waiting import until
from tests.support.workloads import replica_set


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with objects_api(MemoryStore()) as served:
        yield served


def _described(obj: Any) -> str:
    page = Page()
    describe(page, obj, SystemClock().now())
    return str(page)


# ---------------------------------------------------------------- LimitRange


async def test_a_limit_range_holds_from_when_it_is_made_in_its_namespace_alone(api: Api) -> None:
    before = await api.create(bounded_pod("before"))
    made = await api.create(limit_range({"max": {"cpu": 1}, "defaultRequest": {"cpu": "100m"}}))
    pod = await api.create(bounded_pod("after"))
    assert dict(pod.spec.containers[0].resources.requests) == {"cpu": "100m"}
    with pytest.raises(Forbidden, match=r"requests\[cpu\]: must be at most 1, not 2"):
        await api.create(bounded_pod("big", requests={"cpu": "2"}, limits={"cpu": "2"}))
    before.metadata.labels["touched"] = "yes"
    await api.update(before)

    await api.create(named("Namespace", "other", metadata={"namespace": ""}))
    elsewhere = bounded_pod("big", requests={"cpu": "2"})
    elsewhere.metadata.namespace = "other"
    await api.create(elsewhere)

    assert "Container   cpu        -     1" in _described(made)
    await api.delete(type(made), "limits")
    await api.create(bounded_pod("big", requests={"cpu": "2"}))


# ---------------------------------------------------------------- PriorityClass


async def test_priority_is_resolved_when_a_pod_is_made_and_classes_are_guarded(api: Api) -> None:
    await api.create(priority_class("usual", 7, globalDefault=True))
    made = await api.create(bounded_pod("plain"))
    assert (made.spec.priority_class_name, made.spec.priority) == ("usual", 7)
    with pytest.raises(Invalid, match=r'spec\.priorityClassName: must name a PriorityClass: there is no "usuall"'):
        await api.create(bounded_pod("odd", spec={"priorityClassName": "usuall"}))
    with pytest.raises(Invalid, match="globalDefault: must be true of one class only"):
        await api.create(priority_class("second", 1, globalDefault=True))
    await api.create(priority_class("system-node-critical", 2_000_001_000))
    with pytest.raises(Forbidden, match="is built in and cannot be deleted"):
        await api.delete(PriorityClass, "system-node-critical")
    critical = await api.create(bounded_pod("critical", spec={"priorityClassName": "system-cluster-critical"}))
    assert critical.spec.priority == 2_000_000_000
    await api.delete(PriorityClass, "usual")
    assert (await api.create(bounded_pod("later"))).spec.priority == 0


# ---------------------------------------------------------------- ResourceQuota


async def _streamed(api: Api, names: list[str]) -> list[Any]:
    """The results of creating pods over one Batch stream, many a frame."""
    writes = [wire.BatchRequest(create=wire.CreateRequest(object=packed(bounded_pod(n)))) for n in names]
    frame = wire.BatchRequest(more=writes)
    return [result async for answer in api.stub.raw.Batch(iter([frame])) for result in answer.results]


async def test_concurrent_creates_by_every_way_admit_exactly_the_quota(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "podium.db")
    async with objects_api(store) as api:
        await api.create(quota({"pods": 150, "count/pods": 150}))
        unary = [api.create(bounded_pod(f"u{n}")) for n in range(100)]
        streams = [_streamed(api, [f"s{stream}-{n}" for n in range(60)]) for stream in range(3)]
        inside = api.writer.write_many([Create(bounded_pod(f"w{n}")) for n in range(120)], by=ADMIN)
        calls, streamed, written = await asyncio.gather(
            asyncio.gather(*unary, return_exceptions=True), asyncio.gather(*streams), inside
        )
        refused: list[Any] = [answer for answer in (*calls, *written) if isinstance(answer, PodiumError)]
        refused += [result for results in streamed for result in results if result.code]
        assert len(api.reader.list(Pod)) == 150
        assert len(refused) == 100 + 180 + 120 - 150
        assert all("exceeded quota: quota" in str(getattr(r, "message", r)) for r in refused)
        await api.delete(Pod, api.reader.list(Pod)[0].metadata.name)
        again = await asyncio.gather(*(api.create(bounded_pod(f"x{n}")) for n in range(20)), return_exceptions=True)
        assert sum(isinstance(a, Pod) for a in again) == 1
    await store.close()


async def test_callers_that_leave_take_no_more_than_they_got(api: Api) -> None:
    await api.create(quota({"pods": 10}))

    async def impatient(n: int) -> None:
        with suppress(TimeoutError, PodiumError):
            async with asyncio.timeout(0.001 * (n % 3)):
                await api.writer.create(bounded_pod(f"i{n}"), by=ADMIN)

    await asyncio.gather(*(impatient(n) for n in range(30)))
    results = await api.writer.write_many([Create(bounded_pod(f"p{n}")) for n in range(20)], by=ADMIN)
    assert len(api.reader.list(Pod)) == 10
    assert any(isinstance(result, Forbidden) for result in results)


async def test_a_killed_master_goes_on_counting_where_the_disk_is(tmp_path: Path) -> None:
    master = MasterProcess(tmp_path / "data")
    await master.start()
    try:
        async with master.client() as client:
            await client.create(quota({"pods": 120}))
            creating = [asyncio.ensure_future(_tried(client, f"a{n}")) for n in range(200)]
            await until(lambda: sum(task.done() and task.result() for task in creating) >= 20)
            await master.end(signal.SIGKILL)
            await asyncio.gather(*creating)
        await master.start()
        async with master.client() as client:
            before = len(await client.list(Pod))
            assert 20 <= before <= 120
            made = await asyncio.gather(*(_tried(client, f"b{n}") for n in range(150)))
            assert sum(made) == 120 - before
            assert len(await client.list(Pod)) == 120
    finally:
        await master.end(signal.SIGKILL)


async def _tried(client: AsyncClient, name: str) -> bool:
    try:
        await client.create(bounded_pod(name))
    except PodiumError:
        return False
    return True


def _status(plane: ControlPlane) -> dict[str, str]:
    found = plane.reader.get(ResourceQuota, "default", "quota")
    assert found is not None
    return dict(found.status.used)


async def test_a_replica_set_fills_the_quota_says_why_no_more_and_status_follows() -> None:
    async with control_plane() as plane:
        await plane.writer.create(quota({"pods": 3, "count/replicasets.apps": 2}), by=ME)
        await until(lambda: _status(plane) == {"pods": "0", "count/replicasets.apps": "0"})
        await plane.writer.create(replica_set(replicas=5), by=ME)
        await until(lambda: _status(plane) == {"pods": "3", "count/replicasets.apps": "1"})
        failing = await until(
            lambda: [c for rs in plane.replica_sets() for c in rs.status.conditions if c.type == "ReplicaFailure"]
        )
        assert "exceeded quota: quota, requested: pods=1, used: pods=3, limited: pods=3" in failing[0].message

        found = plane.reader.get(ResourceQuota, "default", "quota")
        assert "pods                     3      3" in _described(found)
        columns = columns_of(kind_of(ResourceQuota), wide=False, namespaces=False, labels=False)
        assert cells(found, columns, SystemClock().now())[1] == "count/replicasets.apps: 1/2, pods: 3/3"

        def shrink(obj: ReplicaSet) -> None:
            obj.spec.replicas = 1

        def widen(obj: ResourceQuota) -> None:
            obj.spec.hard["pods"] = "4"

        await plane.writer.mutate(ResourceQuota, "default", "quota", widen, by=ME)
        await until(lambda: _status(plane)["pods"] == "4")
        await plane.writer.mutate(ReplicaSet, "default", plane.replica_sets()[0].metadata.name, shrink, by=ME)
        await until(lambda: _status(plane)["pods"] == "1")


# ---------------------------------------------------------------- PodDisruptionBudget


async def _running(api: Api, count: int) -> list[Pod]:
    """Ready pods of application `web`."""
    made = []
    for n in range(count):
        pod = bounded_pod(f"p{n}", spec={"nodeName": "n1"})
        pod.metadata.labels["app"] = "web"
        pod = await api.create(pod)
        pod.status.phase = "Running"
        pod.status.conditions.add(type="Ready", status="True")
        made.append(await api.update(pod, subresource="status"))
    return made


async def _budgeted(api: Api, least: int) -> None:
    """A budget, and what its controller would say of it."""
    made = await api.create(budget(minAvailable=least))
    made.status.desired_healthy, made.status.observed_generation = least, made.metadata.generation
    await api.update(made, subresource="status")


async def _evict(api: Api, name: str) -> Any:
    eviction = Eviction()
    eviction.metadata.name, eviction.metadata.namespace = name, "default"
    try:
        return await api.stub.Create(wire.CreateRequest(object=packed(eviction), subresource="eviction"))
    except PodiumError as error:
        return error


async def test_evictions_at_once_cannot_overdraw_a_budget(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "podium.db")
    async with objects_api(store) as api:
        pods = await _running(api, 20)
        await api.create(budget(minAvailable=15))
        early = await _evict(api, "p0")
        assert isinstance(early, TooManyRequests)
        assert "is new or has just been changed" in early.message
        await api.delete(PodDisruptionBudget, "budget")
        await _budgeted(api, 15)
        answers = await asyncio.gather(*(_evict(api, pod.metadata.name) for pod in pods + pods))
        refused = [answer for answer in answers if isinstance(answer, TooManyRequests)]
        going = [pod for pod in api.reader.list(Pod) if pod.metadata.HasField("deletion_timestamp")]
        assert len(going) == 5
        assert refused[0].details["budget"] == "default/budget"
        assert refused[0].details["retryAfterSeconds"] == "2"
        assert "the disruption budget budget needs 15 healthy pods and has 15 currently" in refused[-1].message
        assert all(
            c.reason == "EvictionByEvictionAPI"
            for p in going
            for c in p.status.conditions
            if c.type == "DisruptionTarget"
        )
        await api.delete(Pod, next(p.metadata.name for p in pods if p not in going))  # a plain delete asks no budget
    await store.close()


async def test_a_budgets_status_follows_its_pods_and_evictions_wait_for_their_successors() -> None:
    async with control_plane() as plane:
        await plane.writer.create(replica_set(replicas=4), by=ME)
        await plane.writer.create(budget(maxUnavailable=1), by=ME)

        def status() -> tuple[int, int, int, int]:
            found = plane.reader.get(PodDisruptionBudget, "default", "budget")
            assert found is not None
            s = found.status
            return s.expected_pods, s.current_healthy, s.desired_healthy, s.disruptions_allowed

        await until(lambda: status() == (4, 4, 3, 1))
        plane.kubelet.paused = True
        evictions = [Evict(namespace="default", name=pod.metadata.name) for pod in plane.pods()]
        outcomes = await plane.writer.write_many(evictions, by=ME)
        assert [isinstance(outcome, TooManyRequests) for outcome in outcomes].count(False) == 1
        await until(lambda: status() == (4, 3, 3, 0))
        found = plane.reader.get(PodDisruptionBudget, "default", "budget")
        assert found is not None
        assert len(found.status.disrupted_pods) == 1
        told = _described(found)
        assert "Max unavailable:   1" in told
        assert "Allowed disruptions: 0" in told
        columns = columns_of(kind_of(PodDisruptionBudget), wide=False, namespaces=False, labels=False)
        assert cells(found, columns, SystemClock().now())[1:4] == ["N/A", "1", "0"]
        plane.kubelet.paused = False
        await plane.kubelet.nudge()
        await until(lambda: status() == (4, 4, 3, 1))

        def grow(obj: ReplicaSet) -> None:
            obj.spec.replicas = 6

        await plane.writer.mutate(ReplicaSet, "default", plane.replica_sets()[0].metadata.name, grow, by=ME)
        await until(lambda: status() == (6, 6, 5, 1))
