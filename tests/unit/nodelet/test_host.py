"""The host: what is parsed of a machine, how its status comes about, and who shares a sample."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from nodelet.metrics import machine
from nodelet.metrics.cgroup import Limits, Reading
from nodelet.metrics.exporter import shown
from nodelet.metrics.host import IMAGES_SECONDS, LinuxHost, pid_of
from nodelet.metrics.machine import Filesystem, Machine
from nodelet.metrics.reader import HostReader
from nodelet.metrics.status import MAX_IMAGES, About, RuntimeState, allocatable, capacity, largest, node_status
from nodelet.metrics.usage import ContainerSample, NodeSample, Sample, Target
from nodelet.pods.evict import DEFAULT_THRESHOLDS, PodUse, Resource, Threshold
from nodelet.runtime.protocol import ImageRecord, PodIdentity, RuntimeDown, RuntimeInfo
from podium.objects.conditions import get_condition, is_true
from podium.v1.core_pb2 import NodeStatus
from tests.support.clock import VirtualClock

GIB = 1 << 30
BOOT = "a656c951-6524-4d3c-a949-c59d2ca757f8"
MACHINE = Machine(
    boot_id=BOOT,
    hostname="node1",
    kernel="6.1.0",
    os_image="Debian GNU/Linux 12 (bookworm)",
    architecture="amd64",
    cores=2,
    memory=4 * GIB,
    pids=32768,
)
DISK = Filesystem(total=100 * GIB, available=60 * GIB, inodes=1000, inodes_available=900)
ABOUT = About(name="node1", ip="10.0.0.1", machine_id="m1", reserved={"cpu": "100m", "memory": "128Mi"})
WEB = PodIdentity(namespace="default", name="web", uid="u1")


def node_sample(memory_available: int = 3 * GIB) -> NodeSample:
    return NodeSample(cpu_ns=0, memory=GIB, memory_available=memory_available, tasks=100)


def container(id_: str, cpu_ns: int = 0) -> ContainerSample:
    target = Target(pod=WEB, name=id_, id=id_, sandbox_id="s", sandbox_pid="7")
    return ContainerSample(target=target, reading=Reading(cpu_ns=cpu_ns, memory=10, oom_kills=1, pids=2))


class FakeReader(HostReader):
    """A host without a kernel; `samples` counts how often it was read."""

    def __init__(self) -> None:
        self.machine = MACHINE
        self.node, self.containers = node_sample(), [container("a"), container("b")]
        self.samples = 0
        self.fault: Exception | None = None

    def read(self, at: float, targets: object, phases: Mapping[str, int]) -> Sample:
        self.samples += 1
        if self.fault is not None:
            raise self.fault
        containers = {c.target.id: c for c in self.containers}
        return Sample(at=at, node=self.node, disk=DISK, containers=containers, phases=phases)

    def filesystem(self) -> Filesystem:
        return DISK

    def disk_use(self, targets: object) -> dict[str, int]:
        return {"a": 5, "b": 6}


class FakeRuntime:
    """Answers, or doesn't."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.images_listed = 0

    async def info(self) -> RuntimeInfo:
        if self.fault is not None:
            raise self.fault
        return RuntimeInfo(version="docker://20.10.24", cgroup_version=1, root_dir="/var/lib/docker")

    async def list_images(self) -> list[ImageRecord]:
        self.images_listed += 1
        return [ImageRecord(id="i1", names=["busybox:latest"], size_bytes=7)]


class World:
    """A host over fakes."""

    def __init__(self) -> None:
        self.reader, self.runtime, self.clock = FakeReader(), FakeRuntime(), VirtualClock()
        self.host = LinuxHost(about=ABOUT, reader=self.reader, runtime=self.runtime, clock=self.clock)


# ---------------------------------------------------------------- the machine, parsed


