"""Pods of one shape are one question: what a pod takes from a node, and what it demands of it.

A `Footprint` is what a bound pod uses up (resources, host ports, its place in a group of replicas). A `Shape` adds what
each plugin needs to know about the pod, its *need*: an immutable, hashable value. Two pods with equal needs are
interchangeable, so the tuple of needs is the equivalence class by construction, and a plugin cannot look at anything
that is not part of it. Fifty thousand replicas are one shape, filtered and scored once a batch.

Reading a pod costs tens of microseconds, so shapes are found by the bytes of the pod's spec, and footprints by those
bytes without `nodeName`. Both caches are bounded and forget their oldest entry.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakValueDictionary

from podium.objects import pod as pods
from podium.objects.owners import controller_of
from podium.objects.pod import CPU, MEMORY, HostPort
from podium.v1.core_pb2 import Pod, PodSpec

PODS = "pods"
NEVER = "Never"

# What a container that asks for nothing is taken to use when loads are compared (kube-scheduler's own figures).
DEFAULT_MILLI_CPU = 100
DEFAULT_MEMORY = 200 * 1024 * 1024

_REMEMBERED = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a pod takes from its node.

    Attributes:
        requests: Positive amounts by resource, in order of name: milli-cores of `cpu`, whole units of all else; always
            one of `pods`.
        load: Milli-cores and bytes that count when nodes are compared; never zero.
        ports: Ports of the node's own addresses.
        group: The uid of the pod's controller; empty for a pod of its own.
        priority: Pods of a lower one may be evicted for it.
    """

    requests: tuple[tuple[str, int], ...]
    load: tuple[int, int]
    ports: tuple[HostPort, ...] = ()
    group: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Shape:
    """An equivalence class of pods. Compared by identity: `Shapes` makes one for each distinct content.

    Attributes:
        footprint: What each of its pods takes.
        needs: One a plugin, in the profile's order; None where the plugin has nothing to say about these pods.
        preempts: Whether its pods may evict others.
    """

    footprint: Footprint
    needs: tuple[Hashable | None, ...]
    preempts: bool

    @property
    def priority(self) -> int:
        """The priority of its pods."""
        return self.footprint.priority


Sign = Callable[[Pod, Footprint], tuple[Hashable | None, ...]]


class Shapes:
    """Finds the shape and the footprint of pods. `sign` asks every plugin for its need."""

    def __init__(self, sign: Sign) -> None:
        self._sign = sign
        self._shapes: dict[tuple[bytes, str], Shape] = {}
        self._footprints: dict[tuple[bytes, str], Footprint] = {}
        self._interned: WeakValueDictionary[Hashable, Shape] = WeakValueDictionary()
        self._scratch = PodSpec()

    def shape(self, pod: Pod) -> Shape:
        """The shape of a pod."""
        key = (pod.spec.SerializeToString(deterministic=True), group_of(pod))
        found = self._shapes.get(key)
        return found if found is not None else _remember(self._shapes, key, self._intern(pod))

    def footprint(self, pod: Pod) -> Footprint:
        """What a pod takes from its node, wherever that is."""
        key = (self._placeless(pod.spec), group_of(pod))
        found = self._footprints.get(key)
        return found if found is not None else _remember(self._footprints, key, measure(pod))

    def _placeless(self, spec: PodSpec) -> bytes:
        if not spec.node_name:
            return spec.SerializeToString(deterministic=True)
        self._scratch.CopyFrom(spec)
        self._scratch.ClearField("node_name")
        return self._scratch.SerializeToString(deterministic=True)

    def _intern(self, pod: Pod) -> Shape:
        footprint = self.footprint(pod)
        needs, preempts = self._sign(pod, footprint), pod.spec.preemption_policy != NEVER
        identity = (needs, footprint, preempts)
        found = self._interned.get(identity)
        if found is None:
            found = self._interned[identity] = Shape(footprint=footprint, needs=needs, preempts=preempts)
        return found


V = TypeVar("V")


def _remember(cache: dict[tuple[bytes, str], V], key: tuple[bytes, str], value: V) -> V:
    if len(cache) >= _REMEMBERED:
        del cache[next(iter(cache))]
    cache[key] = value
    return value


def group_of(pod: Pod) -> str:
    """The uid of the pod's controller, or nothing."""
    owner = controller_of(pod)
    return owner.uid if owner is not None else ""


def measure(pod: Pod) -> Footprint:
    """Read a pod's footprint from its spec."""
    requests = {name: amount for name, amount in pods.requests(pod.spec).items() if amount > 0}
    load = (requests.get(CPU, DEFAULT_MILLI_CPU), requests.get(MEMORY, DEFAULT_MEMORY))
    requests[PODS] = 1
    return Footprint(
        requests=tuple(sorted(requests.items())),
        load=load,
        ports=tuple(sorted(set(pods.host_ports(pod.spec)))),
        group=group_of(pod),
        priority=pod.spec.priority,
    )
