"""Control groups: the kernel's texts, both versions, every driver, and nesting."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodelet.metrics import cgroup
from nodelet.metrics.cgroup import CPU, MEMORY, PIDS, Groups, Limits, Mount, Reading
from nodelet.metrics.reader import HostReader
from nodelet.metrics.traffic import MAX_PROCESSES, Traffic
from nodelet.metrics.usage import Target
from nodelet.runtime.protocol import PodIdentity
from tests.support.kernel import V1_GROUP, V1_MEMBERSHIP, V1_MOUNTS, V2_GROUP, V2_MOUNTS, Kernel

SANDBOX, CONTAINER = "5a" * 32, "c0" * 32

DISK_TRAFFIC = Traffic(taken=101, given=9)
UNLIMITED = "9223372036854771712\n"


def read(groups: Groups) -> Reading | None:
    return groups.read(groups.of_container(CONTAINER, SANDBOX, "77"))


def test_v1_is_read_of_the_container_beside_its_sandbox(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, V1_MOUNTS)
    kernel.process("77", V1_MEMBERSHIP.format(path=f"/docker/{SANDBOX}"))
    kernel.v1(f"/docker/{CONTAINER}", V1_GROUP)
    assert read(Groups(kernel.proc)) == Reading(cpu_ns=58090163, memory=266240, oom_kills=3, pids=2, disk=DISK_TRAFFIC)


def test_where_version_1_counts_no_disk_traffic_the_processes_are_asked(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, V1_MOUNTS)
    kernel.process("77", V1_MEMBERSHIP.format(path=f"/docker/{SANDBOX}"))
    uncounted = {"blkio.throttle.io_service_bytes": "Total 0\n"}
    kernel.v1(f"/docker/{CONTAINER}", V1_GROUP | uncounted)
    kernel.write(kernel.top / "blkio/docker" / CONTAINER / "cgroup.procs", "8\n9\n10\n")
    for pid, amount in (("8", 4096), ("9", 512)):
        io = f"rchar: 9\nwchar: 9\nread_bytes: {amount}\nwrite_bytes: {amount * 2}\ncancelled_write_bytes: 0\n"
        kernel.write(kernel.proc / pid / "io", io)
    found = read(Groups(kernel.proc))
    assert found is not None
    assert found.disk == Traffic(taken=4608, given=9216)
    many = "\n".join(str(pid) for pid in range(MAX_PROCESSES + 1))
    kernel.write(kernel.top / "blkio/docker" / CONTAINER / "cgroup.procs", many)
    crowded = read(Groups(kernel.proc))
    assert crowded is not None
    assert crowded.disk == Traffic()


@pytest.mark.parametrize("pattern", ["/docker/{}", "/system.slice/docker-{}.scope"])
def test_v2_is_read_by_either_driver(tmp_path: Path, pattern: str) -> None:
    kernel = Kernel(tmp_path, V2_MOUNTS)
    kernel.process("77", f"0::{pattern.format(SANDBOX)}\n")
    kernel.v2(pattern.format(CONTAINER), V2_GROUP)
    assert read(Groups(kernel.proc)) == Reading(cpu_ns=58090000, memory=266240, oom_kills=3, pids=2, disk=DISK_TRAFFIC)


def test_a_path_once_found_is_kept_without_its_sandbox(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, V2_MOUNTS)
    kernel.process("77", f"0::/docker/{SANDBOX}\n")
    kernel.v2(f"/docker/{CONTAINER}", V2_GROUP)
    groups = Groups(kernel.proc)
    assert read(groups) is not None
    (kernel.proc / "77/cgroup").unlink()
    assert read(groups) is not None
    groups.forget_except([])
    assert read(groups) is None


def test_what_has_ended_reads_as_nothing(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, V2_MOUNTS)
    kernel.process("77", f"0::/docker/{SANDBOX}\n")
    assert read(Groups(kernel.proc)) is None


def test_a_controller_of_version_1_counts_where_both_are_mounted() -> None:
    mounts = cgroup.parse_mounts(V1_MOUNTS.format(top="/sys/fs/cgroup"))
    assert {name: mount.v2 for name, mount in mounts.items()} == dict.fromkeys(
        ("cpuacct", "cpu", "memory", "pids", "blkio"), False
    )


def test_a_mount_shows_only_what_is_below_its_root() -> None:
    mount = Mount(root="/docker/abc", path=Path("/sys/fs/cgroup"), v2=True)
    assert cgroup.locate(mount, {"": "/docker/abc/nested"}, MEMORY) == Path("/sys/fs/cgroup/nested")
    assert cgroup.locate(mount, {"": "/docker/abcd"}, MEMORY) is None
    outside = Mount(root="/../..", path=Path("/sys/fs/cgroup"), v2=True)
    assert cgroup.locate(outside, {"": "/../../system.slice"}, MEMORY) == Path("/sys/fs/cgroup/system.slice")
    assert cgroup.locate(mount, {"cpu": "/docker/abc"}, MEMORY) is None


def test_a_sandbox_group_of_another_shape_has_no_siblings() -> None:
    assert cgroup.sibling(Path("/pods/42"), SANDBOX, CONTAINER) is None


@pytest.mark.parametrize(
    ("text", "limit"), [("max\n", None), (UNLIMITED, None), ("268435456\n", 268435456), ("0\n", 0), ("-1\n", None)]
)
def test_limits_are_read(text: str, limit: int | None) -> None:
    assert cgroup.parse_limit(text) == limit


@pytest.mark.parametrize(
    ("quota", "period", "cores"), [("max", "100000", None), ("-1", "100000", None), ("150000", "100000", 1.5)]
)
def test_quotas_are_cores(quota: str, period: str, cores: float | None) -> None:
    assert cgroup.parse_quota(quota, period) == cores


def test_the_working_set_is_never_negative() -> None:
    assert cgroup.working_set(4096, 8192) == 0


# ---------------------------------------------------------------- a host within a container


def test_the_tightest_limit_of_all_ancestors_counts_on_v1(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, V1_MOUNTS)
    kernel.process("1", V1_MEMBERSHIP.format(path="/outer/host/init.scope"))
    limited = {"cpu.cfs_quota_us": "150000\n", "cpu.cfs_period_us": "100000\n", "memory.limit_in_bytes": UNLIMITED}
    kernel.v1("/outer/host", limited | {"pids.max": "max\n"})
    kernel.v1("/outer", limited | {"cpu.cfs_quota_us": "-1\n", "memory.limit_in_bytes": "1073741824\n"})
    kernel.v1("/", {"memory.limit_in_bytes": UNLIMITED})
    groups = Groups(kernel.proc)
    own = groups.own()
    assert own[MEMORY].name == "host"
    assert groups.is_container(own)
    assert groups.limits(own) == Limits(cpu=1.5, memory=1 << 30, pids=None)


def test_the_tightest_limit_of_all_ancestors_counts_on_v2(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, V2_MOUNTS)
    kernel.process("1", "0::/\n")
    kernel.v2("/", {"cpu.max": "50000 100000\n", "memory.max": "1073741824\n", "pids.max": "512\n"})
    groups = Groups(kernel.proc)
    own = groups.own()
    assert groups.is_container(own), "a namespace hides the path; the files that a root never has tell"
    assert groups.limits(own) == Limits(cpu=0.5, memory=1 << 30, pids=512)


@pytest.mark.parametrize("path", ["/", "/init.scope"])
@pytest.mark.parametrize("mounts", [V1_MOUNTS, V2_MOUNTS])
def test_a_real_host_has_no_limits(tmp_path: Path, mounts: str, path: str) -> None:
    kernel = Kernel(tmp_path, mounts)
    kernel.process("1", V1_MEMBERSHIP.format(path=path))
    groups = Groups(kernel.proc)
    own = groups.own()
    assert set(own) >= {CPU, MEMORY, PIDS}
    assert not groups.is_container(own)
    assert groups.limits(own) == Limits()


# ---------------------------------------------------------------- the reader of it all

POD = PodIdentity(namespace="default", name="web", uid="u1")
TARGET = Target(pod=POD, name="app", id=CONTAINER, sandbox_id=SANDBOX, sandbox_pid="77")


def test_a_real_host_counts_the_whole_machine(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, V2_MOUNTS)
    kernel.machine()
    kernel.process("1", "0::/init.scope\n")
    kernel.process("77", f"0::/docker/{SANDBOX}\n")
    kernel.v2(f"/docker/{CONTAINER}", V2_GROUP)
    reader = HostReader(disk=tmp_path, proc=kernel.proc)
    sample = reader.read(1.0, [TARGET], {})
    assert (sample.node.memory, sample.node.memory_available, sample.node.tasks) == (1 << 30, 3 << 30, 80)
    assert sample.containers[CONTAINER].reading.memory == 266240
    assert not sample.containers[CONTAINER].apart
    assert reader.machine.memory == 4 << 30


def test_a_host_in_a_container_counts_itself_and_the_pods_beside_it(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, V1_MOUNTS)
    kernel.machine()
    kernel.process("1", V1_MEMBERSHIP.format(path="/docker/host"))
    kernel.process("77", V1_MEMBERSHIP.format(path=f"/docker/{SANDBOX}"))
    kernel.v1("/docker/host", V1_GROUP | {"memory.limit_in_bytes": f"{1 << 20}\n", "pids.max": "100\n"})
    kernel.v1(f"/docker/{CONTAINER}", V1_GROUP)
    reader = HostReader(disk=tmp_path, proc=kernel.proc)
    sample = reader.read(1.0, [TARGET], {})
    node = sample.node
    assert (node.memory, node.memory_available, node.tasks) == (2 * 266240, (1 << 20) - 2 * 266240, 4)
    assert sample.containers[CONTAINER].apart
    assert (reader.machine.memory, reader.machine.pids) == (1 << 20, 100)


def test_logs_count_as_disk(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, V2_MOUNTS)
    kernel.machine()
    kernel.process("1", "0::/\n")
    kernel.write(tmp_path / "containers" / CONTAINER / "c-json.log", "x" * 8192)
    assert HostReader(disk=tmp_path, proc=kernel.proc).disk_use([TARGET])[CONTAINER] >= 8192
