"""The SQLite file: its schema, its settings, and the statements that are run on it. Blocking; used by one thread.

One table holds everything: a log, appended to in order of revisions, in which a key's newest row is its value. There
are no further indexes to keep up, so a write costs one B-tree append; which rows are alive is known in memory
(`Ledger`). Compaction deletes dead rows.

Settings: WAL, so that a commit is one sequential write and one fsync (`synchronous=FULL`). Rows go in by statements of
many rows each, a small group by a single one that is its own transaction, because sqlite3 gives up Python's interpreter
lock at every step of a statement and, beside a busy event loop, waits up to 5 ms to get it back.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from master.store.ledger import Ledger
from master.store.protocol import Entry, Revision, StoreEvent
from podium.errors import Internal
from podium.objects.kinds import Key

SCHEMA_VERSION = 1
APPLICATION_ID = 0x506F6469  # "Podi"
# After a crash, revisions jump by this much: larger than the number of relaxed writes that can ever be unwritten, so
# that no revision which somebody has seen is given out twice.
CRASH_GAP = 100_000

_SCHEMA = """
BEGIN;
CREATE TABLE log (
  revision  INTEGER PRIMARY KEY,
  kind      TEXT    NOT NULL,
  namespace TEXT    NOT NULL,
  name      TEXT    NOT NULL,
  created   INTEGER NOT NULL,
  removed   INTEGER NOT NULL,
  value     BLOB    NOT NULL
);
CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE gaps (after INTEGER PRIMARY KEY, upto INTEGER NOT NULL);
INSERT INTO facts VALUES ('floor', 0), ('revision', 0), ('clean', 1);
"""
_STAMP = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"

_COLUMNS = 7
_LARGE_CHUNK, _SMALL_GROUP = 512, 64
_INSERTS = {
    rows: "INSERT INTO log VALUES " + ",".join(["(" + ",".join("?" * _COLUMNS) + ")"] * rows)  # noqa: S608  only "?"
    for rows in (_LARGE_CHUNK, *range(1, _SMALL_GROUP + 1))
}
_PREPARED = 128  # statements that sqlite3 keeps prepared: all of these, and the others here
_DELETE_CHUNK = 512


class DatabaseUnusable(Internal):
    """The file is damaged, foreign, of a newer version, or in use. The message says which, and what to do."""


class Database:
    """An open database. Make one with `open`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: IO[bytes]) -> None:
        self.path = path
        self._connection = connection
        self._lock = lock
        self.floor = Revision(self._fact("floor"))
        self.gaps: list[tuple[Revision, Revision]] = connection.execute("SELECT after, upto FROM gaps").fetchall()

    @classmethod
    def open(cls, path: Path) -> tuple[Database, Ledger]:
        """Open or create a database, check it, and read which keys exist.

        Raises:
            DatabaseUnusable: See there.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(path)
        try:
            with _explained(path):
                connection = sqlite3.connect(
                    path, isolation_level=None, check_same_thread=False, cached_statements=_PREPARED
                )
                _prepare(path, connection)
                database = cls(path, connection, lock)
                return database, database._recover()
        except BaseException:
            lock.close()
            raise

    def _recover(self) -> Ledger:
        ledger = self._read_ledger()
        if not self._fact("clean"):
            after, upto = ledger.revision, Revision(ledger.revision + CRASH_GAP)
            self.gaps.append((after, upto))
            ledger.revision = upto
            with self._transaction():
                self._connection.execute("INSERT OR REPLACE INTO gaps VALUES (?, ?)", (after, upto))
                self._set_fact("revision", upto)
        self._set_fact("clean", 0)
        return ledger

    def _read_ledger(self) -> Ledger:
        ledger = Ledger()
        rows = self._connection.execute(
            "SELECT revision, kind, namespace, name, created, removed FROM log ORDER BY revision"
        ).fetchall()
        for revision, kind, namespace, name, created, removed in rows:
            ledger.apply(revision, Key(kind, namespace, name), created, bool(removed))
        ledger.revision = max(ledger.revision, Revision(self._fact("revision")))
        return ledger

    def append(self, events: Sequence[StoreEvent]) -> None:
        """Write events in one transaction; on return they are on disk.

        Raises:
            sqlite3.Error: Nothing was written.
        """
        if len(events) <= _SMALL_GROUP:
            self._insert(events)
            return
        with self._transaction():
            start = 0
            for rows in (_LARGE_CHUNK, _SMALL_GROUP):
                while len(events) - start >= rows:
                    self._insert(events[start : start + rows])
                    start += rows
            if start < len(events):
                self._insert(events[start:])

    def _insert(self, events: Sequence[StoreEvent]) -> None:
        values = [value for event in events for value in _row(event)]
        self._connection.execute(_INSERTS[len(events)], values)

    def read(self, ledger: Ledger, kind: str, namespace: str) -> list[Entry]:
        """Live entries, in order of revision."""
        return [
            Entry(key, event.value, event.created, event.revision)
            for event in self._select("(? IN ('', kind)) AND (? IN ('', namespace)) AND NOT removed", kind, namespace)
            if (head := ledger.heads.get(key := event.key)) is not None and head.revision == event.revision
        ]

    def value_at(self, revision: Revision) -> bytes:
        """The value written at a revision that is alive."""
        [[value]] = self._connection.execute("SELECT value FROM log WHERE revision = ?", (revision,))
        return bytes(value)

    def events(self, after: Revision, limit: int) -> list[StoreEvent]:
        """Events after a revision, oldest first."""
        return self._select("revision > ?", after, limit=limit)

    def _select(self, where: str, *arguments: object, limit: int = -1) -> list[StoreEvent]:
        rows = self._connection.execute(
            "SELECT revision, kind, namespace, name, created, removed, value FROM log"  # noqa: S608  `where` is ours
            f" WHERE {where} ORDER BY revision LIMIT {limit}",
            arguments,
        ).fetchall()
        return [StoreEvent(r, Key(k, ns, n), value, bool(removed), c) for r, k, ns, n, c, removed, value in rows]

    def raise_floor(self, floor: Revision) -> None:
        """From now on only what happened after `floor` can be watched."""
        with self._transaction():
            self._set_fact("floor", floor)
            self._connection.execute("DELETE FROM gaps WHERE upto <= ?", (floor,))
        self.floor = floor
        self.gaps = [gap for gap in self.gaps if gap[1] > floor]

    def delete(self, revisions: Sequence[Revision]) -> None:
        """Delete some rows for good."""
        with self._transaction():
            for start in range(0, len(revisions), _DELETE_CHUNK):
                chunk = revisions[start : start + _DELETE_CHUNK]
                marks = ",".join("?" * len(chunk))
                self._connection.execute(f"DELETE FROM log WHERE revision IN ({marks})", chunk)  # noqa: S608  only "?"

    def remember_revision(self, revision: Revision) -> None:
        """Keep the newest revision apart from the log, before the rows that prove it are deleted."""
        self._set_fact("revision", revision)

    def close(self, *, clean: bool) -> None:
        """Close the file. `clean`: everything that was acknowledged or seen is written."""
        with _explained(self.path):
            if clean:
                self._set_fact("clean", 1)
            self._connection.close()
        self._lock.close()

    def _fact(self, name: str) -> int:
        [[value]] = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,))
        return int(value)

    def _set_fact(self, name: str, value: int) -> None:
        self._connection.execute("UPDATE facts SET value = ? WHERE name = ?", (value, name))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def copy(path: Path, to: Path) -> Revision:
    """Write a consistent, checked copy of a database in use; returns its revision.

    Raises:
        DatabaseUnusable: The copy cannot be written or read.
    """
    partial = to.with_name(to.name + ".partial")
    partial.unlink(missing_ok=True)
    with _explained(path):
        source = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        try:
            source.execute("VACUUM INTO ?", (str(partial),))
        finally:
            source.close()
    with _explained(partial):
        revision = _newest(partial)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(to)
    return revision


def values(path: Path, kind: str) -> Iterator[tuple[Key, bytes]]:
    """Every value of a kind in a file that nobody writes, superseded ones and removals included.

    Raises:
        DatabaseUnusable: It cannot be read.
    """
    with _explained(path):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        try:
            for namespace, name, value in connection.execute(
                "SELECT namespace, name, value FROM log WHERE kind = ?", (kind,)
            ):
                yield Key(kind, namespace, name), bytes(value)
        finally:
            connection.close()


def advance(path: Path, at_least: Revision) -> Revision:
    """Let the next revision of a file that nobody has open be above `at_least`; what is skipped was never acknowledged.

    Returns the revision that it is at now. For restored copies: the store that they come from went on, and what it gave
    out must not be given out again with another meaning.

    Raises:
        DatabaseUnusable: It cannot be written.
    """
    now = _newest(path)
    upto = Revision(max(at_least, now + CRASH_GAP))
    with _explained(path):
        connection = sqlite3.connect(path)
        try:
            with connection:
                connection.execute("INSERT OR REPLACE INTO gaps VALUES (?, ?)", (now, upto))
                connection.execute("UPDATE facts SET value = ? WHERE name = 'revision'", (upto,))
        finally:
            connection.close()
    return upto


def _newest(path: Path) -> Revision:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        [[revision]] = connection.execute(
            "SELECT max(coalesce((SELECT max(revision) FROM log), 0),"
            " (SELECT value FROM facts WHERE name = 'revision'))"
        )
        return Revision(revision)
    finally:
        connection.close()


def _row(event: StoreEvent) -> tuple[object, ...]:
    key = event.key
    return (event.revision, key.kind, key.namespace, key.name, event.created, event.removed, event.value)


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA busy_timeout = 5000")
    [[application]] = connection.execute("PRAGMA application_id")
    [[version]] = connection.execute("PRAGMA user_version")
    [[tables]] = connection.execute("SELECT count(*) FROM sqlite_master")
    fresh = (application, version, tables) == (0, 0, 0)
    if not fresh and application != APPLICATION_ID:
        raise DatabaseUnusable(f"{path} is not a Podium database; choose another --data-dir")
    if version > SCHEMA_VERSION:
        raise DatabaseUnusable(
            f"{path} has schema version {version}, and this master knows up to {SCHEMA_VERSION}: run a newer master"
        )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    if fresh:
        connection.executescript(_SCHEMA + _STAMP)
    [[verdict]] = connection.execute("PRAGMA quick_check(1)")
    if verdict != "ok":
        raise DatabaseUnusable(f"{path} is damaged ({verdict}): restore a backup")


def _lock(path: Path) -> IO[bytes]:
    file = path.with_name(path.name + ".lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise DatabaseUnusable(f"{path} is in use by another master") from None
    return file


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise DatabaseUnusable(f"{path} cannot be used ({error}): check the disk, or restore a backup") from error