def test_proc_files_are_read() -> None:
    assert machine.parse_meminfo("MemTotal:       24684092 kB\nHugePages_Total:       0\n") == {
        "MemTotal": 24684092 * 1024,
        "HugePages_Total": 0,
    }
    assert machine.parse_cpu_ns("cpu  100 20 30 4000 50 6 7 800 9 0\ncpu0 …", 100) == 163 * 10_000_000
    assert machine.parse_tasks("0.20 0.18 0.12 1/80 11206\n") == 80
    assert machine.parse_start_ticks("1 (a) b (c) S 0 0 0 0 -1 4194560 5 6 0 2 3 1 2 7 20 0 13 0 4242 538 5") == 4242


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('NAME=x\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n', "Debian GNU/Linux 12 (bookworm)"),
        ("PRETTY_NAME=Alpine\n", "Alpine"),
        ("NAME=x\n", "Linux"),
    ],
)
def test_the_operating_system_has_a_name(text: str, name: str) -> None:
    assert machine.parse_os_name(text) == name


def test_a_boot_is_the_kernels_or_that_of_the_container_around() -> None:
    assert machine.mixed_boot_id(BOOT, 1) == BOOT
    first, second = machine.mixed_boot_id(BOOT, 5000), machine.mixed_boot_id(BOOT, 9000)
    assert len({BOOT, first, second}) == 3
    assert machine.mixed_boot_id(BOOT, 5000) == first


def test_a_containers_writable_layer_is_found() -> None:
    mounts = "1 2 0:3 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/d/diff,workdir=/d/work\n"
    assert machine.parse_upper_dir(mounts) == "/d/diff"
    assert machine.parse_upper_dir("1 2 0:3 / /proc rw - proc proc rw\n1 2 8:1 / / rw - ext4 /dev/a rw\n") == ""


def test_this_machine_is_read_within_its_limits() -> None:
    whole = machine.read_machine(Limits())
    part = machine.read_machine(Limits(cpu=0.5, memory=64 << 20, pids=99))
    assert whole.cores >= 1
    assert (part.cores, part.memory, part.pids) == (0.5, 64 << 20, 99)
    assert machine.read_load().memory < whole.memory
    assert machine.read_filesystem(Path("/no/such/path")) == Filesystem()


@pytest.mark.parametrize(
    ("path", "pid"), [("/proc/42/ns/net", "42"), ("", ""), ("/run/netns/x", ""), ("/proc/x/ns/net", "")]
)
def test_a_sandbox_tells_its_process(path: str, pid: str) -> None:
    assert pid_of(path) == pid


# ---------------------------------------------------------------- status, planned


