"""A busy container of the real engine, measured through its control group, wherever this machine keeps it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nodelet.metrics.host import LinuxHost, pid_of
from nodelet.metrics.status import About
from nodelet.metrics.usage import Target
from nodelet.runtime.docker import DockerRuntime
from nodelet.runtime.protocol import ContainerSpec, PodIdentity, SandboxSpec
from podium.aio.clock import SystemClock
from podium.v1.node_session_pb2 import UsageReport

pytestmark = pytest.mark.docker
POD = PodIdentity(namespace="default", name="busy", uid=uuid.uuid4().hex)
FILE_BYTES = 8 << 20
BUSY = f"dd if=/dev/zero of=/filled bs={FILE_BYTES} count=1; while :; do :; done"


class OnePod:
    """A PodSource."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def targets(self) -> list[Target]:
        return [self.target]

    def phases(self) -> dict[str, int]:
        return {"Running": 1}


@pytest.fixture
async def runtime() -> AsyncIterator[DockerRuntime]:
    made = DockerRuntime(owner=f"test-{uuid.uuid4().hex[:8]}")
    try:
        yield made
    finally:
        left = await made.listing()
        for container in left.containers:
            await made.remove_container(container.id)
        for sandbox in left.sandboxes:
            await made.remove_sandbox(sandbox.id)
        await made.close()


async def _busy(runtime: DockerRuntime) -> Target:
    sandbox = await runtime.create_sandbox(SandboxSpec(pod=POD, attempt=0, hostname="busy"))
    spec = ContainerSpec(
        pod=POD,
        name="app",
        attempt=0,
        image="busybox:latest",
        config_hash="x",
        command=["sh", "-c", BUSY],
        cpu_limit=0.5,
    )
    id_ = await runtime.create_container(spec, sandbox)
    await runtime.start_container(id_)
    return Target(pod=POD, name="app", id=id_, sandbox_id=sandbox.id, sandbox_pid=pid_of(sandbox.netns_path))


async def _used(host: LinuxHost) -> UsageReport:
    async with asyncio.timeout(30):
        while True:
            report = await host.usage()
            if report is not None and report.pods and report.pods[0].containers[0].cpu_nanocores > 50_000_000:
                return report
            await asyncio.sleep(1)


async def _written(host: LinuxHost, target: Target) -> None:
    async with asyncio.timeout(30):
        while True:
            if (await asyncio.to_thread(host.reader.disk_use, [target]))[target.id] >= FILE_BYTES:
                return
            await asyncio.sleep(0.2)


async def test_a_busy_container_is_measured(runtime: DockerRuntime) -> None:
    target = await _busy(runtime)
    root = Path((await runtime.info()).root_dir)
    about = About(name="n1", ip="", machine_id="m")
    host = await LinuxHost.open(about=about, disk=root, runtime=runtime, clock=SystemClock())
    host.follow(OnePod(target))

    report = await _used(host)
    (pod,), used = report.pods, report.pods[0].containers[0]
    assert (pod.uid, used.name) == (POD.uid, "app")
    assert pod.HasField("network"), "it has a network of its own"
    assert used.tasks >= 1
    assert used.window_milliseconds > 0
    assert report.node.tasks >= used.tasks
    assert 0 < report.node.filesystem_used_bytes < report.node.filesystem_bytes
    assert used.cpu_nanocores < 700_000_000, "it may take half a processor"
    assert 0 < used.memory_bytes < 64 << 20
    assert (await host.uses())[POD.uid].pids >= 1
    assert (await host.status()).capacity["memory"]


async def test_what_a_container_wrote_is_found_on_disk(runtime: DockerRuntime) -> None:
    target = await _busy(runtime)
    root = Path((await runtime.info()).root_dir)
    host = await LinuxHost.open(
        about=About(name="n1", ip="", machine_id="m"), disk=root, runtime=runtime, clock=SystemClock()
    )
    await _written(host, target)
    await runtime.remove_container(target.id)
    assert await asyncio.to_thread(host.reader.disk_use, [target]) == {target.id: 0}
