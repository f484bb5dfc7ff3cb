"""What objects use of ResourceQuotas: which resources a quota can bound, and how much of each an object takes.

    pods, count/pods                               pods that are not over; all pods
    count/PLURAL[.GROUP], secrets, configmaps, …   objects of a kind
    cpu = requests.cpu, memory, ephemeral-storage, requests.example.com/gpu       what pods request
    limits.cpu, limits.memory, limits.ephemeral-storage                           what pods are limited to
    requests.storage, persistentvolumeclaims, CLASS.storageclass.storage.k8s.io/… claims
    services.nodeports, services.loadbalancers                                    ports on every node; balanced services

A pod takes what it asks for until it is over (Succeeded, Failed), or until twice its grace has passed since its
deletion was asked for: one that is stuck on a lost node must not keep its successor from being made. Amounts are
integers: milli-cores, bytes, pieces. A usage is a tuple, in the order of its quota's resources.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from podium.objects import pod as pods
from podium.objects import quantity
from podium.objects.kinds import KINDS, kind_of
from podium.objects.service import LOAD_BALANCER, NODE_PORT
from podium.v1.core_pb2 import Pod, PodAffinityTerm, PodSpec
from podium.v1.networking_pb2 import ServiceSpec
from podium.v1.policy_pb2 import ResourceQuota, ScopedResourceSelectorRequirement

COMPUTE = ("cpu", "memory", "ephemeral-storage")
STORAGE_REQUESTS, CLAIMS = "requests.storage", "persistentvolumeclaims"
OF_CLASS = ".storageclass.storage.k8s.io/"
TERMINATING, NOT_TERMINATING = "Terminating", "NotTerminating"
BEST_EFFORT, NOT_BEST_EFFORT = "BestEffort", "NotBestEffort"
PRIORITY_CLASS, CROSS_NAMESPACE = "PriorityClass", "CrossNamespacePodAffinity"
SCOPES = (TERMINATING, NOT_TERMINATING, BEST_EFFORT, NOT_BEST_EFFORT, PRIORITY_CLASS, CROSS_NAMESPACE)
NODE_PORTS, LOAD_BALANCERS = "services.nodeports", "services.loadbalancers"

_UNCOUNTED = frozenset(("Event",))
"""Written all the time about everything, and never worth refusing."""

_SHORT_COUNTS = frozenset((
    "configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services",
))  # fmt: skip
"""Kinds that are also counted under their bare plural."""

_COUNTABLE = tuple(kind for kind in KINDS if kind.namespaced and kind.name not in _UNCOUNTED)


def _count_name(plural: str, group: str) -> str:
    return f"count/{plural}.{group}" if group else f"count/{plural}"


COUNTS: Mapping[str, str] = {_count_name(kind.plural, kind.group): kind.name for kind in _COUNTABLE} | {
    kind.plural: kind.name for kind in _COUNTABLE if kind.plural in _SHORT_COUNTS
}
"""Names under which objects are counted, and the kind that each counts."""

_NAMES_OF_KIND: dict[str, tuple[str, ...]] = {
    kind.name: tuple(name for name, counted in COUNTS.items() if counted == kind.name) for kind in _COUNTABLE
}

Usage = tuple[int, ...]


# ---------------------------------------------------------------- resources


def kind_using(resource: str) -> str | None:
    """The kind of object that uses a quota's resource; None when no object does."""
    if resource in COUNTS:
        return COUNTS[resource]
    if resource == "pods" or base_of(resource) in COMPUTE:
        return "Pod"
    if resource.removeprefix("requests.") != resource and "/" in resource and OF_CLASS not in resource:
        return "Pod"  # an extended resource
    if resource == STORAGE_REQUESTS or resource.partition(OF_CLASS)[2] in (STORAGE_REQUESTS, CLAIMS):
        return "PersistentVolumeClaim"
    if resource in (NODE_PORTS, LOAD_BALANCERS):
        return "Service"
    return None


def base_of(resource: str) -> str:
    """The resource of containers that is meant: `limits.cpu` → `cpu`."""
    return resource.removeprefix("requests.").removeprefix("limits.")


def is_counted(resource: str) -> bool:
    """Whether amounts of a resource are whole pieces."""
    return base_of(resource) not in (*COMPUTE, "storage") and not resource.endswith(STORAGE_REQUESTS)


