"""From two samples of the host to what node and pods use, in the units of `podium top`. Pure.

A rate needs two readings of one container: what is new in the second sample is left out, and so is a counter that ran
backwards. Memory is the second sample's. A report over a gap too long to mean "now" isn't made.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

from nodelet.metrics.cgroup import Reading
from nodelet.metrics.machine import Filesystem
from nodelet.runtime.protocol import PodIdentity
from podium.objects.meta import timestamp
from podium.v1.cluster_service_pb2 import PodUsage
from podium.v1.node_session_pb2 import UsageReport

MIN_GAP_SECONDS, MAX_GAP_SECONDS = 0.1, 120.0
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running container, and the sandbox through which its control group is found."""

    pod: PodIdentity
    name: str
    id: str
    sandbox_id: str
    sandbox_pid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSample:
    """A container's figures. `apart`: they aren't within the host's own, so they come on top of them."""

    target: Target
    reading: Reading
    apart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSample:
    """The host's figures: CPU time so far in ns, memory in bytes, tasks; `memory` is with the containers' apart."""

    cpu_ns: int
    memory: int
    memory_available: int
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Everything that was read at one moment (`at`, monotonic seconds). Containers by id, pods by phase."""

    at: float
    node: NodeSample
    disk: Filesystem = field(default_factory=Filesystem)
    containers: Mapping[str, ContainerSample] = field(default_factory=dict)
    phases: Mapping[str, int] = field(default_factory=dict)


def rate(before_ns: int, after_ns: int, seconds: float) -> int | None:
    """Nanoseconds a second, which is nano-cores; None when the counter went back or hardly any time has passed."""
    if seconds < MIN_GAP_SECONDS or after_ns < before_ns:
        return None
    return round((after_ns - before_ns) / seconds)


def container_rates(before: Sample, after: Sample) -> dict[str, int]:
    """Nano-cores by container id, of those that are in both samples."""
    seconds = after.at - before.at
    rates = {}
    for id_, new in after.containers.items():
        old = before.containers.get(id_)
        found = rate(old.reading.cpu_ns, new.reading.cpu_ns, seconds) if old is not None else None
        if found is not None:
            rates[id_] = found
    return rates


def report(before: Sample, after: Sample, *, node: str, now: datetime.datetime) -> UsageReport | None:
    """What is used between two samples; None when they are too far apart, or tell nothing of the node."""
    seconds = after.at - before.at
    own = rate(before.node.cpu_ns, after.node.cpu_ns, seconds)
    if own is None or seconds > MAX_GAP_SECONDS:
        return None
    rates, time = container_rates(before, after), timestamp(now)
    beside = sum(cores for id_, cores in rates.items() if after.containers[id_].apart)
    made = UsageReport(time=time)
    made.node.name, made.node.cpu_nanocores, made.node.memory_bytes = node, own + beside, after.node.memory
    made.node.time.CopyFrom(time)
    pods: dict[str, PodUsage] = {}
    for id_, cores in sorted(rates.items(), key=lambda item: after.containers[item[0]].target.name):
        sample = after.containers[id_]
        pod = sample.target.pod
        usage = pods.setdefault(pod.uid, PodUsage(namespace=pod.namespace, name=pod.name, time=time))
        usage.containers.add(name=sample.target.name, cpu_nanocores=cores, memory_bytes=sample.reading.memory)
    made.pods.extend(pods.values())
    return made
