"""Volumes and claims as the scheduler sees them: which nodes a claim leaves open, and what was promised to whom.

    bound                         the nodes that reach its volume
    waits for its consumer        nodes that reach a free volume which fits, and those where one may be made
    … and was promised a node     that node only, until the claim is bound or the promise is taken back
    anything else                 no node, and why

A *promise* is what is decided with a pod's node and not yet written, or not yet done: this volume for that claim, or a
volume to be made for it there. It counts at once, like everything the scheduler assumes.

Pods without claims never come here. Of bound claims and taken volumes only a few words are kept: the objects themselves
only where a choice is still open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from master.scheduler.columns import Bools
from master.scheduler.node_terms import Expression, Term, any_of, terms_of
from podium.objects import storage
from podium.objects.meta import is_terminating
from podium.objects.storage import ClaimKey
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim, StorageClass

if TYPE_CHECKING:
    from master.scheduler.snapshot import Snapshot

Terms = tuple[Term, ...]

_REMEMBERED = 8192

UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
OUT_OF_REACH = "node(s) didn't match PersistentVolume's node affinity"
NOTHING_FITS = "node(s) didn't find available persistent volumes to bind"


class Promise(NamedTuple):
    """What a pod's claim is to get on the pod's node: `volume`, or when that is empty, one that is made there."""

    claim: ClaimKey
    uid: str
    volume: str


class Answer(NamedTuple):
    """Where a claim lets its pod go (None: everywhere), and why not elsewhere."""

    rows: Bools | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimFacts:
    """What of a claim matters for placement.

    Attributes:
        uid: The claim's.
        problem: Why no pod can use it now; empty when that is not so.
        volume: What it is bound to.
        once_pod: Whether only one pod at a time may use it.
        once: Whether only pods of one node may.
        selected: The node where a volume is being made for it.
        open: The claim itself while it waits for a volume.
    """

    uid: str
    problem: str
    volume: str
    once_pod: bool
    once: bool
    selected: str
    open: PersistentVolumeClaim | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFacts:
    """What of a volume matters: its class, the terms of its nodes (None: all reach it), itself while nobody has it."""

    cls: str
    terms: Terms | None
    hosts: tuple[str, ...]
    free: PersistentVolume | None


class _Offer(NamedTuple):
    """What an open claim could get: free volumes that fit, and where one can be made (None: everywhere)."""

    claim: ClaimKey
    volumes: list[str]
    made: Bools | None


@dataclass(slots=True)
class _Promised:
    """A promise, for which node, and to how many pods."""

    node: str
    promise: Promise
    pods: int = 0


@dataclass(slots=True)
class VolumeTable:
    """See the module."""

    _claims: dict[ClaimKey, ClaimFacts] = field(default_factory=dict)
    _volumes: dict[str, VolumeFacts] = field(default_factory=dict)
    _of_class: dict[str, dict[str, None]] = field(default_factory=dict)
    _classes: dict[str, StorageClass] = field(default_factory=dict)
    _promised: dict[ClaimKey, _Promised] = field(default_factory=dict)
    _taken: dict[str, ClaimKey] = field(default_factory=dict)
    _reached: dict[Terms, tuple[int, Bools]] = field(default_factory=dict)

    # ------------------------------------------------------------ what is

    def see_claim(self, claim: PersistentVolumeClaim, *, gone: bool = False) -> bool:
        """A claim was added, changed or deleted; whether that can change an answer."""
        key = storage.key_of_claim(claim)
        facts = None if gone else _claim_facts(claim)
        before = self._claims.get(key)
        if facts == before:
            return False
        if facts is None:
            del self._claims[key]
        else:
            self._claims[key] = facts
        if facts is None or facts.volume or facts.uid != getattr(before, "uid", facts.uid):
            self._drop(key)
        return True

    def see_volume(self, volume: PersistentVolume, *, gone: bool = False) -> bool:
        """A volume was added, changed or deleted; whether that can change an answer."""
        name = volume.metadata.name
        facts = None if gone else _volume_facts(volume)
        before = self._volumes.get(name)
        if facts == before:
            return False
        if before is not None:
            del self._of_class[before.cls][name]
            del self._volumes[name]
        if facts is not None:
            self._volumes[name] = facts
            self._of_class.setdefault(facts.cls, {})[name] = None
        return True

    def see_class(self, cls: StorageClass, *, gone: bool = False) -> bool:
        """A class was added, changed or deleted; whether that can change an answer."""
        if gone:
            self._classes.pop(cls.metadata.name, None)
        else:
            self._classes[cls.metadata.name] = cls
        return True

    # ------------------------------------------------------------ questions

    def facts(self, key: ClaimKey) -> ClaimFacts | None:
        """What is known of a claim."""
        return self._claims.get(key)

    def is_open(self, key: ClaimKey) -> bool:
        """Whether a volume is yet to be chosen for the claim, with its pod's node."""
        facts = self._claims.get(key)
        return facts is not None and not facts.problem and self._delayed(facts) and key not in self._promised

    def spans(self, key: ClaimKey) -> bool:
        """Whether pods of several nodes could use the volume that the claim is bound to."""
        facts = self._claims.get(key)
        volume = self._volumes.get(facts.volume) if facts is not None else None
        return volume is not None and len(volume.hosts) != 1

    def _delayed(self, facts: ClaimFacts) -> bool:
        claim = facts.open
        if claim is None or claim.spec.volume_name:
            return False
        return storage.waits_for_consumer(self._classes.get(claim.spec.storage_class_name))

    def answers(self, keys: Sequence[ClaimKey], cluster: Snapshot) -> list[Answer]:
        """Where each claim, and then all open ones together, let a pod go."""
        answers = [self._answer(key, cluster) for key in keys]
        open_keys = [key for key in keys if self.is_open(key)]
        if len(open_keys) > 1 and any(self._candidates(key) for key in open_keys):
            answers.append(self._together(open_keys, answers, cluster))
        return answers

    def _answer(self, key: ClaimKey, cluster: Snapshot) -> Answer:
        facts = self._claims.get(key)
        if facts is None:
            return _nowhere(f'persistentvolumeclaim "{key.name}" not found', cluster)
        if facts.problem:
            return _nowhere(f'persistentvolumeclaim "{key.name}" {facts.problem}', cluster)
        if facts.volume:
            return self._bound(key, facts.volume, cluster)
        if not self._delayed(facts):
            return _nowhere(UNBOUND, cluster)
        node = self._promised[key].node if key in self._promised else facts.selected
        if node:
            return _only(node, f'persistentvolumeclaim "{key.name}" is being bound on node {node}', cluster)
        return Answer(self._openable(key, cluster), NOTHING_FITS)

    def _bound(self, key: ClaimKey, name: str, cluster: Snapshot) -> Answer:
        volume = self._volumes.get(name)
        if volume is None:
            return _nowhere(
                f'persistentvolumeclaim "{key.name}" bound to non-existent persistentvolume "{name}"', cluster
            )
        if volume.terms is None:
            return Answer(None, "")
        if volume.hosts and all(cluster.row(host) is None for host in volume.hosts):
            where = ", ".join(volume.hosts)
            return _nowhere(f'persistentvolume "{name}" lies on node {where}, which is not there', cluster)
        return Answer(self._reach(volume.terms, cluster), OUT_OF_REACH)

    def _reach(self, terms: Terms, cluster: Snapshot) -> Bools:
        kept = self._reached.get(terms)
        if kept is None or kept[0] != cluster.topology:
            if len(self._reached) > _REMEMBERED:
                self._reached.clear()
            kept = self._reached[terms] = (cluster.topology, any_of(terms, cluster))
        return kept[1]

    def _openable(self, key: ClaimKey, cluster: Snapshot) -> Bools | None:
        """Where the claim could be given a volume; None: everywhere."""
        rows = self._provisionable(key, cluster)
        if rows is None:
            return None
        for name in self._candidates(key):
            terms = self._volumes[name].terms
            if terms is None:
                return None
            rows = rows | self._reach(terms, cluster)
        return rows

    def _candidates(self, key: ClaimKey) -> list[str]:
        """Free volumes that fit the claim, the smallest first."""
        claim = self._claims[key].open
        if claim is None:
            return []
        free = (
            volume
            for name in self._of_class.get(claim.spec.storage_class_name, ())
            if name not in self._taken and (volume := self._volumes[name].free) is not None
        )
        fits = [volume for volume in free if not storage.misfit(volume, claim)]
        return [v.metadata.name for v in sorted(fits, key=lambda v: (storage.capacity(v), v.metadata.name))]

    def _provisionable(self, key: ClaimKey, cluster: Snapshot) -> Bools | None:
        """Where a volume can be made for the claim; None: everywhere."""
        claim = self._claims[key].open
        cls = self._classes.get(claim.spec.storage_class_name) if claim is not None else None
        if claim is None or cls is None or not _makes(cls, claim):
            return np.zeros(cluster.capacity, dtype=np.bool_)
        if not cls.allowed_topologies:
            return None
        terms = tuple(
            tuple(Expression(e.key, "In", tuple(e.values)) for e in term.match_label_expressions)
            for term in cls.allowed_topologies
        )
        return any_of(terms, cluster)

    def _together(self, keys: Sequence[ClaimKey], answers: Iterable[Answer], cluster: Snapshot) -> Answer:
        """Several claims need several volumes: asked of each node that every claim alone would take."""
        possible = cluster.live.copy()
        for answer in answers:
            if answer.rows is not None:
                possible &= answer.rows
        offers = self._offers(keys, cluster)
        for row in np.flatnonzero(possible):
            possible[row] = self._choice(offers, int(row), cluster) is not None
        return Answer(possible, NOTHING_FITS)

    def _offers(self, keys: Iterable[ClaimKey], cluster: Snapshot) -> list[_Offer]:
        """What there is for each open claim, the smallest claim first."""
        return [
            _Offer(key, self._candidates(key), self._provisionable(key, cluster))
            for key in sorted(keys, key=self._size)
        ]

    def _choice(self, offers: Iterable[_Offer], row: int, cluster: Snapshot) -> dict[ClaimKey, str] | None:
        """A volume of its own for each open claim on one node; empty where one is to be made; None: not possible."""
        chosen: dict[ClaimKey, str] = {}
        used: set[str] = set()
        for key, volumes, made in offers:
            name = next((n for n in volumes if n not in used and self._is_near(n, row, cluster)), "")
            if not name and made is not None and not made[row]:
                return None
            used.add(name)
            chosen[key] = name
        return chosen

    def _size(self, key: ClaimKey) -> tuple[int, ClaimKey]:
        claim = self._claims[key].open
        return (storage.requested_storage(claim) if claim is not None else 0, key)

    def _is_near(self, name: str, row: int, cluster: Snapshot) -> bool:
        terms = self._volumes[name].terms
        return terms is None or bool(self._reach(terms, cluster)[row])

    # ------------------------------------------------------------ promises

    def promise(self, keys: Iterable[ClaimKey], row: int, cluster: Snapshot) -> tuple[Promise, ...]:
        """Choose for the open claims of a pod that goes to `row`, and for those that wait there already."""
        node = cluster.name(row)
        open_keys = [key for key in dict.fromkeys(keys) if self.is_open(key)]
        fresh = [key for key in open_keys if not self._claims[key].selected]
        chosen = self._choice(self._offers(fresh, cluster), row, cluster) or {}
        for key in open_keys:
            promise = Promise(key, self._claims[key].uid, chosen.get(key, ""))
            self._promised[key] = _Promised(node, promise)
            if promise.volume:
                self._taken[promise.volume] = key
        made = [self._promised[key] for key in dict.fromkeys(keys) if key in self._promised]
        for promised in made:
            promised.pods += 1
        return tuple(promised.promise for promised in made)

    def take_back(self, promises: Iterable[Promise]) -> None:
        """A pod does not need them any more; what nobody was promised is open again."""
        for promise in promises:
            kept = self._promised.get(promise.claim)
            if kept is not None and kept.promise == promise:
                kept.pods -= 1
                if not kept.pods:
                    self._drop(promise.claim)

    def _drop(self, key: ClaimKey) -> None:
        kept = self._promised.pop(key, None)
        if kept is not None and kept.promise.volume:
            self._taken.pop(kept.promise.volume, None)


