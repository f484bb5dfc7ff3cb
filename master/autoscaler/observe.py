"""Gathers what an autoscaler decides by: its target's pods, what they use, what Prometheus says. Decides nothing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

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
from podium.v1.cluster_service_pb2 import ContainerUsage, PodUsage
from podium.v1.core_pb2 import Container, Pod

MEASURED = ("Resource", "ContainerResource")
"""Types of metrics that nodelets tell."""
_NANO_PER_MILLI = 1_000_000


class Usages(Protocol):
    """What pods use (`master.dispatcher`)."""

    def pod(self, node: str, uid: str) -> PodUsage | None:
        """What a pod used within the last seconds; None when its node did not say."""
        ...

    def watch(self, who: Key, nodes: Collection[str]) -> None:
        """Have these nodes report every second or so for the sake of `who`, and no others; none: no more."""
        ...


class Observer:
    """See the module."""

    def __init__(self, *, reader: Reader, usages: Usages, queries: Queries, clock: Clock) -> None:
        self._reader, self._usages, self._queries, self._clock = reader, usages, queries, clock

    async def observe(self, hpa: HorizontalPodAutoscaler, target: Any) -> Observation:
        """Everything about the target now; takes as long as the slowest query."""
        namespace, metrics = hpa.metadata.namespace, hpa.spec.metrics
        pods = self._pods(target)
        measures = any(metric.type in MEASURED for metric in metrics)
        used = self._used(key_of(hpa), pods if measures else ())
        readings = await asyncio.gather(*(self._read(metric, namespace, pods, used) for metric in metrics))
        return Observation(
            spec=hpa.spec,
            wanted=target.spec.replicas,
            there=target.status.replicas,
            pods=tuple(_facts(pod) for pod in pods),
            readings=tuple(readings),
            now=self._clock.now().timestamp(),
        )

    def _pods(self, target: Any) -> list[Pod]:
        """The target's own, or those of its ReplicaSets."""
        owners = [target, *self._reader.owned_by(ReplicaSet, target.metadata.uid)]
        return [pod for owner in owners for pod in self._reader.owned_by(Pod, owner.metadata.uid)]

    def _used(self, key: Key, pods: Sequence[Pod]) -> dict[str, PodUsage]:
        self._usages.watch(key, {pod.spec.node_name for pod in pods if pod.spec.node_name})
        found = ((pod.metadata.name, self._usages.pod(pod.spec.node_name, pod.metadata.uid)) for pod in pods)
        return {name: usage for name, usage in found if usage is not None}

    async def _read(
        self, metric: MetricSpec, namespace: str, pods: Sequence[Pod], used: Mapping[str, PodUsage]
    ) -> Reading:
        if metric.type in MEASURED:
            return measured(metric, pods, used)
        try:
            samples = await self._queries.query(query_of(metric, namespace))
            return _of_pods(samples, pods) if metric.type == "Pods" else OfOne(_thousandths(only(samples)))
        except (PodiumError, _NoNumber) as error:
            return Unread(FAILED[metric.type], f"{metric_name(metric)}: {error}")


# ---------------------------------------------------------------- what nodelets measure


def measured(metric: MetricSpec, pods: Sequence[Pod], used: Mapping[str, PodUsage]) -> Reading:
    """The reading of a Resource or ContainerResource metric."""
    only_container = metric.container_resource.container
    resource = metric.resource.name or metric.container_resource.name
    figures = {
        name: figure for name, usage in used.items() if (figure := _figure(usage, resource, only_container)) is not None
    }
    requests: dict[str, int] = {}
    if target_of(metric).type == "Utilization":
        for pod in filter(is_active, pods):
            requested = _requested(pod, resource, only_container)
            if isinstance(requested, str):
                return Unread(FAILED[metric.type], f"{metric_name(metric)}: {requested}")
            requests[pod.metadata.name] = requested
    return OfPods(figures=figures, requests=requests)


def _figure(usage: PodUsage, resource: str, only_container: str) -> Figure | None:
    parts = [part for part in usage.containers if only_container in ("", part.name)]
    if not parts:
        return None
    amount: Callable[[ContainerUsage], int] = _cpu if resource == "cpu" else _memory
    window = max(part.window_milliseconds for part in parts) / 1000
    return Figure(sum(amount(part) for part in parts), usage.time.ToMicroseconds() / 1e6, window)


def _cpu(used: ContainerUsage) -> int:
    return -(-used.cpu_nanocores // _NANO_PER_MILLI)


def _memory(used: ContainerUsage) -> int:
    return used.memory_bytes * 1000


def _requested(pod: Pod, resource: str, only_container: str) -> int | str:
    """What the pod requests in thousandths, or why that cannot be said."""
    total, found = 0, False
    for container in _lasting(pod):
        if only_container not in ("", container.name):
            continue
        found = True
        request = container.resources.requests.get(resource)
        if not request:
            return f"container {container.name} of pod {pod.metadata.name} requests no {resource}"
        total += quantity.milli(request)
    return total if found else f"pod {pod.metadata.name} has no container {only_container}"


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
        ready_changed=0 if ready is None else ready.last_transition_time.ToMicroseconds() / 1e6,
        started=pod.status.start_time.ToMicroseconds() / 1e6 if pod.status.HasField("start_time") else None,
    )


# ---------------------------------------------------------------- what Prometheus says


class _NoNumber(Exception):
    """A sample that nothing can be concluded from."""


def _of_pods(samples: Sequence[Sample], pods: Sequence[Pod]) -> OfPods:
    names = {pod.metadata.name for pod in pods}
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