def parse(resource: str, text: str) -> int:
    """A quantity of a quota as an integer. Raises BadRequest."""
    return pods.amount(base_of(resource), text)


def render(resource: str, amount: int) -> str:
    """An integer as a quantity of a quota."""
    if base_of(resource) == pods.CPU:
        return quantity.from_milli(amount)
    return str(amount) if is_counted(resource) else quantity.from_bytes(amount)


# ---------------------------------------------------------------- quotas


@dataclass(frozen=True, slots=True)
class Scope:
    """One condition on the pods that a quota counts."""

    name: str
    operator: str = "Exists"
    values: frozenset[str] = frozenset()

    def matches(self, pod: Pod) -> bool:
        """Whether the pod is in the scope."""
        if self.name == PRIORITY_CLASS:
            return self._of_class(pod.spec.priority_class_name)
        return _SCOPES[self.name](pod.spec)

    def _of_class(self, name: str) -> bool:
        match self.operator:
            case "In":
                return name in self.values
            case "NotIn":
                return name not in self.values
            case "DoesNotExist":
                return not name
            case _:
                return bool(name)


_SCOPES: Mapping[str, Callable[[PodSpec], bool]] = {
    TERMINATING: lambda spec: spec.HasField("active_deadline_seconds"),
    NOT_TERMINATING: lambda spec: not spec.HasField("active_deadline_seconds"),
    BEST_EFFORT: lambda spec: pods.qos_class(spec) == pods.BEST_EFFORT,
    NOT_BEST_EFFORT: lambda spec: pods.qos_class(spec) != pods.BEST_EFFORT,
    CROSS_NAMESPACE: lambda spec: any(_looks_elsewhere(term) for term in _pod_terms(spec)),
}


def _pod_terms(spec: PodSpec) -> Iterator[PodAffinityTerm]:
    """Every term of affinity and anti-affinity to pods, required and preferred."""
    for affinity in (spec.affinity.pod_affinity, spec.affinity.pod_anti_affinity):
        yield from affinity.required_during_scheduling_ignored_during_execution
        for preferred in affinity.preferred_during_scheduling_ignored_during_execution:
            yield preferred.pod_affinity_term


def _looks_elsewhere(term: PodAffinityTerm) -> bool:
    return bool(term.namespaces) or term.HasField("namespace_selector")


@dataclass(frozen=True, slots=True)
class Terms:
    """A quota, read: what it bounds, and for whom.

    Attributes:
        name: Of the quota.
        resources: In order; usages are in the same order.
        hard: The bound of each.
        scopes: All of which a pod must be in to count.
        kinds: Of objects that use any of it.
    """

    name: str
    resources: tuple[str, ...]
    hard: Usage
    scopes: tuple[Scope, ...]
    kinds: frozenset[str]

    @classmethod
    def of(cls, quota: ResourceQuota) -> Terms:
        """The terms of a quota that was admitted."""
        resources = tuple(sorted(quota.spec.hard))
        return cls(
            name=quota.metadata.name,
            resources=resources,
            hard=tuple(parse(name, quota.spec.hard[name]) for name in resources),
            scopes=scopes_of(quota),
            kinds=frozenset(kind for name in resources if (kind := kind_using(name)) is not None),
        )

    def usage(self, obj: Any, now: float) -> Usage:
        """What an object uses at a time, in seconds since 1970."""
        if self.scopes and not (isinstance(obj, Pod) and all(scope.matches(obj) for scope in self.scopes)):
            return self.nothing
        if isinstance(obj, Pod) and counts(obj, now):
            return _pod_usage(self.resources, obj.spec.SerializeToString())
        used = used_by(obj, now)
        return tuple([used.get(name, 0) for name in self.resources])

    @property
    def nothing(self) -> Usage:
        """The usage of an object that does not count."""
        return (0,) * len(self.resources)

    def told(self, usage: Usage, over: Collection[str] = ()) -> str:
        """A usage for people: `pods=3,requests.cpu=200m`, of all resources or of some."""
        return ",".join(
            f"{name}={render(name, amount)}"
            for name, amount in zip(self.resources, usage, strict=True)
            if not over or name in over
        )

    def quantities(self, usage: Usage) -> dict[str, str]:
        """A usage as quantities by resource, as status has it."""
        return {name: render(name, amount) for name, amount in zip(self.resources, usage, strict=True)}

    def unsaid(self, pod: Pod) -> str:
        """What containers must say for the pod to be counted, and do not: `limits.cpu for: c1,c2; …`."""
        if not all(scope.matches(pod) for scope in self.scopes):
            return ""
        return _unsaid(self.resources, pod.spec.SerializeToString())


