"""Which revision each key is at, in memory: where compare-and-set is decided, without touching a disk.

A `Group` stages transactions on top of a `Ledger`: each is checked against the ledger and against those staged before
it, and gets its revisions. `accept` makes the group part of the ledger; dropping the group forgets it, revisions
included. So a group whose write fails leaves no trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from master.store.protocol import ABSENT, Mismatch, Op, Put, Remove, Revision, StoreEvent
from podium.objects.kinds import Key


class Head(NamedTuple):
    """A key's latest and first revision."""

    revision: Revision
    created: Revision


_NOTHING = Head(ABSENT, ABSENT)


class Ledger:
    """Heads of all keys at `revision`. `dead` are the revisions of superseded values and of removals."""

    def __init__(self, revision: Revision = ABSENT) -> None:
        self.revision = revision
        self.heads: dict[Key, Head] = {}
        self.dead: list[Revision] = []

    def apply(self, revision: Revision, key: Key, created: Revision, removed: bool) -> None:
        """Take in one committed operation, in order of revisions."""
        previous = self.heads.get(key)
        if previous is not None:
            self.dead.append(previous.revision)
        if removed:
            self.heads.pop(key, None)
            self.dead.append(revision)
        else:
            self.heads[key] = Head(revision, created)
        self.revision = revision

    def take_dead(self, before: Revision) -> list[Revision]:
        """Remove and return the dead revisions older than `before`."""
        taken = [r for r in self.dead if r < before]
        self.dead = [r for r in self.dead if r >= before]
        return taken


class Group:
    """Transactions staged on a ledger. `events` are theirs, in order."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._staged: dict[Key, Head] = {}
        self._revision = ledger.revision
        self.events: list[StoreEvent] = []

    def add(self, ops: Sequence[Op]) -> list[Revision]:
        """Stage one transaction, all or nothing.

        Raises:
            Mismatch: An `expect` does not hold, or the key to remove does not exist.
        """
        if len(ops) == 1:  # by far the most: nothing to undo
            return [self._stage(ops[0])]
        before = self._revision, len(self.events), dict(self._staged)
        try:
            return [self._stage(op) for op in ops]
        except Mismatch:
            self._revision, kept, self._staged = before
            del self.events[kept:]
            raise

    def _stage(self, op: Op) -> Revision:
        key = op.key
        head = self._staged.get(key) or self._ledger.heads.get(key, _NOTHING)
        if op.expect is not None and op.expect != head.revision:
            raise Mismatch(key, op.expect, head.revision)
        if isinstance(op, Remove) and head.revision == ABSENT:
            raise Mismatch(key, Revision(-1), ABSENT)
        revision = self._revision = Revision(self._revision + 1)
        created = revision if head.revision == ABSENT else head.created
        removed = not isinstance(op, Put)
        self._staged[key] = _NOTHING if removed else Head(revision, created)
        self.events.append(StoreEvent(revision, key, op.value, removed, created))
        return revision

    def accept(self) -> None:
        """Make the staged transactions part of the ledger."""
        for event in self.events:
            self._ledger.apply(event.revision, event.key, event.created, event.removed)
