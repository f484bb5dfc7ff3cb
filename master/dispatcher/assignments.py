"""What each node should run, and what it has been told of it. Pure: changes in, messages out.

The `Ledger` follows every pod and knows, per node, a `Book`: the pods bound there and the objects they use (Secrets,
ConfigMaps; see `podium.objects.references`). A book remembers what changed since its node was last told, so a node
costs nothing while nothing of its own changes, and no list is ever made per node. A session takes a snapshot first and
deltas after it, chained by `version`.

A pod's own status comes from its node, so a change of nothing but status is not sent back down.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from podium.objects.kinds import Key, key_of
from podium.objects.references import NONE, key_of_bound, load, references
from podium.objects.storage import is_condemned, nodes_of
from podium.v1.core_pb2 import Pod
from podium.v1.node_session_pb2 import Assignments
from podium.v1.storage_pb2 import PersistentVolume

ObjectLookup = Callable[[Key], Any | None]
Uses = tuple[frozenset[Key], frozenset[Key]]
"""What a pod used before, and uses now."""


def concerns_node(old: Pod, new: Pod) -> bool:
    """Whether a change of a pod is of interest to its node: anything but status and bookkeeping."""
    a, b = old.metadata, new.metadata
    return (
        a.generation != b.generation
        or a.deletion_timestamp != b.deletion_timestamp
        or a.deletion_grace_period_seconds != b.deletion_grace_period_seconds
        or a.labels != b.labels
        or a.annotations != b.annotations
        or old.spec.node_name != new.spec.node_name
        or a.uid != b.uid
    )


def for_node(pod: Pod) -> Pod:
    """A pod as it is sent: without field ownership, which only the API server needs."""
    if not pod.metadata.managed_fields:
        return pod
    sent = Pod()
    sent.CopyFrom(pod)
    sent.metadata.ClearField("managed_fields")
    return sent


@dataclass(slots=True)
class Book:
    """One node's assignments.

    Attributes:
        pods: What the node should run: keys by uid. The pods themselves are found when they are sent: thousands of
            books that held them would keep the whole cluster decoded.
        version: What the node has been told; 0 before the first snapshot.
        following: Whether changes are kept for a delta; only while a session takes them.
        condemned: Volumes whose folders the node should remove, by name.
    """

    pods: dict[str, Key] = field(default_factory=dict)
    version: int = 0
    following: bool = False
    condemned: dict[str, PersistentVolume] = field(default_factory=dict)
    _sentenced: set[str] = field(default_factory=set)
    _changed: set[str] = field(default_factory=set)
    _removed: set[str] = field(default_factory=set)
    _uses: Counter[Key] = field(default_factory=Counter)
    _used_by: dict[str, frozenset[Key]] = field(default_factory=dict)
    _told: set[Key] = field(default_factory=set)
    _stale: set[Key] = field(default_factory=set)

    @property
    def changes(self) -> int:
        """How many changes wait to be told."""
        return len(self._changed) + len(self._removed) + len(self._stale) + len(self._sentenced)

    def put(self, pod: Pod) -> Uses:
        """A pod is assigned, or an assigned pod changed. Returns what it used before, and uses now."""
        uid, now = pod.metadata.uid, references(pod)
        if self.following:
            self._stale |= now - self._uses.keys()  # also those told before: unused, they were not followed
            self._changed.add(uid)
            self._removed.discard(uid)
        self.pods[uid] = key_of(pod)
        return self._use(uid, now)

    def drop(self, uid: str) -> Uses:
        """A pod is not assigned any more. Returns what it used, and nothing."""
        if self.pods.pop(uid, None) is None:
            return NONE, NONE
        self._changed.discard(uid)
        if self.following:
            self._removed.add(uid)
        return self._use(uid, NONE)

    def touch(self, key: Key) -> None:
        """An object in use changed."""
        if self.following and key in self._uses:
            self._stale.add(key)

    def condemn(self, volume: PersistentVolume) -> bool:
        """The node should remove the volume's folder; whether it has yet to be told so."""
        name = volume.metadata.name
        if name in self.condemned:
            return False
        self.condemned[name] = volume
        if self.following:
            self._sentenced.add(name)
        return True

    def acquit(self, name: str) -> None:
        """The folder of the volume is gone, or may stay."""
        self.condemned.pop(name, None)
        self._sentenced.discard(name)

    def _use(self, uid: str, now: frozenset[Key]) -> Uses:
        before = self._used_by.pop(uid, NONE)
        if now:
            self._used_by[uid] = now
        if now != before:
            _recount(self._uses, before, now)
        return before, now

    def snapshot(self, find: ObjectLookup) -> Assignments:
        """Everything; from here on changes are kept for deltas."""
        self._settle()
        self.following = True
        self.version += 1
        present = _found(self._uses, find)
        self._told = set(present)
        message = Assignments(
            snapshot=True,
            results_in=self.version,
            pods=self._pods(self.pods, find),
            condemned_volumes=self.condemned.values(),
        )
        load(message, present.values())
        return message

    def delta(self, find: ObjectLookup) -> Assignments | None:
        """What changed since the last message, or None."""
        unused = self._told - self._uses.keys()
        if not self.changes and not unused:
            return None
        wanted = _found(self._stale & self._uses.keys(), find)
        gone = unused | ((self._stale & self._told) - wanted.keys())
        message = Assignments(
            applies_to=self.version,
            results_in=self.version + 1,
            pods=self._pods(self._changed, find),
            removed_pods=self._removed,
            condemned_volumes=[self.condemned[name] for name in self._sentenced],
        )
        load(message, wanted.values(), removed=gone)
        self.version += 1
        self._told = (self._told | wanted.keys()) - gone
        self._settle()
        return message

    def _pods(self, uids: Iterable[str], find: ObjectLookup) -> list[Pod]:
        """Pods as they are now. One that is gone, or whose name is another's, is left out: its end is on the way."""
        found = ((uid, find(self.pods[uid])) for uid in uids)
        return [for_node(pod) for uid, pod in found if pod is not None and pod.metadata.uid == uid]

    def unfollow(self) -> None:
        """The session ended: the next one starts with a snapshot."""
        self.following = False
        self._settle()

    def _settle(self) -> None:
        self._changed, self._removed, self._stale, self._sentenced = set(), set(), set(), set()


