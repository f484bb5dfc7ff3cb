"""What a store must be: revisioned bytes, compare-and-set, transactions, and a watch from a revision.

One revision number orders all writes. An acknowledged commit is on disk (unless `durable=False`). The store knows
nothing of objects: values are bytes, stamped with their revision by the reader (see `master.cache.stamp`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NewType, Protocol

from podium.objects.kinds import Key

Revision = NewType("Revision", int)
ABSENT = Revision(0)


@dataclass(frozen=True, slots=True)
class Put:
    """Write a value. `expect`: the revision the key must have now (ABSENT: must not exist; None: whatever)."""

    key: Key
    value: bytes
    expect: Revision | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a key, which must exist. `expect` as in Put. `value` is the last state, told to watchers."""

    key: Key
    expect: Revision | None = None
    value: bytes = b""


Op = Put | Remove


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored value. `created` and `revision` are those of its first and its latest write."""

    key: Key
    value: bytes
    created: Revision
    revision: Revision


class StoreEvent(NamedTuple):
    """One committed operation. `value` is the new state, or the last one when `removed`."""

    revision: Revision
    key: Key
    value: bytes
    removed: bool
    created: Revision


class Mismatch(Exception):
    """A compare-and-set found another revision than expected; nothing of the transaction was written."""

    def __init__(self, key: Key, expected: Revision, actual: Revision) -> None:
        super().__init__(f"{key}: expected revision {expected}, found {actual}")
        self.key, self.expected, self.actual = key, expected, actual


class Compacted(Exception):
    """The revision asked for is older than what the store keeps."""

    def __init__(self, asked: Revision, oldest: Revision) -> None:
        super().__init__(f"revision {asked} is compacted; the oldest kept is {oldest}")
        self.asked, self.oldest = asked, oldest


Revisions = list[Revision]
Outcome = Revisions | Mismatch
"""What becomes of a transaction: the revision of each operation, or why nothing of it was written."""


class Store(Protocol):
    """See the module. Every implementation passes `tests/conformance/test_store.py`."""

    @property
    def revision(self) -> Revision:
        """The newest committed revision."""
        ...

    async def get(self, key: Key) -> Entry | None: ...

    async def list(self, kind: str = "", namespace: str = "") -> tuple[list[Entry], Revision]:
        """Everything (of a kind, in a namespace), and the revision at which this is the state. One consistent cut."""
        ...

    async def commit(self, ops: Sequence[Op], *, durable: bool = True) -> Revisions:
        """Apply all or nothing; returns the revision of each operation, consecutive and growing.

        Concurrent commits share one fsync (group commit), and take effect in the order in which they were asked for:
        when a durable one returns (even one of no operations), whatever became of those before it is told to watchers.

        Returns after the data is on disk; with `durable=False` after it is ordered and visible, to be written with the
        next group.

        Raises:
            Mismatch: An `expect` did not hold.
            Unavailable: The store cannot write now (disk full); nothing was written, and a retry is safe.
        """
        ...

    async def commit_each(self, transactions: Sequence[Sequence[Op]], *, durable: bool = True) -> Sequence[Outcome]:
        """Many independent transactions, submitted together; each is answered in its place, as `commit` would.

        Raises:
            Unavailable: As in `commit`; transactions not answered were not written.
        """
        ...

    def watch(self, after: Revision) -> AsyncIterator[Sequence[StoreEvent]]:
        """Every event with a revision greater than `after`, in order, without gaps, in batches, for ever.

        Raises:
            Compacted: `after` is older than what is kept, or a revision that this store never acknowledged.
        """
        ...

    async def compact(self, before: Revision) -> None:
        """Forget superseded values and removals older than `before`."""
        ...

    async def backup(self, to: Path) -> Revision:
        """Write a consistent copy that the store can be started from; returns its revision."""
        ...

    async def close(self) -> None: ...
