"""Replicas follow a load that is played on hollow nodes: the whole way from a report to more containers, and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from master.access.writes import Apply
from nodelet.runtime.hollow import Load
from podium.codec.json import object_from_dict
from podium.objects.conditions import get_condition
from podium.v1.apps_pb2 import Deployment
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler
from podium.v1.core_pb2 import Event
from tests.support.cluster import ADMIN, HollowCluster, hollow_cluster
from tests.support.waiting import until

QUICK_DOWN = {"scaleDown": {"stabilizationWindowSeconds": 1}}
EXTERNAL = {
    "type": "External",
    "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}},
}


@dataclass
class Service:
    """A load in cores that the pods of `web` share."""

    cluster: HollowCluster
    cores: float = 0

    def play(self) -> None:
        for member in self.cluster.members.values():
            member.runtime.load = lambda record: Load(cpu_cores=self.cores / max(1, self.running), memory_bytes=1 << 20)

    @property
    def running(self) -> int:
        return len(self.cluster.pods(phase="Running"))

    @property
    def deployment(self) -> Deployment:
        found = self.cluster.reader.get(Deployment, "default", "web")
        assert found is not None
        return found

    def hpa(self, name: str = "web") -> HorizontalPodAutoscaler:
        found = self.cluster.reader.get(HorizontalPodAutoscaler, "default", name)
        assert found is not None
        return found

    def condition(self, type_: str, name: str = "web") -> tuple[str, str, str]:
        found = get_condition(self.hpa(name).status.conditions, type_)
        return (found.status, found.reason, found.message) if found is not None else ("", "", "")

    async def autoscale(self, name: str = "web", target: str = "web", **spec: Any) -> None:
        whole = {"scaleTargetRef": {"kind": "Deployment", "name": target}, "maxReplicas": 8}
        await self._create("autoscaling/v2", "HorizontalPodAutoscaler", name, whole | spec)

    async def deploy(self, replicas: int, name: str = "web") -> None:
        await self._create("apps/v1", "Deployment", name, {"replicas": replicas, **workload(name)})

    async def apply(self, labels: Mapping[str, str]) -> None:
        """As `podium apply` does, of a manifest that does not say how many."""
        metadata = {"name": "web", "labels": dict(labels)}
        body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": workload("web")}
        write = Apply(manifest=json.dumps(body).encode(), field_manager="team")
        await self.cluster.master.ground.writer.write(write, by=ADMIN)

    async def _create(self, api_version: str, kind: str, name: str, spec: Any) -> None:
        metadata = {"name": name, "namespace": "default"}
        obj = object_from_dict({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
        await self.cluster.writer.create(obj, by=ADMIN)


def workload(name: str) -> dict[str, Any]:
    container = {"name": "main", "image": "web:1", "resources": {"requests": {"cpu": "1"}}}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    return {"selector": {"matchLabels": {"app": name}}, "template": template}


@asynccontextmanager
async def service(folder: Path, **changes: Any) -> AsyncIterator[Service]:
    async with hollow_cluster(folder, nodes=2, **changes) as cluster:
        made = Service(cluster)
        made.play()
        yield made


async def test_replicas_follow_the_load_out_and_in(tmp_path: Path) -> None:
    async with service(tmp_path) as world:
        await world.deploy(2)
        await until(lambda: world.running == 2)
        world.cores = 0.8
        await world.autoscale(minReplicas=1, behavior=QUICK_DOWN, metrics=[cpu(50)])
        await until(lambda: world.condition("ScalingActive")[:2] == ("True", "ValidMetricFound"), seconds=20)
        assert world.deployment.spec.replicas == 2, "0.8 cores over 2 pods is near half of each"
        world.cores = 3.0
        await until(lambda: world.running == 6, seconds=20)
        await until(lambda: world.hpa().status.current_replicas == 6)
        assert world.hpa().status.HasField("last_scale_time")
        because = "New size: 6; reason: cpu resource utilization (percentage of request) above target"
        await until(lambda: because in {event.message for event in world.cluster.reader.list(Event, "default")})
        world.cores = 0.4
        await until(lambda: world.deployment.spec.replicas == 1, seconds=20)
        await until(lambda: world.running == 1)


def cpu(percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


async def test_a_master_that_restarts_takes_nothing_away_at_once(tmp_path: Path) -> None:
    async with service(tmp_path) as world:
        await world.deploy(4)
        await until(lambda: world.running == 4)
        await world.autoscale(metrics=[cpu(50)])
        await until(lambda: world.condition("AbleToScale")[1] == "ScaleDownStabilized", seconds=20)
        await world.cluster.stop_master()
        await world.cluster.start_master()
        await until(lambda: len(world.cluster.ready_nodes()) == 2, seconds=20)
        world.cores = 0.5
        await until(lambda: " is 12% of" in world.condition("ScalingActive")[2], seconds=20)
        assert world.condition("AbleToScale")[1] == "ScaleDownStabilized"
        assert world.deployment.spec.replicas == 4


async def test_applying_a_manifest_without_replicas_leaves_them(tmp_path: Path) -> None:
    async with service(tmp_path) as world:
        await world.apply({})
        await world.autoscale(minReplicas=3)
        await until(lambda: world.deployment.spec.replicas == 3)
        await world.apply({"new": "label"})
        assert world.deployment.metadata.labels["new"] == "label"
        assert world.deployment.spec.replicas == 3


async def test_what_cannot_be_scaled_is_told(tmp_path: Path) -> None:
    async with service(tmp_path) as world:
        await world.autoscale(minReplicas=2)
        await until(lambda: world.condition("AbleToScale")[:2] == ("False", "FailedGetScale"))
        assert 'Deployment "web" not found' in world.condition("AbleToScale")[2]
        await world.deploy(1)
        await until(lambda: world.deployment.spec.replicas == 2, what="the target is there now")
        await world.autoscale("again", minReplicas=5)
        for name, other in (("web", "again"), ("again", "web")):
            told = f'Deployment "web" is also the target of {other}: delete all but one'
            expected = ("False", "AmbiguousSelector", told)
            await until(partial(_told, world, name, expected))
        assert world.deployment.spec.replicas == 2


def _told(world: Service, name: str, expected: tuple[str, str, str]) -> bool:
    return world.condition("ScalingActive", name) == expected


class Queue:
    """A Prometheus that knows one figure."""

    def __init__(self) -> None:
        self.length = 0
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        self.asked.append((await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))).decode())
        answer = {"resultType": "vector", "result": [{"metric": {}, "value": [0, str(self.length)]}]}
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps({"status": "success", "data": answer}).encode())
        writer.close()


async def test_to_zero_and_from_zero_on_a_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("master.app.QUERY_SECONDS", 0.5)
    queue = Queue()
    server = await asyncio.start_server(queue.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with service(tmp_path, prometheus_url=url) as world:
            await world.deploy(1)
            await world.autoscale(minReplicas=0, behavior=QUICK_DOWN, metrics=[EXTERNAL])
            await until(lambda: world.deployment.spec.replicas == 0, what="an empty queue needs nobody")
            assert "query=sum%28queue%7B%7D%29" in queue.asked[0]
            queue.length = 25
            await until(lambda: world.running == 3, what="25 over 10 each")
            queue.length = 0
            await until(lambda: world.running == 0)
    finally:
        server.close()
