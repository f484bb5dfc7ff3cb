"""Bytes over the network and to disks: whose they are, and what is counted only once."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodelet.metrics.traffic import Networks, Traffic, read_disks, whole_disks
from tests.support.kernel import NET_DEV, V2_MOUNTS, Kernel

HOST, POD = "net:[4026531833]", "net:[4026532000]"


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """A host with a bridge and a pod's end plugged into it, and two processes: one on its network, one on a pod's."""
    kernel = Kernel(tmp_path, V2_MOUNTS)
    kernel.machine()
    sys = tmp_path / "sys"
    for name in ("class/net/lo", "class/net/eth0/device", "class/net/veth1/master", "class/net/podium0/bridge"):
        (sys / name).mkdir(parents=True)
    for name in ("block/vda/vda1", "block/loop0", "block/dm-0", "block/zram0"):
        (sys / name).mkdir(parents=True)
    for process, namespace in (("self", HOST), ("7", HOST), ("8", POD)):
        (kernel.proc / process / "ns").mkdir(parents=True)
        (kernel.proc / process / "ns/net").symlink_to(namespace)
        kernel.write(kernel.proc / process / "net/dev", NET_DEV)
    return kernel


def test_the_host_counts_what_went_through_its_own_devices(kernel: Kernel, tmp_path: Path) -> None:
    assert Networks(kernel.proc, tmp_path / "sys").host() == Traffic(taken=5000, given=700)


def test_a_pod_counts_all_but_loopback(kernel: Kernel, tmp_path: Path) -> None:
    assert Networks(kernel.proc, tmp_path / "sys").pod("s", "8") == Traffic(taken=5028, given=732)


@pytest.mark.parametrize("pid", ["7", "9"], ids=["on the host's network", "gone"])
def test_a_pod_without_a_network_of_its_own(kernel: Kernel, tmp_path: Path, pid: str) -> None:
    assert Networks(kernel.proc, tmp_path / "sys").pod("s", pid) is None


def test_disks_are_counted_whole_and_once(kernel: Kernel, tmp_path: Path) -> None:
    disks = whole_disks(tmp_path / "sys")
    assert disks == {"vda"}
    assert read_disks(disks, kernel.proc) == Traffic(taken=20 * 512, given=30 * 512)


def test_a_host_without_such_files(tmp_path: Path) -> None:
    assert whole_disks(tmp_path) == frozenset()
    assert read_disks([], tmp_path) == Traffic()
