"""What a Pod's fields mean: phase, readiness, availability, resources, quality of service, ports.

Resources are integers: CPU in milli-cores, memory and all else in whole units, rounded up. A pod needs the greater
of what it needs to run (containers + sidecars) and the most it needs while it starts (each init container beside the
sidecars started before it), as KEP-753 has it.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from podium.objects import conditions, quantity
from podium.objects.meta import seconds_since
from podium.v1.core_pb2 import Container, EphemeralContainer, Pod, PodSpec, ResourceRequirements

CPU, MEMORY, EPHEMERAL_STORAGE = "cpu", "memory", "ephemeral-storage"
PENDING, RUNNING, SUCCEEDED, FAILED, UNKNOWN = "Pending", "Running", "Succeeded", "Failed", "Unknown"
SCHEDULED, INITIALIZED, CONTAINERS_READY, READY = "PodScheduled", "Initialized", "ContainersReady", "Ready"
SCHEDULING_GATED, GATED_MESSAGE = "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates"
DISRUPTION_TARGET = "DisruptionTarget"
"""Condition of a pod that is ended for the cluster's reasons, not its own (KEP-3329)."""
GUARANTEED, BURSTABLE, BEST_EFFORT = "Guaranteed", "Burstable", "BestEffort"

_ANY_ADDRESS = frozenset(("", "0.0.0.0"))  # noqa: S104 — a wildcard in a manifest, nothing is bound here


def is_terminal(pod: Pod) -> bool:
    """Whether the pod is over: Succeeded or Failed."""
    return pod.status.phase in (SUCCEEDED, FAILED)


def is_terminating(pod: Pod) -> bool:
    """Whether deletion was asked for."""
    return pod.metadata.HasField("deletion_timestamp")


def is_active(pod: Pod) -> bool:
    """Whether the pod counts as a replica: neither over nor being deleted."""
    return not is_terminal(pod) and not is_terminating(pod)


def is_bound(pod: Pod) -> bool:
    """Whether the pod has a node."""
    return bool(pod.spec.node_name)


def is_gated(pod: Pod) -> bool:
    """Whether scheduling gates keep the pod from being considered for a node."""
    return bool(pod.spec.scheduling_gates)


CRITICAL_PRIORITY = 2_000_000_000
"""From here on pods are critical (`system-cluster-critical`, `system-node-critical`)."""


def is_critical(pod: Pod) -> bool:
    """Whether the pod is among those that go last."""
    return pod.spec.priority >= CRITICAL_PRIORITY


def is_ready(pod: Pod) -> bool:
    """Whether condition Ready is True."""
    return conditions.is_true(pod.status.conditions, READY)


_ON_ITS_WAY = frozenset({"", "ContainerCreating", "PodInitializing"})


def is_failing(pod: Pod) -> bool:
    """Whether a container cannot start, or crashes again and again: what it waits for is no ordinary step."""
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    return any(s.state.HasField("waiting") and s.state.waiting.reason not in _ON_ITS_WAY for s in statuses)


def ready_since(pod: Pod) -> datetime.datetime | None:
    """When Ready became True, or None when it is not."""
    ready = conditions.get_condition(pod.status.conditions, READY)
    if ready is None or ready.status != conditions.TRUE:
        return None
    return datetime.datetime.fromtimestamp(ready.last_transition_time.seconds, datetime.UTC)


def is_available(pod: Pod, min_ready_seconds: int, now: datetime.datetime) -> bool:
    """Whether the pod has been ready for at least `min_ready_seconds`."""
    return available_in(pod, min_ready_seconds, now) == 0


def available_in(pod: Pod, min_ready_seconds: int, now: datetime.datetime) -> float | None:
    """Seconds until the pod is available if it stays ready: 0 when it is, None when it is not ready."""
    ready = conditions.get_condition(pod.status.conditions, READY)
    if ready is None or ready.status != conditions.TRUE:
        return None
    if min_ready_seconds <= 0:
        return 0
    return max(0.0, min_ready_seconds - seconds_since(ready.last_transition_time, now))


def is_sidecar(init_container: Container) -> bool:
    """Whether an init container keeps running beside the main ones."""
    return init_container.restart_policy == "Always"


# ---------------------------------------------------------------- resources

Amounts = dict[str, int]


def requests(spec: PodSpec) -> Amounts:
    """What the scheduler must find: milli-cores of `cpu`, whole units of all else."""
    return _total(spec, lambda r: r.requests)


def limits(spec: PodSpec) -> Amounts:
    """The pod's summed limits. A container without a limit adds nothing, so this does not bound such a pod."""
    return _total(spec, lambda r: r.limits)


