"""The thread that owns the database: group commit.

While one group of transactions is being synced, whatever arrives queues up and becomes the next group: one fsync for
all of them. Under load groups grow and the cost of an fsync vanishes; when idle a write goes straight to disk.

A transaction meets its compare-and-set check here, in the order in which groups are formed, so an answer always speaks
of committed state. Results and events of a group go to the event loop together, in order.

Relaxed transactions (`durable=False`) are ordered before the durable ones of their group and told at once; their rows
wait in a backlog, at most `RELAXED_DELAY` seconds and `BACKLOG_LIMIT` rows, for a group to be written with.

A write that fails (disk full) fails its whole group with Unavailable; nothing of it remains. The thread goes on, and
the backlog is tried again with every group.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter, Histogram

from master.store.database import Database
from master.store.ledger import Group, Ledger
from master.store.protocol import Mismatch, Op, Outcome, StoreEvent
from podium.errors import PodiumError, Unavailable
from podium.telemetry.log import get_logger

MAX_GROUP_TRANSACTIONS = 2_000
RELAXED_DELAY = 0.5
BACKLOG_LIMIT = 2_000

COMMIT_SECONDS = Histogram(
    "podium_master_store_commit_seconds",
    "Duration of writing one group of transactions to disk.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
)
COMMIT_ROWS = Histogram(
    "podium_master_store_commit_rows",
    "Rows written by one group.",
    buckets=(1, 4, 16, 64, 256, 1024, 4096),
)
COMMIT_FAILURES = Counter("podium_master_store_commit_failures", "Groups that could not be written.")

log = get_logger(__name__)

Told = Sequence[tuple[Any, Any]]
Deliver = Callable[[Sequence[StoreEvent], Told], None]
"""Takes a group's events and its (token, outcome or error) pairs; called on the committer's thread."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Independent transactions of one caller. `token` comes back with their outcomes."""

    transactions: Sequence[Sequence[Op]]
    durable: bool
    token: Any


@dataclass(frozen=True, slots=True)
class Call:
    """Something to do with the database between groups, when all that was acknowledged is written."""

    run: Callable[[Database, Ledger], Any]
    token: Any


class Committer:
    """See the module. `start` once, `submit` from any thread, `stop` writes what is left and ends the thread."""

    def __init__(self, database: Database, ledger: Ledger, deliver: Deliver) -> None:
        self._database = database
        self._ledger = ledger
        self._deliver = deliver
        self._jobs: queue.SimpleQueue[Commit | Call | None] = queue.SimpleQueue()
        self._backlog: list[StoreEvent] = []
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="podium-store", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, job: Commit | Call) -> None:
        """Queue a job; its outcome is delivered."""
        self._jobs.put(job)

    def stop(self) -> Future[None]:
        """Finish what is queued, close the database and end the thread; the future tells when."""
        self._jobs.put(None)
        return self._ended

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            while self._turn():
                pass
            self._database.close(clean=self._flush() is None)
        except BaseException as error:
            self._ended.set_exception(error)
            raise
        self._ended.set_result(None)

    def _turn(self) -> bool:
        jobs, stopping = self._drain()
        commits = [job for job in jobs if isinstance(job, Commit)]
        self._relaxed([job for job in commits if not job.durable])
        durable = [job for job in commits if job.durable]
        if durable:
            self._durable(durable)
        elif self._backlog and not commits:
            self._flush()  # it has waited for RELAXED_DELAY
        calls = [job for job in jobs if isinstance(job, Call)]
        if calls:
            self._deliver((), [(job.token, self._called(job)) for job in calls])
        return not stopping

    def _drain(self) -> tuple[list[Commit | Call], bool]:
        """What has queued up; waits for the first, though not longer than the backlog may."""
        jobs: list[Commit | Call] = []
        count = 0
        try:
            job = self._jobs.get(timeout=RELAXED_DELAY if self._backlog else None)
            while job is not None:
                jobs.append(job)
                count += len(job.transactions) if isinstance(job, Commit) else 1
                if count >= MAX_GROUP_TRANSACTIONS:
                    return jobs, False
                job = self._jobs.get_nowait()
        except queue.Empty:
            return jobs, False
        return jobs, True

    def _relaxed(self, commits: Sequence[Commit]) -> None:
        if not commits:
            return
        if len(self._backlog) >= BACKLOG_LIMIT and (error := self._flush()) is not None:
            self._deliver((), [(job.token, error) for job in commits])
            return
        group, told = self._stage(commits)
        group.accept()
        self._backlog += group.events
        self._deliver(group.events, told)

    def _durable(self, commits: Sequence[Commit]) -> None:
        group, told = self._stage(commits)
        error = self._write([*self._backlog, *group.events]) if group.events else None
        if error is not None:
            self._deliver((), [(job.token, error) for job in commits])
            return
        if group.events:
            self._backlog.clear()
            group.accept()
        self._deliver(group.events, told)

    def _stage(self, commits: Sequence[Commit]) -> tuple[Group, Told]:
        group = Group(self._ledger)
        return group, [(job.token, [_attempt(group, ops) for ops in job.transactions]) for job in commits]

    def _flush(self) -> PodiumError | None:
        error = self._write(self._backlog) if self._backlog else None
        if error is None:
            self._backlog.clear()
        return error

    def _write(self, events: Sequence[StoreEvent]) -> PodiumError | None:
        began = time.perf_counter()
        try:
            self._database.append(events)
        except sqlite3.Error as error:
            COMMIT_FAILURES.inc()
            log.error("the store cannot write", error=error, rows=len(events))
            return Unavailable(
                f"the store cannot write ({error}); nothing was changed: free some disk space, and retry"
            )
        COMMIT_SECONDS.observe(time.perf_counter() - began)
        COMMIT_ROWS.observe(len(events))
        return None

    def _called(self, job: Call) -> Any:
        error = self._flush()
        if error is not None:
            return error
        try:
            return job.run(self._database, self._ledger)
        except sqlite3.Error as failure:
            return Unavailable(f"the store cannot be read or changed ({failure}): check the disk")


def _attempt(group: Group, ops: Sequence[Op]) -> Outcome:
    try:
        return group.add(ops)
    except Mismatch as mismatch:
        return mismatch
