"""A node's status from what was measured: resources, conditions, addresses, images. Pure.

Conditions are functions of what is short and of the runtime's answer; how long a pressure stays up after the shortage
is `nodelet.pods.evict.Pressures`' business. Nothing here differs between two looks at an unchanged host, so that equal
means nothing to tell. Heartbeat and transition times are the master's to write.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import podium
from nodelet.metrics.machine import Filesystem, Machine
from nodelet.metrics.usage import Sample
from nodelet.pods.evict import DEFAULT_THRESHOLDS, Resource, Signal, Threshold
from nodelet.runtime.protocol import ImageRecord
from podium.objects import quantity
from podium.objects.pod import CPU, EPHEMERAL_STORAGE, MEMORY
from podium.v1.core_pb2 import ContainerImage, NodeAddress, NodeStatus, NodeSystemInfo
from podium.v1.meta_pb2 import Condition

MAX_IMAGES = 50
PODS = "pods"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What an operator set for this node, and who it is."""

    name: str
    ip: str
    machine_id: str
    max_pods: int = 110
    reserved: Mapping[str, str] = field(default_factory=dict)
    thresholds: Mapping[Resource, Threshold] = field(default_factory=lambda: DEFAULT_THRESHOLDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeState:
    """How the container runtime stands. `down` says why it doesn't answer, if it doesn't; the rest is the last word."""

    version: str = ""
    images: Sequence[ImageRecord] = ()
    down: str = ""


# ---------------------------------------------------------------- resources


def capacity(machine: Machine, disk: Filesystem, max_pods: int) -> dict[str, str]:
    """All there is."""
    found = {
        CPU: quantity.from_milli(int(machine.cores * 1000)),
        MEMORY: quantity.from_bytes(machine.memory),
        PODS: str(max_pods),
    }
    return found | ({EPHEMERAL_STORAGE: quantity.from_bytes(disk.total)} if disk.total else {})


def allocatable(
    whole: Mapping[str, str], reserved: Mapping[str, str], thresholds: Mapping[Resource, Threshold]
) -> dict[str, str]:
    """What pods may have: all there is, less what is reserved and what eviction keeps free. Never below zero."""
    kept = {
        MEMORY: _least(thresholds, Resource.MEMORY, whole.get(MEMORY, "0")),
        EPHEMERAL_STORAGE: _least(thresholds, Resource.DISK, whole.get(EPHEMERAL_STORAGE, "0")),
    }
    left = {}
    for name, text in whole.items():
        milli = quantity.milli(text) - quantity.milli(reserved.get(name, "0")) - kept.get(name, 0) * 1000
        plain = quantity.from_bytes if name in kept else str
        left[name] = quantity.from_milli(max(0, milli)) if name == CPU else plain(max(0, milli) // 1000)
    return left


def _least(thresholds: Mapping[Resource, Threshold], resource: Resource, total: str) -> int:
    return thresholds[resource].least(quantity.value(total)) if resource in thresholds else 0


def signals(machine: Machine, sample: Sample) -> dict[Resource, Signal]:
    """What is left of what a host can run short of."""
    disk = sample.disk
    return {
        Resource.MEMORY: Signal(available=sample.node.memory_available, total=machine.memory),
        Resource.DISK: Signal(available=disk.available, total=disk.total),
        Resource.INODES: Signal(available=disk.inodes_available, total=disk.inodes),
        Resource.PIDS: Signal(available=max(0, machine.pids - sample.node.tasks), total=machine.pids),
    }


# ---------------------------------------------------------------- conditions


def conditions(pressures: Collection[str], runtime: RuntimeState, lost: str = "") -> list[Condition]:
    """Ready, and the pressures, in Kubernetes' order. `lost` says why the nodelet's folder can't be written."""
    return [
        _pressure(pressures, "MemoryPressure", "InsufficientMemory", "SufficientMemory", "memory available"),
        _pressure(pressures, "DiskPressure", "DiskPressure", "NoDiskPressure", "disk space available"),
        _pressure(pressures, "PIDPressure", "InsufficientPID", "SufficientPID", "PIDs available"),
        _ready(runtime.down, lost),
    ]


def _pressure(pressures: Collection[str], type_: str, short: str, enough: str, what: str) -> Condition:
    if type_ in pressures:
        return Condition(type=type_, status="True", reason=f"NodeletHas{short}", message=f"the node is short of {what}")
    return Condition(type=type_, status="False", reason=f"NodeletHas{enough}", message=f"the node has enough {what}")


def _ready(down: str, lost: str) -> Condition:
    if lost:
        message = f"the nodelet's folder can't be written: {lost}"
        return Condition(type="Ready", status="False", reason="StateDiskLost", message=message)
    if down:
        message = f"the container runtime does not answer: {down}"
        return Condition(type="Ready", status="False", reason="NodeletNotReady", message=message)
    return Condition(type="Ready", status="True", reason="NodeletReady", message="the nodelet is ready for pods")


# ---------------------------------------------------------------- the whole


def largest(images: Iterable[ImageRecord]) -> list[ContainerImage]:
    """The images that a scheduler may care about: the largest that have a name, always in the same order."""
    named = sorted((image for image in images if image.names), key=lambda image: (-image.size_bytes, image.id))
    return [ContainerImage(names=image.names, size_bytes=image.size_bytes) for image in named[:MAX_IMAGES]]


def node_status(
    about: About,
    machine: Machine,
    disk: Filesystem,
    pressures: Collection[str],
    runtime: RuntimeState,
    lost: str = "",
) -> NodeStatus:
    """The status as the master is told it."""
    whole = capacity(machine, disk, about.max_pods)
    return NodeStatus(
        capacity=whole,
        allocatable=allocatable(whole, about.reserved, about.thresholds),
        conditions=conditions(pressures, runtime, lost),
        addresses=[
            *([NodeAddress(type="InternalIP", address=about.ip)] if about.ip else []),
            NodeAddress(type="Hostname", address=machine.hostname),
        ],
        node_info=NodeSystemInfo(
            machine_id=about.machine_id,
            boot_id=machine.boot_id,
            kernel_version=machine.kernel,
            os_image=machine.os_image,
            container_runtime_version=runtime.version,
            kubelet_version=podium.__version__,
            operating_system="linux",
            architecture=machine.architecture,
        ),
        images=largest(runtime.images),
    )
