"""The scheduler without its event loop: changes go in, turns come out.

`see_pod`, `pod_gone`, `see_node` and `node_gone` take over what is; `turn` serves the line whose turn it is and says
what to write: pods to bind, pods to tell why not, pods to evict. What it decides it assumes at once, so that turns can
be taken while the writes of earlier ones are in flight; `undo` takes back an assumption whose write failed.

Nothing here waits, reads a clock, or knows of tasks.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count, islice

from master.scheduler import explain, preempt
from master.scheduler.changes import Changes
from master.scheduler.framework import Profile
from master.scheduler.ledger import Entry, Ledger, PodKey, State
from master.scheduler.place import place
from master.scheduler.preempt import Eviction, Violators, no_budgets
from master.scheduler.queue import Line, Queue
from master.scheduler.shape import Shape, Shapes
from master.scheduler.snapshot import Cause, Snapshot, facts_of
from podium.objects import pod as pods
from podium.v1.core_pb2 import Node, Pod
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim, StorageClass

Storage = PersistentVolume | PersistentVolumeClaim | StorageClass

# Pods of one line that may make room for themselves in one turn; each costs milliseconds.
_EVICTIONS_A_TURN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """These pods must be told that they cannot be placed, and why."""

    pods: tuple[Entry, ...]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """Room is being made for a pod."""

    pod: Entry
    eviction: Eviction


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one turn decided; all of it is assumed already."""

    bound: tuple[Entry, ...] = ()
    refused: tuple[Refused, ...] = ()
    evictions: tuple[Making, ...] = ()