def _nowhere(reason: str, cluster: Snapshot) -> Answer:
    return Answer(np.zeros(cluster.capacity, dtype=np.bool_), reason)


def _only(node: str, reason: str, cluster: Snapshot) -> Answer:
    rows = np.zeros(cluster.capacity, dtype=np.bool_)
    row = cluster.row(node)
    if row is not None:
        rows[row] = True
    return Answer(rows, reason)


def _makes(cls: StorageClass, claim: PersistentVolumeClaim) -> bool:
    """Whether volumes are made for such claims at all."""
    if cls.provisioner == storage.NO_PROVISIONER or claim.spec.HasField("selector"):
        return False
    return cls.provisioner != storage.LOCAL_PROVISIONER or not (
        set(claim.spec.access_modes) & {storage.MANY, storage.ONLY_MANY}
    )


def _claim_facts(claim: PersistentVolumeClaim) -> ClaimFacts:
    problem, modes = "", claim.spec.access_modes
    if is_terminating(claim):
        problem = "is being deleted"
    elif claim.status.phase == storage.LOST:
        problem = f'bound to non-existent persistentvolume "{claim.spec.volume_name}"'
    bound = storage.is_bound(claim)
    return ClaimFacts(
        uid=claim.metadata.uid,
        problem=problem,
        volume=claim.spec.volume_name if bound else "",
        once_pod=storage.ONCE_POD in modes,
        once=list(modes) == [storage.ONCE],
        selected="" if bound else claim.metadata.annotations.get(storage.SELECTED_NODE, ""),
        open=None if bound or problem else claim,
    )


def _volume_facts(volume: PersistentVolume) -> VolumeFacts:
    affinity = volume.spec.node_affinity
    limited = volume.spec.HasField("node_affinity")
    return VolumeFacts(
        cls=volume.spec.storage_class_name,
        terms=terms_of(affinity.required) if limited else None,
        hosts=storage.nodes_of(volume) if limited else (),
        free=volume if storage.is_free(volume) else None,
    )