def amounts(quantities: Mapping[str, str]) -> Amounts:
    """Quantities by resource name as integers: milli-cores of `cpu`, whole units of all else. Raises BadRequest."""
    return {name: amount(name, text) for name, text in quantities.items()}


def amount(resource: str, text: str) -> int:
    """One quantity as an integer: milli-cores of `cpu`, whole units of all else. Raises BadRequest."""
    return quantity.milli(text) if resource == CPU else quantity.value(text)


def _total(spec: PodSpec, pick: Callable[[ResourceRequirements], Mapping[str, str]]) -> Amounts:
    running: Amounts = {}
    for container in spec.containers:
        _add(running, amounts(pick(container.resources)))
    if not spec.init_containers:
        return running
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in spec.init_containers:
        own = amounts(pick(container.resources))
        if is_sidecar(container):
            _add(sidecars, own)
            _raise(starting, sidecars)
        else:
            _raise(starting, _sum(own, sidecars))
    _add(running, sidecars)
    _raise(running, starting)
    return running


def _add(total: Amounts, more: Amounts) -> None:
    for name, number in more.items():
        total[name] = total.get(name, 0) + number


def _sum(left: Amounts, right: Amounts) -> Amounts:
    total = dict(left)
    _add(total, right)
    return total


def _raise(total: Amounts, least: Amounts) -> None:
    for name, number in least.items():
        total[name] = max(total.get(name, 0), number)


def qos_class(spec: PodSpec) -> str:
    """`Guaranteed`, `Burstable` or `BestEffort`, from CPU and memory of every container, init containers included."""
    guaranteed, any_amount = True, False
    for container in all_containers(spec):
        for name in (CPU, MEMORY):
            limit = _positive(container.resources.limits.get(name, "0"))
            request = _positive(container.resources.requests.get(name, container.resources.limits.get(name, "0")))
            any_amount = any_amount or bool(limit or request)
            guaranteed = guaranteed and bool(limit) and limit == request
    if not any_amount:
        return BEST_EFFORT
    return GUARANTEED if guaranteed else BURSTABLE


def _positive(text: str) -> int:
    return max(0, quantity.milli(text))


# ---------------------------------------------------------------- containers and ports


def all_containers(spec: PodSpec) -> Iterator[Container]:
    """Init containers, then containers: those that the pod is made of, and that resources are counted for."""
    yield from spec.init_containers
    yield from spec.containers


def ephemeral_containers(spec: PodSpec) -> list[Container]:
    """The pod's ephemeral containers, as containers."""
    return [as_container(ephemeral) for ephemeral in spec.ephemeral_containers]


def as_container(ephemeral: EphemeralContainer) -> Container:
    """An ephemeral container as a container, which it differs from by its target only."""
    made = Container.FromString(ephemeral.SerializeToString())
    made.DiscardUnknownFields()
    return made


def every_container(spec: PodSpec) -> Iterator[Container]:
    """Init containers, containers, then ephemeral ones: whatever may run in the pod, or has."""
    yield from all_containers(spec)
    yield from ephemeral_containers(spec)


_DEFAULT_PREFIXES = ("docker.io/library/", "docker.io/")


def image_name(name: str) -> str:
    """An image's name as nodes report it: without the registry that is meant anyway, with the tag that is."""
    for prefix in _DEFAULT_PREFIXES:
        name = name.removeprefix(prefix)
    last = name.rpartition("/")[2]
    return name if ":" in last or "@" in last else f"{name}:latest"


class HostPort(NamedTuple):
    """A port taken on the node's own address; an empty `ip` is every address."""

    protocol: str
    port: int
    ip: str = ""

    def conflicts(self, other: HostPort) -> bool:
        """Whether both cannot be on one node."""
        if self.protocol != other.protocol or self.port != other.port:
            return False
        return self.ip == other.ip or self.ip in _ANY_ADDRESS or other.ip in _ANY_ADDRESS


def host_ports(spec: PodSpec) -> list[HostPort]:
    """The node's ports that the pod's containers and sidecars take."""
    lasting: Iterable[Container] = (*spec.containers, *filter(is_sidecar, spec.init_containers))
    return [
        HostPort(port.protocol or "TCP", port.host_port or port.container_port, _wildcard(port.host_ip))
        for container in lasting
        for port in container.ports
        if port.host_port or (spec.host_network and port.container_port)
    ]


def _wildcard(ip: str) -> str:
    return "" if ip in _ANY_ADDRESS else ip