class Engine:
    """See the module."""

    def __init__(self, profile: Profile, violators: Violators = no_budgets) -> None:
        self.profile = profile
        self._violators = violators
        self.cluster = Snapshot()
        self.ledger = Ledger(self.cluster)
        self.queue = Queue()
        self.shapes = Shapes(profile.sign, self.cluster.census)
        self._order = count()
        self._joined_parked: list[Entry] = []
        self._changes = Changes()
        self._edition = self.shapes.edition
        self._victims: dict[PodKey, Entry] = {}
        self._room_made: dict[PodKey, Eviction] = {}

    # ------------------------------------------------------------ what is

    def see_node(self, node: Node) -> None:
        """A node was added or changed."""
        facts = facts_of(node)
        cause = self.ledger.set_node(facts)
        self._helped(self.cluster.row(facts.name), cause)

    def node_gone(self, name: str) -> None:
        """A node was deleted."""
        self._changes.node_gone(self.cluster.row(name))
        for entry in self.ledger.remove_node(name):
            if self.queue.remove(entry):
                self._wait(entry)

    def see_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """A namespace was added or changed; None: it was deleted."""
        self._changes.upheaval(self.cluster.census.set_namespace(name, labels))

    def see_storage(self, obj: Storage, *, gone: bool = False) -> None:
        """A volume, a claim or a storage class was added, changed or deleted."""
        match obj:
            case PersistentVolumeClaim():
                moved = self.cluster.volumes.see_claim(obj, gone=gone)
            case PersistentVolume():
                moved = self.cluster.volumes.see_volume(obj, gone=gone)
            case _:
                moved = self.cluster.volumes.see_class(obj, gone=gone)
        self._changes.volumes_moved(moved)

    def see_pod(self, pod: Pod, now: float) -> None:
        """A pod was added or changed. `now`: seconds of the monotonic clock."""
        key, uid = PodKey(sys.intern(pod.metadata.namespace), pod.metadata.name), pod.metadata.uid
        entry = self.ledger.entries.get(key)
        if entry is not None and entry.uid != uid:
            self._forget(entry)
            entry = None
        if pods.is_terminal(pod):
            if entry is not None:
                self._forget(entry)
        elif entry is None:
            self._admit(key, pod, now)
        else:
            self._update(entry, pod)

    def pod_gone(self, key: PodKey, uid: str) -> None:
        """A pod was deleted."""
        entry = self.ledger.entries.get(key)
        if entry is not None and entry.uid == uid:
            self._forget(entry)

    def _admit(self, key: PodKey, pod: Pod, now: float) -> None:
        node, terminating = pod.spec.node_name, pods.is_terminating(pod)
        if not node and (terminating or pods.is_gated(pod)):
            return
        shape = None if node else self.shape_of(pod)
        entry = Entry(
            key=key,
            uid=pod.metadata.uid,
            labels=self.shapes.labels(pod),
            pod=None if node else pod,
            footprint=self.shapes.footprint(pod, terminating) if shape is None else shape.footprint,
            shape=shape,
            order=next(self._order),
            since=now,
            terminating=terminating,
            started=pod.metadata.creation_timestamp.seconds,
            generation=pod.metadata.generation,
        )
        self._reread_all()  # the footprint of a bound pod may have terms, too
        self.ledger.entries[key] = entry
        if node:
            self.ledger.bind(entry, node)
            self._stir(entry)
            return
        if pod.status.nominated_node_name:
            entry.nominated = pod.status.nominated_node_name
            self.ledger.claim(entry, entry.nominated)
        self._wait(entry)

    def _update(self, entry: Entry, pod: Pod) -> None:
        entry.labels, going = self.shapes.labels(pod), pods.is_terminating(pod)
        entry.terminating = entry.terminating or going
        if going:
            self._victims.pop(entry.key, None)
        if pod.spec.node_name:
            if entry.state is not State.BOUND:
                self._bound(entry, pod.spec.node_name)
            if pod.metadata.generation != entry.generation:
                self._resized(entry, pod)
            self._recount(entry)
        elif entry.state is State.WAITING and entry.terminating:
            self._forget(entry)
        elif entry.state is State.WAITING:
            self._reshape(entry, pod)

    def shape_of(self, pod: Pod) -> Shape:
        """The shape of a pod that waits, or might."""
        shape = self.shapes.shape(pod)
        self._reread_all()
        return shape

    def leave(self, entry: Entry, leaving: bool = True) -> None:
        """A pod that is somewhere is being deleted; or that failed, and it stays."""
        entry.terminating = leaving
        if not leaving:
            self._victims.pop(entry.key, None)
        self._recount(entry)

    def _recount(self, entry: Entry) -> None:
        """What terms see of a pod that is somewhere may have changed."""
        kin = self.shapes.kin(entry.key.namespace, entry.labels, entry.terminating)
        if kin != entry.footprint.kin:
            self._stir(entry)
            self.ledger.count_as(entry, replace(entry.footprint, kin=kin))
            self._stir(entry)

    def _resized(self, entry: Entry, pod: Pod) -> None:
        """A pod that is somewhere may ask for another share of its node than it did."""
        entry.generation = pod.metadata.generation
        footprint = self.shapes.footprint(pod, entry.terminating)
        if footprint.requests != entry.footprint.requests:
            self._stir(entry)
            self.ledger.count_as(entry, footprint)
            self._stir(entry)
            self._helped(self.ledger.cluster.row(entry.node), Cause.PODS_LEFT)

    def _reread_all(self) -> None:
        """More labels of pods matter than before: see all of them again."""
        if self._edition == self.shapes.edition:
            return
        self._edition = self.shapes.edition
        for entry in self.ledger.entries.values():
            if entry.node:
                self._recount(entry)
            if entry.pod is not None and entry.state is State.WAITING:
                self._take_shape(entry, self.shapes.shape(entry.pod))
            elif entry.pod is not None:
                entry.shape = self.shapes.shape(entry.pod)

    def _stir(self, entry: Entry) -> None:
        """A pod that others may count came or left."""
        self._changes.stirred(entry.footprint)

    def _bound(self, entry: Entry, node: str) -> None:
        self.queue.remove(entry)
        self._helped(self._unclaim(entry), Cause.PODS_LEFT)
        if entry.node != node:
            self._stir(entry)
        self._helped(self.ledger.bind(entry, node), Cause.PODS_LEFT)
        self._take_promises_back(entry)
        self._room_made.pop(entry.key, None)
        entry.shape = entry.pod = None

    def _reshape(self, entry: Entry, pod: Pod) -> None:
        entry.pod = pod
        self._take_shape(entry, self.shape_of(pod))

    def _take_shape(self, entry: Entry, shape: Shape) -> None:
        """A waiting pod is of another shape now; a promise is kept, for it is about the node, and tried first."""
        if shape is entry.shape:
            return
        waiting, promised = self.queue.remove(entry), entry.claim
        self._helped(self._unclaim(entry), Cause.PODS_LEFT)
        entry.shape, entry.footprint = shape, shape.footprint
        if promised:
            self.ledger.claim(entry, promised)
        if waiting:
            self._wait(entry)

    def _forget(self, entry: Entry) -> None:
        self.queue.remove(entry)
        self._helped(self._unclaim(entry), Cause.PODS_LEFT)
        if entry.node:
            self._stir(entry)
        self._helped(self.ledger.free(entry), Cause.PODS_LEFT)
        self._take_promises_back(entry)
        self._victims.pop(entry.key, None)
        self._room_made.pop(entry.key, None)
        entry.state = State.GONE
        del self.ledger.entries[entry.key]

    def _unclaim(self, entry: Entry) -> int | None:
        """Take a promise back; the row where that may help others."""
        if entry.claim:
            self._stir(entry)
        return self.ledger.unclaim(entry)

    def _wait(self, entry: Entry) -> None:
        if self.queue.push(entry).parked:
            self._joined_parked.append(entry)

    def _helped(self, row: int | None, cause: Cause) -> None:
        self._changes.helped(row, cause)

    def eviction_for(self, entry: Entry) -> Eviction | None:
        """What was evicted to make room for a pod that waits; None also when that was before this engine's time."""
        return self._room_made.get(entry.key)

    @contextmanager
    def without_claim(self, entry: Entry | None) -> Iterator[None]:
        """As the cluster looks to this pod: the room promised to it is not taken."""
        node = entry.claim if entry is not None else ""
        if entry is None or not node:
            yield
            return
        self.ledger.unclaim(entry)
        try:
            yield
        finally:
            self.ledger.claim(entry, node)

    # ------------------------------------------------------------ what to do

    def undo(self, entry: Entry) -> bool:
        """The binding of an assumed pod failed; whether it must be placed anew (by `again`, when its back-off ends)."""
        if entry.state is not State.ASSUMED:
            return False
        self._stir(entry)
        self._helped(self.ledger.free(entry), Cause.PODS_LEFT)
        self._take_promises_back(entry)
        entry.state = State.WAITING
        entry.failures += 1
        return True

    def _take_promises_back(self, entry: Entry) -> None:
        """What was promised and not done is open again."""
        promises, entry.promises = entry.promises, ()
        if promises:
            self.cluster.volumes.take_back(promises)
            self._changes.volumes_moved()

    def again(self, entry: Entry) -> None:
        """A pod's back-off ended."""
        if entry.state is State.WAITING and self.queue.line_of(entry) is None:
            self._wait(entry)

    def turn(self, limit: int) -> Turn | None:
        """Serve up to `limit` pods of the line whose turn it is; None when no pod can be placed for now."""
        self._wake()
        line = self.queue.next()
        if line is None:
            refused = self._told_parked()
            return Turn(refused=refused) if refused else None
        return self._serve_claimant(line, line.claimant) if line.claimant is not None else self._serve(line, limit)

    def _wake(self) -> None:
        causes = self._changes.causes()
        if causes:
            self.queue.wake(causes, self._helps, self._waits_for)
            self._changes.clear()

    def _helps(self, line: Line) -> bool:
        rows = self._changes.rows_for(line, self.profile, self.cluster)
        if not rows.size:
            return False
        if line.claimant is not None and self.cluster.row(line.claimant.claim) in rows:
            return True
        evicting = line.shape.preempts and self.cluster.can_evict(line.shape.priority)
        return bool(self.profile.room(line.shape, self.cluster, rows, evicting=evicting).any())

    def _waits_for(self, line: Line) -> Cause:
        rows = self._changes.rows_for(line, self.profile, self.cluster)
        return self.profile.waits_for(line.shape, self.cluster, rows) if rows.size else Cause.NOTHING

    def _told_parked(self) -> tuple[Refused, ...]:
        joined, self._joined_parked = self._joined_parked, []
        lines: dict[Line, list[Entry]] = {}
        for entry in joined:
            line = self.queue.line_of(entry)
            if line is not None and line.parked and entry.is_news(line.message):
                lines.setdefault(line, []).append(entry)
        return tuple(_tell(entries, line.message) for line, entries in lines.items())

    def _serve(self, line: Line, limit: int) -> Turn:
        wanted = list(islice(line.pods.values(), limit))
        placed = self._place(line, wanted)
        if placed:
            self.queue.done(line)
            return Turn(bound=placed)
        evictions = self._make_room(line)
        if len(evictions) == _EVICTIONS_A_TURN:
            self.queue.done(line)
            return Turn(evictions=evictions)
        refused = (self._park(line),) if line.pods else ()
        return Turn(evictions=evictions, refused=refused)

    def _place(self, line: Line, wanted: list[Entry]) -> tuple[Entry, ...]:
        rows = place(self.profile, line.shape, self.cluster, len(wanted)).each()
        placed = wanted[: len(rows)]
        for entry in placed:
            self.queue.remove(entry)
        self.ledger.assume(placed, rows)
        if line.shape.footprint.volume_claims:
            for entry, row in zip(placed, rows, strict=True):
                entry.promises = self.cluster.volumes.promise(entry.footprint.volume_claims, row, self.cluster)
        if placed:
            self._stir(placed[0])
        return tuple(placed)

    def _make_room(self, line: Line) -> tuple[Making, ...]:
        made: list[Making] = []
        while line.pods and len(made) < _EVICTIONS_A_TURN:
            eviction = preempt.plan_eviction(self.profile, line.shape, self.ledger, self._overdrawing)
            if eviction is None:
                break
            entry = line.head()
            self.queue.remove(entry)
            made.append(self._promise(entry, eviction))
        return tuple(made)

    def _overdrawing(self, entries: Sequence[Entry]) -> Collection[str]:
        """Which would overdraw a disruption budget, after those that were chosen and are not seen to go yet."""
        return self._violators((*self._victims.values(), *entries))

    def _promise(self, entry: Entry, eviction: Eviction) -> Making:
        for victim in eviction.victims:
            self._victims[victim.key] = victim
            self.leave(victim)
        self._room_made[entry.key] = eviction
        line = self._diagnosed(entry, eviction.node)
        entry.tell(line.message)
        return Making(pod=entry, eviction=eviction)

    def _diagnosed(self, entry: Entry, node: str) -> Line:
        """Park a pod in a line of its own, with a claim on `node`."""
        assert entry.shape is not None, "it waits"
        diagnosis = explain.diagnose(self.profile, entry.shape, self.cluster)
        self.ledger.claim(entry, node)
        line = self.queue.push(entry)
        self.queue.park(line, diagnosis.waits_for, str(diagnosis))
        return line

    def _serve_claimant(self, line: Line, entry: Entry) -> Turn:
        """A pod that room is being made for tries again; its own claim does not count against it."""
        node = entry.claim
        row = self.ledger.unclaim(entry)
        placed = self._place(line, [entry])
        if placed:
            self._helped(row, Cause.PODS_LEFT)
            return Turn(bound=placed)
        self.queue.remove(entry)
        if self._still_leaving(entry, node):
            self._diagnosed(entry, node)
            return Turn()
        self._stir(entry)
        self._helped(row, Cause.PODS_LEFT)
        eviction = preempt.plan_eviction(self.profile, line.shape, self.ledger, self._overdrawing)
        if eviction is not None:
            return Turn(evictions=(self._promise(entry, eviction),))
        self._wait(entry)
        return Turn()

    def _still_leaving(self, entry: Entry, node: str) -> bool:
        return self.cluster.row(node) is not None and any(
            other.terminating and other.footprint.priority < entry.footprint.priority for other in self.ledger.on(node)
        )

    def _park(self, line: Line) -> Refused:
        diagnosis = explain.diagnose(self.profile, line.shape, self.cluster)
        message = f"{diagnosis} {preempt.why_not(self.profile, line.shape, self.cluster)}"
        self.queue.park(line, diagnosis.waits_for, message)
        return _tell([entry for entry in line.pods.values() if entry.is_news(message)], message)


def _tell(entries: Iterable[Entry], message: str) -> Refused:
    told = tuple(entries)
    for entry in told:
        entry.tell(message)
    return Refused(pods=told, message=message)
