"""Gathers what an autoscaler decides by: its target's pods, what they use, what Prometheus says. Decides nothing.

Pods seldom change and are looked at every second, so what is read of one is kept until its revision is another; the
pods themselves are not.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from master.access.protocol import Reader
from master.autoscaler.facts import Figure, Observation, OfOne, OfPods, PodFacts, Reading, Unread
from master.autoscaler.promql import POD_LABEL, query_of
from master.autoscaler.proposals import FAILED, metric_name, target_of
from master.signals.prometheus import Queries
from master.signals.samples import Sample, only
from podium.aio.clock import Clock
from podium.errors import PodiumError
from podium.objects import quantity
from podium.objects.conditions import TRUE, get_condition
from podium.objects.kinds import Key, key_of
from podium.objects.pod import READY, is_active
from podium.v1.apps_pb2 import ReplicaSet
from podium.v1.autoscaling_pb2 import HorizontalPodAutoscaler, MetricSpec
from podium.v1.cluster_service_pb2 import PodUsage
from podium.v1.core_pb2 import Container, Pod

MEASURED = ("Resource", "ContainerResource")
"""Types of metrics that nodelets tell."""
_NANO_PER_MILLI = 1_000_000


class Usages(Protocol):
    """What pods use (`master.dispatcher`)."""

    def of_node(self, node: str) -> Mapping[str, PodUsage]:
        """What the pods of a node used within the last seconds, by uid; empty when it did not say."""
        ...

    def watch(self, who: Key, nodes: Collection[str]) -> None:
        """Have these nodes report every second or so for the sake of `who`, and no others; none: no more."""
        ...


class Observer:
    """See the module."""

    def __init__(self, *, reader: Reader, usages: Usages, queries: Queries, clock: Clock) -> None:
        self._reader, self._usages, self._queries, self._clock = reader, usages, queries, clock
        self._known: dict[Key, dict[Key, KnownPod]] = {}

    def forget(self, key: Key) -> None:
        """An autoscaler is gone, or has nothing to look at."""
        self._known.pop(key, None)
        self._usages.watch(key, ())

    async def observe(self, hpa: HorizontalPodAutoscaler, target: Any) -> Observation:
        """Everything about the target now; takes as long as the slowest query."""
        key, namespace, metrics = key_of(hpa), hpa.metadata.namespace, hpa.spec.metrics
        pods = self._pods(key, target)
        measures = any(metric.type in MEASURED for metric in metrics)
        used = self._used(key, pods if measures else ())
        readings = await asyncio.gather(*(self._read(metric, namespace, pods, used) for metric in metrics))
        return Observation(
            spec=hpa.spec,
            wanted=target.spec.replicas,
            there=target.status.replicas,
            pods=tuple(pod.facts for pod in pods),
            readings=tuple(readings),
            now=self._clock.now().timestamp(),
        )

    def _pods(self, key: Key, target: Any) -> list[KnownPod]:
        """The target's own, or those of its ReplicaSets."""
        owners = [target, *self._reader.owned_by(ReplicaSet, target.metadata.uid)]
        before, now = self._known.get(key, {}), dict[Key, KnownPod]()
        for owner in owners:
            for name, revision in self._reader.versions_owned_by(Pod, owner.metadata.uid):
                known = before.get(name)
                if known is None or known.revision != revision:
                    pod = self._reader.get(Pod, name.namespace, name.name)
                    known = KnownPod.of(pod, revision) if pod is not None else None
                if known is not None:
                    now[name] = known
        self._known[key] = now
        return list(now.values())

    def _used(self, key: Key, pods: Sequence[KnownPod]) -> dict[str, PodUsage]:
        nodes = {pod.node for pod in pods if pod.node}
        self._usages.watch(key, nodes)
        by_node = {node: self._usages.of_node(node) for node in nodes}
        found = ((pod.facts.name, by_node[pod.node].get(pod.uid)) for pod in pods if pod.node)
        return {name: usage for name, usage in found if usage is not None}

    async def _read(
        self, metric: MetricSpec, namespace: str, pods: Sequence[KnownPod], used: Mapping[str, PodUsage]
    ) -> Reading:
        if metric.type in MEASURED:
            return measured(metric, pods, used)
        try:
            samples = await self._queries.query(query_of(metric, namespace))
            return _of_pods(samples, pods) if metric.type == "Pods" else OfOne(_thousandths(only(samples)))
        except (PodiumError, _NoNumber) as error:
            return Unread(FAILED[metric.type], f"{metric_name(metric)}: {error}")


# ---------------------------------------------------------------- pods


