"""The cluster as arrays: every node's resources, labels, taints, ports and replicas, changed in place, never copied.

A node is a row. `set_node` and `remove_node` follow the Node objects; `reserve` and `release` follow the pods and are
exact inverses, so giving back what was taken restores every array bit by bit. Nothing here knows which pods exist: that
is the ledger's (`master.scheduler.ledger`), nor why a pod may not go to a node: that is the plugins'.

A *claim* is room that a pod has been promised by evicting others: its resources, its ports and its anti-affinity count
against pods of the same or a lower priority, and not against a higher one.

`topology` grows with every change of labels, taints or membership, so what a plugin derives from these alone can be
kept until it does. A node that is not Ready, or cordoned, is given the taint that Kubernetes' node controllers would
give it, at once, whether or not a controller has written it yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Flag, auto
from typing import NamedTuple

import numpy as np

from master.scheduler.census import Census
from master.scheduler.columns import ALL, Bools, Image, Ints, LabelColumn, Resource, RowArray, Rows, grown
from master.scheduler.shape import PODS, Footprint
from master.scheduler.volume_table import VolumeTable
from podium.objects import conditions
from podium.objects import pod as pods
from podium.objects.pod import HostPort
from podium.objects.storage import ClaimKey
from podium.v1.core_pb2 import Node

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "PreferNoSchedule", "NoExecute"

_FIRST_ROWS = 16


class Cause(Flag):
    """What happened on a node that may let a pod fit there which did not before."""

    NOTHING = 0
    NODE_ADDED = auto()
    CAPACITY_GREW = auto()
    LABELS_CHANGED = auto()
    TAINTS_CHANGED = auto()
    PODS_LEFT = auto()
    VOLUMES_CHANGED = auto()
    """Volumes, claims or storage classes: anywhere, not just here."""
    NEIGHBOURS = auto()
    """Pods that others speak of came or left, or nodes moved between topology domains: anywhere, not just here."""


class TaintKey(NamedTuple):
    """A taint's identity."""

    key: str
    value: str
    effect: str

    @property
    def hard(self) -> bool:
        """Whether it keeps pods away that do not tolerate it, rather than only discouraging them."""
        return self.effect != PREFER_NO_SCHEDULE


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What of a Node object matters for placement."""

    name: str
    allocatable: dict[str, int]
    labels: dict[str, str]
    taints: tuple[TaintKey, ...]
    images: tuple[tuple[str, int], ...] = ()


def facts_of(node: Node) -> NodeFacts:
    """Read a Node object."""
    return NodeFacts(
        name=node.metadata.name,
        allocatable=pods.amounts(node.status.allocatable),
        labels=dict(node.metadata.labels),
        taints=tuple(dict.fromkeys((*_written_taints(node), *_implied_taints(node)))),
        images=tuple((pods.image_name(name), image.size_bytes) for image in node.status.images for name in image.names),
    )


def _written_taints(node: Node) -> list[TaintKey]:
    return [TaintKey(taint.key, taint.value, taint.effect) for taint in node.spec.taints]


def _implied_taints(node: Node) -> list[TaintKey]:
    implied = [TaintKey(UNSCHEDULABLE, "", NO_SCHEDULE)] if node.spec.unschedulable else []
    ready = conditions.get_condition(node.status.conditions, "Ready")
    if ready is None or ready.status == conditions.FALSE:
        implied.append(TaintKey(NOT_READY, "", NO_SCHEDULE))
    elif ready.status == conditions.UNKNOWN:
        implied.append(TaintKey(UNREACHABLE, "", NO_SCHEDULE))
    return implied


class Snapshot:
    """See the module."""

    def __init__(self) -> None:
        self.capacity = _FIRST_ROWS
        self.live: Bools = np.zeros(_FIRST_ROWS, dtype=np.bool_)
        self.load_cpu: Ints = np.zeros(_FIRST_ROWS, dtype=np.int64)
        self.load_memory: Ints = np.zeros(_FIRST_ROWS, dtype=np.int64)
        self.labels: dict[str, LabelColumn] = {}
        self.taints: dict[TaintKey, Bools] = {}
        self.images: dict[str, Image] = {}
        self.topology = 0
        self.census = Census(_FIRST_ROWS)
        self.volumes = VolumeTable()
        self._volume_users: dict[ClaimKey, dict[int, int]] = {}
        self._resources: dict[str, Resource] = {}
        self._claimed: dict[str, Resource] = {}
        self._promised: list[tuple[int, Footprint]] = []
        self._ports: dict[HostPort, Ints] = {}
        self._groups: dict[str, dict[int, int]] = {}
        self._facts: list[NodeFacts | None] = [None] * _FIRST_ROWS
        self._rows: dict[str, int] = {}
        self._free = list(range(_FIRST_ROWS - 1, -1, -1))

    def __len__(self) -> int:
        return len(self._rows)

    # ------------------------------------------------------------ nodes

    def row(self, name: str) -> int | None:
        """The row of a node, or None when there is no such node."""
        return self._rows.get(name)

    def name(self, row: int) -> str:
        """The node in a row that is in use."""
        return self.facts(row).name

    def facts(self, row: int) -> NodeFacts:
        """What is known of the node in a row that is in use."""
        facts = self._facts[row]
        assert facts is not None, f"row {row} holds no node"
        return facts

    def rows(self) -> RowArray:
        """The rows in use, ascending."""
        return np.flatnonzero(self.live)

    def set_node(self, facts: NodeFacts) -> Cause:
        """Add a node, or take over what changed; what of it may help waiting pods."""
        row = self._rows.get(facts.name)
        if row is None:
            return self._add(facts)
        old = self.facts(row)
        self._facts[row] = facts
        cause = Cause.NOTHING
        if old.allocatable != facts.allocatable:
            self._set_allocatable(row, facts.allocatable)
            cause |= Cause.CAPACITY_GREW if _grew(old.allocatable, facts.allocatable) else Cause.NOTHING
        if old.labels != facts.labels:
            self._set_labels(row, old.labels, facts.labels)
            cause |= Cause.LABELS_CHANGED
        if old.taints != facts.taints:
            self._set_taints(row, old.taints, facts.taints)
            cause |= Cause.TAINTS_CHANGED
        if old.images != facts.images:
            self._set_images(row, old.images, facts.images)
        return cause

    def _add(self, facts: NodeFacts) -> Cause:
        if not self._free:
            self._grow()
        row = self._free.pop()
        self._rows[facts.name], self._facts[row], self.live[row] = row, facts, True
        self._set_allocatable(row, facts.allocatable)
        self._set_labels(row, {}, facts.labels)
        self._set_taints(row, (), facts.taints)
        self._set_images(row, (), facts.images)
        self.topology += 1
        return Cause.NODE_ADDED

    def remove_node(self, name: str) -> None:
        """Forget a node and all that was reserved on it."""
        row = self._rows.pop(name, None)
        if row is None:
            return
        facts = self.facts(row)
        self._set_labels(row, facts.labels, {})
        self._set_taints(row, facts.taints, ())
        self._set_images(row, facts.images, ())
        for resource in (*self._resources.values(), *self._claimed.values()):
            resource.forget(row)
        self.load_cpu[row] = self.load_memory[row] = 0
        self._forget_ports(row)
        self._forget_groups(row)
        self._promised = [(at, footprint) for at, footprint in self._promised if at != row]
        self.census.forget(row)
        self._forget_volume_users(row)
        self.live[row], self._facts[row] = False, None
        self._free.append(row)
        self.topology += 1

    def _forget_ports(self, row: int) -> None:
        for port, counts in list(self._ports.items()):
            counts[row] = 0
            if not counts.any():
                del self._ports[port]

    def _forget_groups(self, row: int) -> None:
        for group, counts in list(self._groups.items()):
            if counts.pop(row, 0) and not counts:
                del self._groups[group]

    def _forget_volume_users(self, row: int) -> None:
        for claim, counts in list(self._volume_users.items()):
            if counts.pop(row, 0) and not counts:
                del self._volume_users[claim]

    def _set_allocatable(self, row: int, amounts: Mapping[str, int]) -> None:
        for resource in self._resources.values():
            resource.allocatable[row] = 0
        for name, amount in amounts.items():
            self.resource(name).allocatable[row] = amount

    def _set_labels(self, row: int, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        for key in old.keys() - new.keys():
            self.labels[key].set(row, None)
        for key, value in new.items():
            column = self.labels.get(key)
            if column is None:
                column = self.labels[key] = LabelColumn(self.capacity)
            column.set(row, value)
        self.topology += 1

    def _set_taints(self, row: int, old: tuple[TaintKey, ...], new: tuple[TaintKey, ...]) -> None:
        for taint in old:
            self.taints[taint][row] = False
            if taint not in new and not self.taints[taint].any():
                del self.taints[taint]
        for taint in new:
            if taint not in self.taints:
                self.taints[taint] = np.zeros(self.capacity, dtype=np.bool_)
            self.taints[taint][row] = True
        self.topology += 1

    def _set_images(self, row: int, old: tuple[tuple[str, int], ...], new: tuple[tuple[str, int], ...]) -> None:
        sizes = dict(new)
        for name in {name for name, _ in old} - sizes.keys():
            image = self.images[name]
            image.set(row, 0)
            if not image.nodes:
                del self.images[name]
        for name, size in sizes.items():
            if size <= 0:
                continue
            if name not in self.images:
                self.images[name] = Image(self.capacity)
            self.images[name].set(row, size)

    def column(self, key: str) -> LabelColumn:
        """One label on every node; absent everywhere when no node ever had it."""
        found = self.labels.get(key)
        return found if found is not None else LabelColumn(self.capacity)

    def _grow(self) -> None:
        old, self.capacity = self.capacity, self.capacity * 2
        self.live = grown(self.live, self.capacity)
        self.load_cpu = grown(self.load_cpu, self.capacity)
        self.load_memory = grown(self.load_memory, self.capacity)
        for resource in (*self._resources.values(), *self._claimed.values()):
            resource.grow(self.capacity)
        for column in self.labels.values():
            column.grow(self.capacity)
        for image in self.images.values():
            image.sizes = grown(image.sizes, self.capacity)
        self.taints = {taint: grown(where, self.capacity) for taint, where in self.taints.items()}
        self._ports = {port: grown(counts, self.capacity) for port, counts in self._ports.items()}
        self.census.grow(self.capacity)
        self._facts.extend([None] * old)
        self._free.extend(range(self.capacity - 1, old - 1, -1))

    # ------------------------------------------------------------ what pods take

    def resource(self, name: str) -> Resource:
        """The arrays of one resource; zeros when no node has heard of it."""
        found = self._resources.get(name)
        if found is None:
            found = self._resources[name] = Resource(self.capacity)
        return found

    def free(self, name: str, rows: Rows, priority: int, evicting: bool) -> Ints:
        """What a pod of `priority` finds of a resource; when `evicting`, as if all pods of lower priority were gone."""
        resource = self.resource(name)
        free: Ints = resource.allocatable[rows] - resource.used[rows]
        if evicting:
            free += resource.below(priority, rows)
        if name in self._claimed:
            free -= self._claimed[name].at_least(priority, rows)
        return free

    def can_evict(self, priority: int) -> bool:
        """Whether any pod of a lower priority is bound anywhere."""
        return any(level < priority and used.any() for level, used in self.resource(PODS).by_priority.items())

    def claim(self, row: int, footprint: Footprint, sign: int = 1) -> None:
        """Promise room on a node; with `sign` -1, take the promise back."""
        for name, amount in footprint.requests:
            if name not in self._claimed:
                self._claimed[name] = Resource(self.capacity)
            self._claimed[name].take(row, sign * amount, footprint.priority)
        if sign > 0:
            self._promised.append((row, footprint))
        else:
            self._promised.remove((row, footprint))

    def promised(self, priority: int) -> list[tuple[int, Footprint]]:
        """The claims that count against pods of a priority: those of the same or a higher one."""
        return [(row, footprint) for row, footprint in self._promised if footprint.priority >= priority]

    def reserve(self, row: int, footprint: Footprint) -> None:
        """Take what one pod takes."""
        self._count(row, footprint, 1)

    def release(self, row: int, footprint: Footprint) -> None:
        """Give back what one pod took."""
        self._count(row, footprint, -1)

    def _count(self, row: int, footprint: Footprint, sign: int) -> None:
        for name, amount in footprint.requests:
            self.resource(name).take(row, sign * amount, footprint.priority)
        self.load_cpu[row] += sign * footprint.load[0]
        self.load_memory[row] += sign * footprint.load[1]
        for port in footprint.ports:
            self._count_port(port, row, sign)
        if footprint.group:
            self._count_group(footprint.group, row, sign)
        for claim in footprint.volume_claims:
            self._count_volume_user(claim, row, sign)
        if footprint.kin is not None:
            self.census.count(row, footprint.kin, sign)
            self.census.hold(row, footprint.held, sign)

    def reserve_many(self, rows: RowArray, counts: Ints, footprint: Footprint) -> None:
        """Take what `counts[i]` pods take, on each of the distinct `rows[i]`."""
        for name, amount in footprint.requests:
            self.resource(name).take_many(rows, counts * amount, footprint.priority)
        self.load_cpu[rows] += counts * footprint.load[0]
        self.load_memory[rows] += counts * footprint.load[1]
        for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
            for port in footprint.ports:
                self._count_port(port, row, count)
            if footprint.group:
                self._count_group(footprint.group, row, count)
            for claim in footprint.volume_claims:
                self._count_volume_user(claim, row, count)
            if footprint.kin is not None:
                self.census.count(row, footprint.kin, count)
                self.census.hold(row, footprint.held, count)

    def _count_port(self, port: HostPort, row: int, change: int) -> None:
        counts = self._ports.get(port)
        if counts is None:
            counts = self._ports[port] = np.zeros(self.capacity, dtype=np.int64)
        counts[row] += change
        if change < 0 and not counts.any():
            del self._ports[port]

    def _count_group(self, group: str, row: int, change: int) -> None:
        counts = self._groups.setdefault(group, {})
        left = counts.get(row, 0) + change
        if left:
            counts[row] = left
            return
        counts.pop(row, None)
        if not counts:
            del self._groups[group]

    def _count_volume_user(self, claim: ClaimKey, row: int, change: int) -> None:
        counts = self._volume_users.setdefault(claim, {})
        left = counts.get(row, 0) + change
        if left:
            counts[row] = left
            return
        counts.pop(row, None)
        if not counts:
            del self._volume_users[claim]

    def volume_users(self, claim: ClaimKey) -> Mapping[int, int]:
        """How many pods use a claim, by row."""
        return self._volume_users.get(claim, {})

    def port_taken(self, port: HostPort, rows: Rows = ALL) -> Bools:
        """Where some pod has a port that this one conflicts with."""
        taken = np.zeros(self.capacity, dtype=np.bool_)
        for other, counts in self._ports.items():
            if port.conflicts(other):
                taken |= counts > 0
        found: Bools = taken[rows]
        return found

    def group_count(self, group: str, rows: Rows = ALL) -> Ints:
        """How many pods of a controller are on each node."""
        there = self._groups.get(group)
        if there and not isinstance(rows, slice) and rows.size < len(there):
            return np.fromiter((there.get(row, 0) for row in rows.tolist()), np.int64, rows.size)
        counts = np.zeros(self.capacity, dtype=np.int64)
        if there:
            counts[np.fromiter(there.keys(), np.intp, len(there))] = np.fromiter(there.values(), np.int64, len(there))
        found: Ints = counts[rows]
        return found


def _grew(old: Mapping[str, int], new: Mapping[str, int]) -> bool:
    return any(amount > old.get(name, 0) for name, amount in new.items())