def scopes_of(quota: ResourceQuota) -> tuple[Scope, ...]:
    """Scopes and scope selector of a quota, together."""
    return (*map(Scope, quota.spec.scopes), *map(_selected, quota.spec.scope_selector.match_expressions))


def _selected(requirement: ScopedResourceSelectorRequirement) -> Scope:
    return Scope(requirement.scope_name, requirement.operator, frozenset(requirement.values))


# Pods come in many equal copies: what they use, and do not say, is remembered by the bytes of their spec.
_MOST_REMEMBERED = 4096


@lru_cache(maxsize=_MOST_REMEMBERED)
def _pod_usage(resources: tuple[str, ...], spec: bytes) -> Usage:
    used = _asked(PodSpec.FromString(spec))
    return tuple([used.get(name, 0) for name in resources])


@lru_cache(maxsize=_MOST_REMEMBERED)
def _unsaid(resources: tuple[str, ...], spec: bytes) -> str:
    containers = list(pods.all_containers(PodSpec.FromString(spec)))
    missing = (
        (name, ",".join(c.name for c in containers if not _says(c, name)))
        for name in resources
        if base_of(name) in (pods.CPU, pods.MEMORY)
    )
    return "; ".join(f"{name} for: {names}" for name, names in missing if names)


def _says(container: Any, resource: str) -> bool:
    resources = container.resources
    return base_of(resource) in (resources.limits if resource.startswith("limits.") else resources.requests)


# ---------------------------------------------------------------- objects


def used_by(obj: Any, now: float) -> Mapping[str, int]:
    """What an object uses of every resource, at a time in seconds since 1970."""
    if isinstance(obj, Pod):
        return _asked(obj.spec) if counts(obj, now) else _POD_THAT_IS_OVER
    kind = kind_of(obj).name
    used: dict[str, int] = dict.fromkeys(_NAMES_OF_KIND.get(kind, ()), 1)
    if kind == "PersistentVolumeClaim":
        used.update(_claim_usage(obj))
    elif kind == "Service":
        used.update(_service_usage(obj.spec))
    return used


_POD_THAT_IS_OVER = {"count/pods": 1}


def counts(pod: Pod, now: float) -> bool:
    """Whether a pod still takes what it asks for."""
    if pods.is_terminal(pod):
        return False
    until = counts_until(pod)
    return until is None or now <= until


def counts_until(pod: Pod) -> float | None:
    """When a pod that is being deleted ceases to count, in seconds since 1970."""
    metadata = pod.metadata
    if not metadata.HasField("deletion_timestamp"):
        return None
    return float(metadata.deletion_timestamp.seconds + metadata.deletion_grace_period_seconds)


def _asked(spec: PodSpec) -> Mapping[str, int]:
    """What a pod that is not over uses."""
    used = {"pods": 1, "count/pods": 1}
    for name, amount in pods.requests(spec).items():
        used[f"requests.{name}"] = amount
        if name in COMPUTE:
            used[name] = amount
    for name, amount in pods.limits(spec).items():
        used[f"limits.{name}"] = amount
    return used


def _claim_usage(claim: Any) -> Iterator[tuple[str, int]]:
    storage = quantity.value(claim.spec.resources.requests.get("storage", "0"))
    yield STORAGE_REQUESTS, storage
    if claim.spec.storage_class_name:
        yield f"{claim.spec.storage_class_name}{OF_CLASS}{STORAGE_REQUESTS}", storage
        yield f"{claim.spec.storage_class_name}{OF_CLASS}{CLAIMS}", 1


def _service_usage(spec: ServiceSpec) -> Mapping[str, int]:
    """Each port of a service that the nodes give away is one."""
    if spec.type not in (NODE_PORT, LOAD_BALANCER):
        return {}
    return {NODE_PORTS: len(spec.ports), LOAD_BALANCERS: int(spec.type == LOAD_BALANCER)}
