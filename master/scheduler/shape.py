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
from dataclasses import dataclass, replace
from typing import TypeVar
from weakref import WeakValueDictionary

from master.scheduler.census import Census
from master.scheduler.crowd import Held, Kin, Labels, mentioned, ties_of
from podium.objects import pod as pods
from podium.objects.owners import controller_of
from podium.objects.pod import CPU, MEMORY, HostPort
from podium.objects.storage import ClaimKey, claims_of
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
        kin: What other pods' terms can see of it; None while there are no such terms.
        held: Its own terms that concern pods which come after it.
        volume_claims: Claims for storage that it uses.
    """

    requests: tuple[tuple[str, int], ...]
    load: tuple[int, int]
    ports: tuple[HostPort, ...] = ()
    group: str = ""
    priority: int = 0
    kin: Kin | None = None
    held: tuple[Held, ...] = ()
    volume_claims: tuple[ClaimKey, ...] = ()


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


_CacheKey = tuple[bytes, str, Kin | None]
Sign = Callable[[Pod, Footprint], tuple[Hashable | None, ...]]


class Shapes:
    """Finds the shape and the footprint of pods.

    Args:
        sign: Asks every plugin for its need.
        census: Is told which labels the pods' terms look at, and knows what such terms can see of a pod. `edition`
            grows when that becomes more than it was: what was read before must be read again then.
    """

    def __init__(self, sign: Sign, census: Census) -> None:
        self._sign, self._census = sign, census
        self._shapes: dict[_CacheKey, Shape] = {}
        self._footprints: dict[_CacheKey, Footprint] = {}
        self._interned: WeakValueDictionary[Hashable, Shape] = WeakValueDictionary()
        self._scratch = PodSpec()
        self._labels: dict[Labels, Labels] = {}
        self.edition = 0

    def labels(self, pod: Pod) -> Labels:
        """A pod's labels; pods with equal ones share them."""
        labels = pod.metadata.labels
        if not labels:
            return ()
        read = tuple(sorted([(key, labels[key]) for key in labels]))
        found = self._labels.get(read)
        if found is not None:
            return found
        if len(self._labels) >= _REMEMBERED:
            del self._labels[next(iter(self._labels))]
        self._labels[read] = read
        return read

    def kin(self, namespace: str, labels: Labels, leaving: bool = False) -> Kin | None:
        """What terms can see of a pod."""
        return self._census.kin(namespace, labels, leaving)

    def _kin(self, pod: Pod, leaving: bool) -> Kin | None:
        if self._census.keys is None:
            return None
        return self._census.kin(pod.metadata.namespace, self.labels(pod), leaving)

    def shape(self, pod: Pod) -> Shape:
        """The shape of a pod that waits."""
        spec, group, kin = pod.spec.SerializeToString(deterministic=True), _origin(pod), self._kin(pod, False)
        found = self._shapes.get((spec, group, kin))
        if found is not None:
            return found
        made = self._intern(pod)
        return _remember(self._shapes, (spec, group, made.footprint.kin), made)

    def footprint(self, pod: Pod, leaving: bool = False) -> Footprint:
        """What a pod takes from its node, wherever that is. `leaving`: its deletion was asked for."""
        spec, group, kin = self._placeless(pod.spec), _origin(pod), self._kin(pod, leaving)
        found = self._footprints.get((spec, group, kin))
        if found is not None:
            return found
        keys = mentioned(pod)
        if keys is not None and self._census.mention(keys):
            self.edition += 1
        kin = self._kin(pod, leaving)
        made = replace(measure(pod), kin=kin, held=ties_of(pod).held())
        return _remember(self._footprints, (spec, group, kin), made)

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


def _remember(cache: dict[_CacheKey, V], key: _CacheKey, value: V) -> V:
    if len(cache) >= _REMEMBERED:
        del cache[next(iter(cache))]
    cache[key] = value
    return value


def _origin(pod: Pod) -> str:
    """What of a pod's metadata goes into its footprint: its controller; with claims, its namespace, where these are."""
    group = group_of(pod)
    return f"{group} {pod.metadata.namespace}" if claims_of(pod) else group


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
        volume_claims=claims_of(pod),
    )
