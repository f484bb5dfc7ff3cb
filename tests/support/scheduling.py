"""Nodes and pods as the scheduler's tests need them, and an engine filled with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from master.scheduler.engine import Engine, Turn
from master.scheduler.plugins import default_profile
from master.scheduler.snapshot import Snapshot
from podium.v1.core_pb2 import Node, Pod, Taint, Toleration
from podium.v1.meta_pb2 import Condition, OwnerReference


def node(
    name: str = "n1",
    *,
    cpu: str = "4",
    memory: str = "8Gi",
    pods: str = "110",
    labels: Mapping[str, str] | None = None,
    taints: Iterable[Taint] = (),
    ready: str = "True",
    cordoned: bool = False,
    extra: Mapping[str, str] | None = None,
    images: Mapping[str, int] | None = None,
) -> Node:
    """A ready node. `ready` empty: no condition at all."""
    made = Node()
    made.metadata.name = name
    made.metadata.labels.update({"kubernetes.io/hostname": name, **(labels or {})})
    made.spec.taints.extend(taints)
    made.spec.unschedulable = cordoned
    made.status.allocatable.update({"cpu": cpu, "memory": memory, "pods": pods, **(extra or {})})
    for name, size in (images or {}).items():
        made.status.images.add(names=[name], size_bytes=size)
    if ready:
        made.status.conditions.append(Condition(type="Ready", status=ready))
    return made


def pod(
    name: str = "p",
    *,
    cpu: str = "",
    memory: str = "",
    on: str = "",
    group: str = "",
    priority: int = 0,
    never: bool = False,
    selector: Mapping[str, str] | None = None,
    tolerations: Iterable[Toleration] = (),
    host_port: int = 0,
    host_ip: str = "",
    protocol: str = "TCP",
    extra: Mapping[str, str] | None = None,
    phase: str = "Pending",
    created: int = 0,
    gates: Iterable[str] = (),
    app: str = "",
    near: tuple[str, str] | None = None,
    apart: tuple[str, str] | None = None,
    spread: str = "",
) -> Pod:
    """A pod of one container; its uid is `uid-NAME`. `near`, `apart`: another's `app`, and a label of nodes.

    `spread`: a label of nodes over whose values pods with its `app` are spread, with maxSkew 1.
    """
    made = Pod()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = name, "default", f"uid-{name}"
    made.metadata.creation_timestamp.seconds = created
    if group:
        made.metadata.owner_references.append(
            OwnerReference(api_version="apps/v1", kind="ReplicaSet", name=group, uid=group, controller=True)
        )
    container = made.spec.containers.add(name="c", image="busybox")
    requests = {"cpu": cpu, "memory": memory, **(extra or {})}
    container.resources.requests.update({k: v for k, v in requests.items() if v})
    if host_port:
        container.ports.add(container_port=host_port, host_port=host_port, host_ip=host_ip, protocol=protocol)
    made.spec.node_selector.update(selector or {})
    made.spec.tolerations.extend(tolerations)
    made.spec.node_name = on
    made.spec.priority = priority
    made.spec.preemption_policy = "Never" if never else "PreemptLowerPriority"
    made.status.phase = phase
    if app:
        made.metadata.labels["app"] = app
    for wish, affinity in ((near, made.spec.affinity.pod_affinity), (apart, made.spec.affinity.pod_anti_affinity)):
        if wish is not None:
            term = affinity.required_during_scheduling_ignored_during_execution.add(topology_key=wish[1])
            term.label_selector.match_labels["app"] = wish[0]
    if spread:
        even = made.spec.topology_spread_constraints.add(max_skew=1, topology_key=spread)
        even.when_unsatisfiable = "DoNotSchedule"
        even.label_selector.match_labels["app"] = app
    for gate in gates:
        made.spec.scheduling_gates.add(name=gate)
    return made


def engine(*objects: Node | Pod) -> Engine:
    """An engine that has seen these, in this order."""
    made = Engine(default_profile())
    see(made, *objects)
    return made


def see(seeing: Engine, *objects: Node | Pod) -> None:
    """Show an engine objects, as added or changed."""
    for obj in objects:
        if isinstance(obj, Node):
            seeing.see_node(obj)
        else:
            seeing.see_pod(obj, 0.0)


def turns(of: Engine, limit: int = 512) -> list[Turn]:
    """Every turn until there is nothing to do."""
    taken: list[Turn] = []
    while (turn := of.turn(limit)) is not None:
        taken.append(turn)
        assert len(taken) < 10_000, "the engine never comes to rest"
    return taken


def bound(taken: Iterable[Turn]) -> dict[str, str]:
    """Node by pod, of what these turns placed."""
    return {entry.key.name: entry.node for turn in taken for entry in turn.bound}


def refused(taken: Iterable[Turn]) -> dict[str, str]:
    """Message by pod, of what these turns refused."""
    return {entry.key.name: group.message for turn in taken for group in turn.refused for entry in group.pods}


def state(cluster: Snapshot) -> dict[str, object]:
    """All that pods change in a snapshot, comparable; absent and all-zero arrays are the same."""

    def content(array: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> tuple[int, ...]:
        return tuple(array.tolist())

    found: dict[str, object] = {"cpu": content(cluster.load_cpu), "memory": content(cluster.load_memory)}
    for kind, resources in (("used", cluster._resources), ("claimed", cluster._claimed)):
        for name, resource in resources.items():
            if resource.used.any():
                found[f"{kind} {name}"] = content(resource.used)
            for level, used in resource.by_priority.items():
                if used.any():
                    found[f"{kind} {name} at {level}"] = content(used)
    found |= {f"port {port}": content(counts) for port, counts in cluster._ports.items()}
    found |= {f"group {group}": dict(counts) for group, counts in cluster._groups.items()}
    found |= cluster.census.content()
    return found
