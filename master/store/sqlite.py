"""The default store: SQLite, one file, nothing acknowledged ever lost.

    event loop                               store thread (`Committer`)
    ----------                               --------------------------
    commit(ops) ── queue ──────────────────► drain → check → write + fsync once for all
    futures resolved, watchers woken ◄────── results and events, in order

The newest events stay in memory (`Tail`), from which watchers normally read; one that is further behind reads the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from master.store import database as files
from master.store.committer import BACKLOG_LIMIT, MAX_GROUP_TRANSACTIONS, Call, Commit, Committer, Told
from master.store.database import Database
from master.store.ledger import Ledger
from master.store.protocol import Compacted, Entry, Mismatch, Op, Outcome, Revision, Revisions, StoreEvent
from master.store.tail import Tail
from podium.errors import PodiumError, Unavailable
from podium.objects.kinds import Key

# The tail must hold what is told but not yet written.
TAIL_EVENTS = 2 * (BACKLOG_LIMIT + MAX_GROUP_TRANSACTIONS)
_READ_CHUNK = 1_000
_DELETE_CHUNK = 2_000
T = TypeVar("T")


class SqliteStore:
    """See `master.store.protocol.Store`. Made by `open`."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._path = database.path
        self._loop = asyncio.get_running_loop()
        self._tail = Tail(ledger.revision, TAIL_EVENTS)
        self._floor = database.floor
        self._gaps = database.gaps
        self._closed = False
        self._committer = Committer(database, ledger, self._from_thread)

    @classmethod
    async def open(cls, path: Path) -> SqliteStore:
        """Open the database at `path`, or create it.

        Raises:
            DatabaseUnusable: It is damaged, of a newer version, no database of ours, or in use.
        """
        store = cls(*await asyncio.to_thread(Database.open, path))
        store._committer.start()
        return store

    @property
    def revision(self) -> Revision:
        return self._tail.revision

    async def get(self, key: Key) -> Entry | None:
        def read(database: Database, ledger: Ledger) -> Entry | None:
            head = ledger.heads.get(key)
            if head is None:
                return None
            return Entry(key, database.value_at(head.revision), head.created, head.revision)

        return await self._call(read)

    async def list(self, kind: str = "", namespace: str = "") -> tuple[list[Entry], Revision]:
        return await self._call(lambda database, ledger: (database.read(ledger, kind, namespace), ledger.revision))

    async def commit(self, ops: Sequence[Op], *, durable: bool = True) -> Revisions:
        [outcome] = await self.commit_each([ops], durable=durable)
        if isinstance(outcome, Mismatch):
            raise outcome
        return outcome

    async def commit_each(self, transactions: Sequence[Sequence[Op]], *, durable: bool = True) -> Sequence[Outcome]:
        if not transactions:
            return []
        outcomes: Sequence[Outcome] = await self._submit(lambda token: Commit(transactions, durable, token))
        return outcomes

    async def watch(self, after: Revision) -> AsyncIterator[Sequence[StoreEvent]]:
        self._check_kept(after)
        while True:
            if after >= self._tail.begin:
                await self._tail.grown(after)
                events = self._tail.since(after)
            else:
                events = await self._read_log(after)
            if events:
                after = events[-1].revision
                yield events
            else:
                after = self._tail.begin  # a gap left by a crash: nothing lies between

    async def _read_log(self, after: Revision) -> Sequence[StoreEvent]:
        begin = self._tail.begin
        events = await self._call(lambda database, _: database.events(after, _READ_CHUNK))
        self._check_kept(after)  # only now: a compaction may have come first
        return [event for event in events if event.revision <= begin]

    def _check_kept(self, after: Revision) -> None:
        lost = any(low < after < high for low, high in self._gaps)
        if lost or not self._floor <= after <= self.revision:
            raise Compacted(after, self._floor)

    async def compact(self, before: Revision) -> None:
        floor = Revision(min(before, self.revision + 1) - 1)
        if floor <= self._floor:
            return
        self._floor = floor

        def begin(database: Database, ledger: Ledger) -> list[Revision]:
            database.remember_revision(ledger.revision)
            database.raise_floor(floor)
            return ledger.take_dead(Revision(floor + 1))

        dead = await self._call(begin)
        for start in range(0, len(dead), _DELETE_CHUNK):  # chunk by chunk, so that writes get in between
            await self._call(partial(_delete, dead[start : start + _DELETE_CHUNK]))

    async def backup(self, to: Path) -> Revision:
        await self._call(lambda database, ledger: None)  # what was told is written
        return await asyncio.to_thread(files.copy, self._path, to)

    async def close(self) -> None:
        """Write what is left and close the file. Safe to repeat."""
        if not self._closed:
            self._closed = True
            await asyncio.wrap_future(self._committer.stop())

    # ------------------------------------------------------------ to the thread and back

    async def _call(self, run: Callable[[Database, Ledger], T]) -> T:
        answer: T = await self._submit(lambda token: Call(run, token))
        return answer

    async def _submit(self, job: Callable[[asyncio.Future[Any]], Commit | Call]) -> Any:
        if self._closed:
            raise Unavailable("the store is closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._committer.submit(job(future))
        return await future

    def _from_thread(self, events: Sequence[StoreEvent], told: Told) -> None:
        self._loop.call_soon_threadsafe(self._deliver, events, told)

    def _deliver(self, events: Sequence[StoreEvent], told: Told) -> None:
        if events:
            self._tail.append(events)  # first, so that watchers run before those who wait for the commit
        for future, outcome in told:
            if future.done():  # its caller was cancelled
                continue
            if isinstance(outcome, PodiumError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)


def _delete(revisions: Sequence[Revision], database: Database, _: Ledger) -> None:
    database.delete(revisions)
