"""Where to look for volumes and claims, so that nobody searches all of them.

Fed by the controllers' triggers. It holds names only and is a hint: whoever looks reads the object itself, and
an entry whose object is gone or has changed is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from master.access.protocol import Change, ChangeType
from podium.objects import storage
from podium.objects.meta import is_terminating
from podium.objects.storage import ClaimKey, claims_of
from podium.v1.core_pb2 import Pod
from podium.v1.storage_pb2 import PersistentVolume, PersistentVolumeClaim

K = TypeVar("K")
V = TypeVar("V")


class Groups(Generic[K, V]):
    """Values by one key each; a value that moves leaves its old group."""

    def __init__(self) -> None:
        self._groups: dict[K, dict[V, None]] = {}
        self._key_of: dict[V, K] = {}

    def put(self, value: V, key: K | None) -> None:
        """Put a value into a group, or (None) into none."""
        before = self._key_of.pop(value, None)
        if before is not None:
            group = self._groups[before]
            del group[value]
            if not group:
                del self._groups[before]
        if key is not None:
            self._key_of[value] = key
            self._groups.setdefault(key, {})[value] = None

    def of(self, key: K) -> list[V]:
        """The values of a group."""
        return list(self._groups.get(key, ()))

    def count(self, key: K) -> int:
        """How many values a group has."""
        return len(self._groups.get(key, ()))

    def all(self) -> Iterator[V]:
        """Every value."""
        return iter(list(self._key_of))

    def __contains__(self, value: object) -> bool:
        return value in self._key_of


class VolumeIndex:
    """See the module.

    Attributes:
        of_class: Volumes by class.
        kept_for: Volumes by the claim that they name.
        on_node: Volumes that are tied to a node, by that (the first, of several).
        pending: Claims that wait to be bound, by class; None where no class is named.
        claims_leaving: Claims that are being deleted.
        users: Names of pods that use a claim, wherever and in whatever state they are.
    """

    def __init__(self) -> None:
        self.of_class: Groups[str, str] = Groups()
        self.kept_for: Groups[ClaimKey, str] = Groups()
        self.on_node: Groups[str, str] = Groups()
        self.pending: Groups[str, ClaimKey] = Groups()
        self.claims_leaving: Groups[str, ClaimKey] = Groups()
        self.users: dict[ClaimKey, set[str]] = {}

    def note_volume(self, change: Change[PersistentVolume]) -> None:
        """A volume changed."""
        volume, name = change.new, change.new.metadata.name
        gone = change.type is ChangeType.DELETED
        ref = volume.spec.claim_ref
        named = volume.spec.HasField("claim_ref") and not gone
        node = next(iter(storage.nodes_of(volume)), "")
        self.of_class.put(name, None if gone else volume.spec.storage_class_name)
        self.kept_for.put(name, ClaimKey(ref.namespace, ref.name) if named else None)
        self.on_node.put(name, node if node and not gone else None)

    def note_claim(self, change: Change[PersistentVolumeClaim]) -> None:
        """A claim changed."""
        claim, key = change.new, storage.key_of_claim(change.new)
        gone, leaving = change.type is ChangeType.DELETED, is_terminating(claim)
        waits = claim.status.phase in ("", storage.PENDING) and not leaving and not gone
        self.pending.put(key, claim.spec.storage_class_name if waits else None)
        self.claims_leaving.put(key, "" if leaving and not gone else None)

    def note_pod(self, change: Change[Pod]) -> Sequence[ClaimKey]:
        """A pod changed; the claims that it uses."""
        claims, name = claims_of(change.new), change.new.metadata.name
        for key in claims:
            if change.type is not ChangeType.DELETED:
                self.users.setdefault(key, set()).add(name)
            elif key in self.users:
                self.users[key].discard(name)
                if not self.users[key]:
                    del self.users[key]
        return claims

    def concerned(self, claims: Iterable[ClaimKey]) -> Iterator[ClaimKey]:
        """Of some claims those that what pods do can matter to: waiting for a consumer, or for the last one to go."""
        return (key for key in claims if key in self.pending or key in self.claims_leaving)