def test_capacity_is_all_and_allocatable_is_less_what_is_kept() -> None:
    whole = capacity(MACHINE, DISK, 110)
    assert whole == {"cpu": "2", "memory": "4Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    left = allocatable(whole, {"cpu": "100m", "memory": "128Mi", "pods": "10"}, DEFAULT_THRESHOLDS)
    assert left == {"cpu": "1900m", "memory": "3868Mi", "pods": "100", "ephemeral-storage": "90Gi"}


def test_reservations_beyond_the_host_leave_nothing() -> None:
    whole = capacity(MACHINE, Filesystem(), 5)
    left = allocatable(whole, {"cpu": "8", "memory": "8Gi"}, {Resource.MEMORY: Threshold(percent=200)})
    assert left == {"cpu": "0", "memory": "0", "pods": "5"}


def test_the_largest_images_are_told_in_one_order() -> None:
    images = [ImageRecord(id=f"i{n}", names=[f"image:{n}"], size_bytes=n // 2) for n in range(80)]
    nameless = ImageRecord(id="x", names=[], size_bytes=1 << 40)
    told = largest([*images, nameless])
    assert len(told) == MAX_IMAGES
    assert told[0].names == ["image:78"]
    assert told == largest([nameless, *reversed(images)])


def test_a_pressure_shows_as_a_condition() -> None:
    status = node_status(ABOUT, MACHINE, DISK, {"MemoryPressure"}, RuntimeState())
    assert [(c.type, c.status) for c in status.conditions] == [
        ("MemoryPressure", "True"),
        ("DiskPressure", "False"),
        ("PIDPressure", "False"),
        ("Ready", "True"),
    ]


# ---------------------------------------------------------------- the host


async def test_the_status_says_what_the_host_is() -> None:
    world = World()
    status = await world.host.status()
    assert is_true(status.conditions, "Ready")
    assert [(a.type, a.address) for a in status.addresses] == [("InternalIP", "10.0.0.1"), ("Hostname", "node1")]
    info = status.node_info
    assert (info.machine_id, info.boot_id, info.container_runtime_version) == ("m1", BOOT, "docker://20.10.24")
    assert status.images[0].names == ["busybox:latest"]
    await world.clock.advance(10)
    assert await world.host.status() == status


async def test_a_runtime_that_is_down_makes_the_node_unready_and_nothing_else() -> None:
    world = World()
    before = await world.host.status()
    world.runtime.fault = RuntimeDown("connection refused")
    after = await world.host.status()
    ready = get_condition(after.conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "NodeletNotReady")
    assert "connection refused" in ready.message
    assert (after.node_info, after.images) == (before.node_info, before.images)
    world.runtime.fault = None
    assert await world.host.status() == before


async def test_images_are_listed_now_and_then() -> None:
    world = World()
    for _ in range(3):
        await world.host.status()
    assert world.runtime.images_listed == 1
    await world.clock.advance(IMAGES_SECONDS)
    await world.host.status()
    assert world.runtime.images_listed == 2


async def test_whoever_asks_within_a_second_shares_a_sample() -> None:
    world = World()
    await asyncio.gather(world.host.signals(), world.host.uses(), world.host.status(), world.host.usage())
    assert world.reader.samples == 1
    await world.clock.advance(1)
    await world.host.usage()
    assert world.reader.samples == 2


async def test_usage_needs_two_readings() -> None:
    world = World()
    assert await world.host.usage() is None
    assert await world.host.usage() is None, "the same sample tells nothing new"
    await world.clock.advance(5)
    world.reader.containers = [container("a", cpu_ns=10**9)]
    report = await world.host.usage()
    assert report is not None
    assert [(c.name, c.cpu_nanocores) for pod in report.pods for c in pod.containers] == [("a", 200_000_000)]


async def test_a_host_that_cannot_be_measured_keeps_its_last_word() -> None:
    world = World()
    world.reader.fault = OSError("no /proc")
    assert await world.host.usage() is None
    assert await world.host.signals() == {}
    assert await world.host.uses() == {}
    assert is_true((await world.host.status()).conditions, "Ready")


def _memory_pressure(status: NodeStatus) -> bool:
    return is_true(status.conditions, "MemoryPressure")


async def test_a_pressure_outlasts_its_shortage() -> None:
    world = World()
    assert not _memory_pressure(await world.host.status())
    world.reader.node = node_sample(memory_available=1 << 20)
    await world.clock.advance(5)
    await world.host.signals()
    world.reader.node = node_sample()
    await world.clock.advance(5)
    assert _memory_pressure(await world.host.status()), "seen by the evictor between two looks at the status"
    await world.clock.advance(60)
    assert not _memory_pressure(await world.host.status())


async def test_eviction_gets_figures_by_pod_and_disk_only_when_it_is_short() -> None:
    world = World()
    assert await world.host.uses() == {"u1": PodUse(memory=20, pids=4)}
    full = dataclasses.replace(ABOUT, thresholds={Resource.DISK: Threshold(percent=99)})
    host = LinuxHost(about=full, reader=world.reader, runtime=world.runtime, clock=world.clock)
    await host.signals()
    assert await host.uses() == {"u1": PodUse(memory=20, disk=11, pids=4)}


async def test_metrics_show_the_newest_sample() -> None:
    world = World()
    registry = CollectorRegistry()
    owner = {"namespace": "default", "pod": "web", "container": "a"}
    with shown(world.host, registry):
        assert registry.get_sample_value("podium_nodelet_container_memory_bytes", owner) is None
        await world.host.signals()
        assert registry.get_sample_value("podium_nodelet_container_memory_bytes", owner) == 10
        assert registry.get_sample_value("podium_nodelet_container_oom_kills_total", owner) == 1
        assert registry.get_sample_value("podium_nodelet_node_memory_available_bytes") == 3 * GIB
        assert registry.get_sample_value("podium_nodelet_node_pressure", {"condition": "DiskPressure"}) == 0
    assert not list(registry.collect())
