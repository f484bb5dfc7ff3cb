"""A store without a disk, for tests and simulations. It keeps everything that was not compacted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from master.store.ledger import Group, Ledger
from master.store.protocol import ABSENT, Compacted, Entry, Mismatch, Op, Outcome, Revision, Revisions, StoreEvent
from master.store.tail import Tail
from podium.errors import Unavailable
from podium.objects.kinds import Key

_ALL = 2**62
Outcomes = list[Outcome]


class MemoryStore:
    """See `master.store.protocol.Store`."""

    def __init__(self) -> None:
        self._ledger = Ledger()
        self._values: dict[Key, bytes] = {}
        self._tail = Tail(ABSENT, keep=_ALL)
        self._floor = ABSENT

    @property
    def revision(self) -> Revision:
        return self._ledger.revision

    async def get(self, key: Key) -> Entry | None:
        head = self._ledger.heads.get(key)
        return None if head is None else Entry(key, self._values[key], head.created, head.revision)

    async def list(self, kind: str = "", namespace: str = "") -> tuple[list[Entry], Revision]:
        entries = [
            Entry(key, self._values[key], head.created, head.revision)
            for key, head in self._ledger.heads.items()
            if kind in ("", key.kind) and namespace in ("", key.namespace)
        ]
        return sorted(entries, key=lambda entry: entry.revision), self.revision

    async def commit(self, ops: Sequence[Op], *, durable: bool = True) -> Revisions:
        [outcome] = await self.commit_each([ops], durable=durable)
        if isinstance(outcome, Mismatch):
            raise outcome
        return outcome

    async def commit_each(self, transactions: Sequence[Sequence[Op]], *, durable: bool = True) -> Sequence[Outcome]:
        group = Group(self._ledger)
        outcomes: Outcomes = []
        for ops in transactions:
            try:
                outcomes.append(group.add(ops))
            except Mismatch as mismatch:
                outcomes.append(mismatch)
        group.accept()
        for event in group.events:
            if event.removed:
                del self._values[event.key]
            else:
                self._values[event.key] = event.value
        self._tail.append(group.events)
        return outcomes

    async def watch(self, after: Revision) -> AsyncIterator[Sequence[StoreEvent]]:
        if not self._floor <= after <= self.revision:
            raise Compacted(after, self._floor)
        while True:
            await self._tail.grown(after)
            events = self._tail.since(after)
            after = events[-1].revision
            yield events

    async def compact(self, before: Revision) -> None:
        self._floor = max(self._floor, Revision(min(before, self.revision + 1) - 1))
        self._ledger.take_dead(before)

    async def backup(self, to: Path) -> Revision:
        raise Unavailable(f"a memory store cannot be written to {to}: use the SQLite store")

    async def close(self) -> None:
        self._values.clear()