def _recount(uses: Counter[Key], before: frozenset[Key], now: frozenset[Key]) -> None:
    uses.update(now)
    for key in before:
        uses[key] -= 1
        if not uses[key]:
            del uses[key]


def _found(keys: Iterable[Key], find: ObjectLookup) -> dict[Key, Any]:
    found = ((key, find(key)) for key in keys)
    return {key: obj for key, obj in found if obj is not None}


def _differs(old: PersistentVolume, new: PersistentVolume) -> bool:
    """Whether a volume changed in more than its status, which comes from its node."""
    return old.spec != new.spec or old.metadata.annotations != new.metadata.annotations


class Ledger:
    """The books of all nodes."""

    def __init__(self) -> None:
        self._books: dict[str, Book] = {}
        self._node_of: dict[str, str] = {}
        self._users: dict[Key, Counter[str]] = {}
        self._condemned: dict[str, str] = {}

    def book(self, node: str) -> Book:
        """The book of a node; an empty one is opened for a node never seen."""
        book = self._books.get(node)
        if book is None:
            book = self._books[node] = Book()
        return book

    def node_of(self, uid: str) -> str:
        """The node that a pod is assigned to, or empty."""
        return self._node_of.get(uid, "")

    def pod_changed(self, old: Pod | None, new: Pod, *, deleted: bool) -> Collection[str]:
        """Follow one change of a pod. Returns the nodes that must be told of it."""
        uid, node = new.metadata.uid, sys.intern(new.spec.node_name)
        told: set[str] = set()
        if old is not None and old.metadata.uid != uid:
            told.add(self._remove(old.metadata.uid))
        if deleted:
            told.add(self._remove(uid))
        elif node and self._follow(node, old, new):
            told.add(node)
        told.discard("")
        return told

    def _follow(self, node: str, old: Pod | None, pod: Pod) -> bool:
        if self._node_of.get(pod.metadata.uid) != node:
            self._assign(node, pod)
            return True
        if old is not None and not concerns_node(old, pod):
            return False
        self._count(node, *self._books[node].put(pod))
        return True

    def object_changed(self, key: Key) -> Collection[str]:
        """Follow one change of an object that pods may use. Returns the nodes that must be told of it."""
        nodes = list(self._users.get(key, ()))
        for node in nodes:
            self._books[node].touch(key)
        return nodes

    def volume_changed(
        self, old: PersistentVolume | None, volume: PersistentVolume, *, deleted: bool
    ) -> Collection[str]:
        """Follow one change of a volume. Returns the nodes that must be told of it."""
        name, node = volume.metadata.name, next(iter(nodes_of(volume)), "")
        told: set[str] = set()
        if volume.spec.HasField("claim_ref") and (old is None or deleted or _differs(old, volume)):
            told.update(self.object_changed(key_of_bound(volume)))
        if node and is_condemned(volume) and not deleted:
            self._condemned[name] = node
            if self.book(node).condemn(volume):
                told.add(node)
        elif name in self._condemned:
            self._books[self._condemned.pop(name)].acquit(name)
        return told

    def _assign(self, node: str, pod: Pod) -> None:
        self._node_of[pod.metadata.uid] = node
        self._count(node, *self.book(node).put(pod))

    def _remove(self, uid: str) -> str:
        node = self._node_of.pop(uid, "")
        if node:
            self._count(node, *self._books[node].drop(uid))
        return node

    def _count(self, node: str, before: frozenset[Key], now: frozenset[Key]) -> None:
        if before == now:
            return
        for key in now - before:
            self._users.setdefault(key, Counter())[node] += 1
        for key in before - now:
            users = self._users[key]
            users[node] -= 1
            if not users[node]:
                del users[node]
            if not users:
                del self._users[key]