class Requests:
    """What the containers of a pod request, by resource, and of all pods that request the same.

    Args:
        containers: Each container's name, and its requests as pairs of a resource and a quantity.
    """

    __slots__ = ("_containers", "_found")

    def __init__(self, containers: Containers) -> None:
        self._containers = [(name, dict(requests)) for name, requests in containers]
        self._found: dict[tuple[str, str], int | str] = {}

    def of(self, resource: str, only_container: str) -> int | str:
        """The sum in thousandths, or why it cannot be said, with `%s` for the pod's name."""
        key = (resource, only_container)
        if key not in self._found:
            self._found[key] = self._sum(resource, only_container)
        return self._found[key]

    def _sum(self, resource: str, only_container: str) -> int | str:
        total, found = 0, False
        for name, requests in self._containers:
            if only_container not in ("", name):
                continue
            found = True
            if not requests.get(resource):
                return f"container {name} of pod %s requests no {resource}"
            total += quantity.milli(requests[resource])
        return total if found else f"pod %s has no container {only_container}"


Containers = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
_shared = lru_cache(maxsize=4096)(Requests)


@dataclass(frozen=True, slots=True)
class KnownPod:
    """What was read of a pod, at one revision."""

    revision: int
    uid: str
    node: str
    facts: PodFacts
    requests: Requests

    @classmethod
    def of(cls, pod: Pod, revision: int = 0) -> KnownPod:
        """Read a pod."""
        containers = tuple((c.name, tuple(sorted(c.resources.requests.items()))) for c in _lasting(pod))
        return cls(revision, pod.metadata.uid, sys.intern(pod.spec.node_name), _facts(pod), _shared(containers))

    def requested(self, resource: str, only_container: str) -> int | str:
        """What it requests in thousandths, or why that cannot be said; empty: all containers together."""
        found = self.requests.of(resource, only_container)
        return found % self.facts.name if isinstance(found, str) else found


# ---------------------------------------------------------------- what nodelets measure


def measured(metric: MetricSpec, pods: Sequence[KnownPod], used: Mapping[str, PodUsage]) -> Reading:
    """The reading of a Resource or ContainerResource metric."""
    only_container = metric.container_resource.container
    resource = metric.resource.name or metric.container_resource.name
    figures = {
        name: figure for name, usage in used.items() if (figure := _figure(usage, resource, only_container)) is not None
    }
    requests: dict[str, int] = {}
    if target_of(metric).type == "Utilization":
        for pod in pods:
            if pod.facts.over:
                continue
            requested = pod.requested(resource, only_container)
            if isinstance(requested, str):
                return Unread(FAILED[metric.type], f"{metric_name(metric)}: {requested}")
            requests[pod.facts.name] = requested
    return OfPods(figures=figures, requests=requests)


def _figure(usage: PodUsage, resource: str, only_container: str) -> Figure | None:
    total = window = 0
    found, cpu = False, resource == "cpu"
    for part in usage.containers:
        if not only_container or part.name == only_container:
            found = True
            total += part.cpu_nanocores if cpu else part.memory_bytes
            window = max(window, part.window_milliseconds)
    if not found:
        return None
    amount = -(-total // _NANO_PER_MILLI) if cpu else total * 1000
    return Figure(amount, _seconds(usage.time), window / 1000)


def _seconds(stamp: Timestamp) -> float:
    return stamp.seconds + stamp.nanos / 1e9


def _lasting(pod: Pod) -> Iterator[Container]:
    """The containers that run beside each other: sidecars are among the init containers."""
    yield from pod.spec.containers
    yield from (container for container in pod.spec.init_containers if container.restart_policy == "Always")


def _facts(pod: Pod) -> PodFacts:
    ready = get_condition(pod.status.conditions, READY)
    return PodFacts(
        name=pod.metadata.name,
        phase=pod.status.phase or "Pending",
        over=not is_active(pod),
        ready=None if ready is None else ready.status == TRUE,
        ready_changed=0 if ready is None else _seconds(ready.last_transition_time),
        started=_seconds(pod.status.start_time) if pod.status.HasField("start_time") else None,
    )


# ---------------------------------------------------------------- what Prometheus says


class _NoNumber(Exception):
    """A sample that nothing can be concluded from."""


def _of_pods(samples: Sequence[Sample], pods: Sequence[KnownPod]) -> OfPods:
    names = {pod.facts.name for pod in pods}
    figures = {
        name: Figure(_thousandths(sample.value), sample.time)
        for sample in samples
        if (name := sample.labels.get(POD_LABEL, "")) in names
    }
    return OfPods(figures=figures)


def _thousandths(value: float) -> int:
    if not math.isfinite(value):
        raise _NoNumber(f"the query gives {value}, which is no amount")
    return max(0, math.ceil(value * 1000))
