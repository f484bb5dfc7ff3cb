"""From samples of the host to what node and pods use, in the units of `podium top`. Pure.

A rate is the difference of two readings of a kernel's counter, divided by the time between them: the newest, and the
oldest within `WINDOW_SECONDS`. So a figure told every second is an average over a few, and no single moment makes an
autoscaler jump. A counter belongs to one container (its id) or one sandbox: a restarted container is another one, told
from its second reading on, and a counter that ran backwards counts from there. Memory and tasks are the newest
reading's. Figures over a gap too long to mean "now" aren't told.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nodelet.metrics.cgroup import Reading
from nodelet.metrics.machine import Filesystem
from nodelet.metrics.traffic import Traffic
from nodelet.runtime.protocol import PodIdentity
from podium.objects.meta import timestamp
from podium.v1.cluster_service_pb2 import ContainerUsage, DiskRates, NetworkRates, NodeUsage, PodUsage
from podium.v1.node_session_pb2 import UsageReport

WINDOW_SECONDS = 4.0
MIN_GAP_SECONDS, MAX_GAP_SECONDS = 0.1, 120.0


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
class PodTraffic:
    """What went over a pod's own network so far; the counter is its sandbox's."""

    pod: PodIdentity
    sandbox_id: str
    traffic: Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSample:
    """The host's figures: CPU time so far in ns, memory in bytes, tasks, traffic so far.

    All but `cpu_ns` are with the containers' apart.
    """

    cpu_ns: int
    memory: int
    memory_available: int
    tasks: int
    network: Traffic = field(default_factory=Traffic)
    disk: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Everything that was read at one moment (`at`, monotonic seconds).

    Containers by id, networks by pod uid, pods by phase.
    """

    at: float
    node: NodeSample
    disk: Filesystem = field(default_factory=Filesystem)
    containers: Mapping[str, ContainerSample] = field(default_factory=dict)
    networks: Mapping[str, PodTraffic] = field(default_factory=dict)
    phases: Mapping[str, int] = field(default_factory=dict)


def remember(history: Sequence[Sample], newest: Sample) -> tuple[Sample, ...]:
    """The samples to keep, oldest first: those of the window, and the last one before it."""
    kept = [*history, newest]
    while len(kept) > 2 and newest.at - kept[1].at >= WINDOW_SECONDS:
        del kept[0]
    return tuple(sample for sample in kept if newest.at - sample.at <= MAX_GAP_SECONDS)


@dataclass(frozen=True, slots=True)
class Span:
    """A counter over some time."""

    seconds: float
    amount: int

    @property
    def per_second(self) -> int:
        """The mean rate."""
        return round(self.amount / self.seconds)


def span(readings: Iterable[tuple[float, int | None]]) -> Span | None:
    """How far a counter came since the oldest reading from which it only grew.

    Args:
        readings: (when, value), newest first; None where it was not there: what is before that is another counter's.

    Returns:
        None when there are no two readings some time apart.
    """
    turns = iter(readings)
    end, last = next(turns, (0.0, None))
    if last is None:
        return None
    begin, first = end, last
    for at, value in turns:
        if value is None or value > first:
            break
        begin, first = at, value
    return Span(end - begin, last - first) if end - begin >= MIN_GAP_SECONDS else None


def report(history: Sequence[Sample], *, node: str, now: datetime.datetime) -> UsageReport | None:
    """What is used by the newest of these samples (oldest first); None while they tell no rate."""
    if not history:
        return None
    back = history[::-1]
    own = span((sample.at, sample.node.cpu_ns) for sample in back)
    if own is None:
        return None
    made = UsageReport(time=timestamp(now))
    pods = _pods(back)
    made.pods.extend(pods.values())
    made.node.CopyFrom(_node(back, own, node))
    made.node.time.CopyFrom(made.time)
    for pod in made.pods:
        pod.time.CopyFrom(made.time)
    return made


def _node(back: Sequence[Sample], own: Span, name: str) -> NodeUsage:
    newest = back[0]
    apart = [id_ for id_, container in newest.containers.items() if container.apart]
    spans = [own, *(found for id_ in apart if (found := _cpu(back, id_)) is not None)]
    return NodeUsage(
        name=name,
        cpu_nanocores=sum(found.per_second for found in spans),
        memory_bytes=newest.node.memory,
        tasks=newest.node.tasks,
        network=_network([(sample.at, sample.node.network) for sample in back]),
        disk=_disk([(sample.at, sample.node.disk) for sample in back]),
        filesystem_bytes=newest.disk.total,
        filesystem_used_bytes=newest.disk.total - newest.disk.available,
        window_milliseconds=round(own.seconds * 1000),
    )


def _pods(back: Sequence[Sample]) -> dict[str, PodUsage]:
    pods: dict[str, PodUsage] = {}
    for id_, sample in sorted(back[0].containers.items(), key=lambda item: item[1].target.name):
        used = _container(back, id_, sample)
        if used is not None:
            pod = sample.target.pod
            usage = pods.setdefault(pod.uid, PodUsage(namespace=pod.namespace, name=pod.name, uid=pod.uid))
            usage.containers.append(used)
    for uid, usage in pods.items():
        if uid in back[0].networks:
            usage.network.CopyFrom(_network(_pod_traffic(back, uid)))
    return pods


def _container(back: Sequence[Sample], id_: str, newest: ContainerSample) -> ContainerUsage | None:
    cpu = _cpu(back, id_)
    if cpu is None:
        return None
    traffic = [(sample.at, found.reading.disk if (found := sample.containers.get(id_)) else None) for sample in back]
    return ContainerUsage(
        name=newest.target.name,
        cpu_nanocores=cpu.per_second,
        memory_bytes=newest.reading.memory,
        tasks=newest.reading.pids,
        disk=_disk(traffic),
        window_milliseconds=round(cpu.seconds * 1000),
    )


def _cpu(back: Sequence[Sample], id_: str) -> Span | None:
    return span((sample.at, found.reading.cpu_ns if (found := sample.containers.get(id_)) else None) for sample in back)


_Traffics = Sequence[tuple[float, Traffic | None]]


def _pod_traffic(back: Sequence[Sample], uid: str) -> _Traffics:
    sandbox = back[0].networks[uid].sandbox_id
    found = ((sample.at, sample.networks.get(uid)) for sample in back)
    return [(at, pod.traffic if pod is not None and pod.sandbox_id == sandbox else None) for at, pod in found]


def _network(traffics: _Traffics) -> NetworkRates:
    received, sent = _rates(traffics)
    return NetworkRates(receive_bytes_per_second=received, transmit_bytes_per_second=sent)


def _disk(traffics: _Traffics) -> DiskRates:
    read, written = _rates(traffics)
    return DiskRates(read_bytes_per_second=read, write_bytes_per_second=written)


def _rates(traffics: _Traffics) -> tuple[int, int]:
    taken = span((at, traffic.taken if traffic is not None else None) for at, traffic in traffics)
    given = span((at, traffic.given if traffic is not None else None) for at, traffic in traffics)
    return taken.per_second if taken else 0, given.per_second if given else 0
