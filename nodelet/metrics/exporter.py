"""`/metrics` of the host and its containers: the newest sample, said in Prometheus' words when it is asked for.

Nothing is measured here, and no label outlives its container: a series is there while the sample has the container.
Counters are the kernel's own, so a rate over them is exact however rarely somebody scrapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from nodelet.metrics.usage import Sample

PREFIX = "podium_nodelet"
PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")
_POD = ("namespace", "pod")
_OWNER = (*_POD, "container")


class Measured(Protocol):
    """What is shown: both can be read from any thread."""

    @property
    def newest(self) -> Sample | None:
        """The last sample."""
        ...

    @property
    def conditions(self) -> frozenset[str]:
        """Pressures that are up."""
        ...


class HostCollector(Collector):
    """Shows one host; see `shown`."""

    def __init__(self, host: Measured) -> None:
        self._host = host

    def collect(self) -> Iterator[Metric]:
        """The metrics, by now."""
        yield _pressures(self._host.conditions)
        sample = self._host.newest
        if sample is not None:
            yield from _node(sample)
            yield from _containers(sample)
            yield from _networks(sample)

    def describe(self) -> list[Metric]:
        """Names are known without a sample; Prometheus' registry need not collect to learn them."""
        return []


@contextmanager
def shown(host: Measured, registry: CollectorRegistry = REGISTRY) -> Iterator[None]:
    """Show a host in a registry for as long as the context lasts."""
    collector = HostCollector(host)
    registry.register(collector)
    try:
        yield
    finally:
        registry.unregister(collector)


def _pressures(up: frozenset[str]) -> Metric:
    metric = GaugeMetricFamily(f"{PREFIX}_node_pressure", "Whether a node condition is up.", labels=["condition"])
    for name in PRESSURES:
        metric.add_metric([name], name in up)
    return metric


def _node(sample: Sample) -> Iterator[Metric]:
    node, disk = sample.node, sample.disk
    yield CounterMetricFamily(
        f"{PREFIX}_node_cpu_seconds", "CPU time that this host has taken.", value=node.cpu_ns / 1e9
    )
    for name, meaning, amount in (
        ("node_network_receive_bytes", "Bytes received through this host's own devices.", node.network.taken),
        ("node_network_transmit_bytes", "Bytes sent through this host's own devices.", node.network.given),
        ("node_disk_read_bytes", "Bytes read from this host's disks.", node.disk.taken),
        ("node_disk_written_bytes", "Bytes written to this host's disks.", node.disk.given),
    ):
        yield CounterMetricFamily(f"{PREFIX}_{name}", meaning, value=amount)
    gauges = (
        ("node_memory_bytes", "Memory in use on this host.", node.memory),
        ("node_memory_available_bytes", "Memory that pods could still take.", node.memory_available),
        ("node_tasks", "Processes and threads on this host.", node.tasks),
        ("node_disk_bytes", "Size of the file system that images are on.", disk.total),
        ("node_disk_available_bytes", "What is left on it.", disk.available),
        ("node_disk_inodes_available", "Inodes that are left on it.", disk.inodes_available),
    )
    for name, meaning, value in gauges:
        yield GaugeMetricFamily(f"{PREFIX}_{name}", meaning, value=value)
    phases = GaugeMetricFamily(f"{PREFIX}_pod_phases", "Pods on this node by phase.", labels=["phase"])
    for phase, count in sorted(sample.phases.items()):
        phases.add_metric([phase], count)
    yield phases


def _containers(sample: Sample) -> Iterator[Metric]:
    cpu = CounterMetricFamily(f"{PREFIX}_container_cpu_seconds", "CPU time that a container has taken.", labels=_OWNER)
    memory = GaugeMetricFamily(f"{PREFIX}_container_memory_bytes", "Working set of a container.", labels=_OWNER)
    kills = CounterMetricFamily(
        f"{PREFIX}_container_oom_kills", "Processes of a container killed for want of memory.", labels=_OWNER
    )
    processes = GaugeMetricFamily(f"{PREFIX}_container_tasks", "Processes and threads of a container.", labels=_OWNER)
    read = CounterMetricFamily(f"{PREFIX}_container_disk_read_bytes", "Bytes read from disks.", labels=_OWNER)
    written = CounterMetricFamily(f"{PREFIX}_container_disk_written_bytes", "Bytes written to disks.", labels=_OWNER)
    for container in sample.containers.values():
        target, reading = container.target, container.reading
        owner = (target.pod.namespace, target.pod.name, target.name)
        cpu.add_metric(owner, reading.cpu_ns / 1e9)
        memory.add_metric(owner, reading.memory)
        kills.add_metric(owner, reading.oom_kills)
        processes.add_metric(owner, reading.pids)
        read.add_metric(owner, reading.disk.taken)
        written.add_metric(owner, reading.disk.given)
    yield from (cpu, memory, kills, processes, read, written)


def _networks(sample: Sample) -> Iterator[Metric]:
    received = CounterMetricFamily(f"{PREFIX}_pod_network_receive_bytes", "Bytes that a pod received.", labels=_POD)
    sent = CounterMetricFamily(f"{PREFIX}_pod_network_transmit_bytes", "Bytes that a pod sent.", labels=_POD)
    for found in sample.networks.values():
        owner = (found.pod.namespace, found.pod.name)
        received.add_metric(owner, found.traffic.taken)
        sent.add_metric(owner, found.traffic.given)
    yield from (received, sent)
