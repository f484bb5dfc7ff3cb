"""Who waits for room in a quota: reconciliations that one refused are run again as soon as there is more of it.

Otherwise a ReplicaSet that was refused its last pods would find out by its back-off, up to a minute after others have
gone.
"""

from __future__ import annotations

from collections.abc import Callable

from master.access.protocol import Change, ChangeType
from podium.errors import PodiumError
from podium.objects import quotas
from podium.objects.kinds import Key
from podium.v1.policy_pb2 import ResourceQuota


class Waiting:
    """The keys of one controller that a quota has refused, and that have not succeeded since."""

    def __init__(self) -> None:
        self._keys: set[Key] = set()

    def note(self, key: Key, error: PodiumError | None) -> None:
        """A reconciliation has ended so."""
        if error is not None and "quota" in error.details:
            self._keys.add(key)
        elif self._keys:
            self._keys.discard(key)

    def wake(self, change: Change[ResourceQuota], add: Callable[[Key], None]) -> None:
        """Add the keys for which a change of a quota may have made room."""
        if self._keys and makes_room(change):
            for key in sorted(key for key in self._keys if key.namespace == change.new.metadata.namespace):
                add(key)


def makes_room(change: Change[ResourceQuota]) -> bool:
    """Whether more can be used after a change of a quota than before."""
    old, new = change.old, change.new
    if change.type is ChangeType.DELETED:
        return True
    if old is None:
        return False
    for name, text in old.spec.hard.items():
        if name not in new.spec.hard or quotas.parse(name, new.spec.hard[name]) > quotas.parse(name, text):
            return True
        before, after = old.status.used.get(name), new.status.used.get(name)
        if before is not None and after is not None and quotas.parse(name, after) < quotas.parse(name, before):
            return True
    return False
