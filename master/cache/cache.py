"""The watch cache: every object in memory, at one revision; all reads and watches are served from it.

Objects are kept as stored and decoded, but for kinds that are seldom read (`master.cache.retention`).

It loads the store once and then follows its events in order. Each event updates the kind's table and indexes, joins the
kind's history (for watches), and is told to listeners (for subscriptions), all in one step of the event loop: who reads
between steps sees one consistent revision.

Writers read their own writes: they `wait_for` the revision that the store gave them. A writer that has the message at
hand lends it (`lend`) before committing, so that the cache need not decode a new object that has just been encoded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from prometheus_client import Gauge

from master.cache.guard import verify
from master.cache.history import History
from master.cache.item import Event, Item
from master.cache.retention import retention_of
from master.cache.table import Table
from master.store.protocol import Revision, Store, StoreEvent
from podium import collector
from podium.aio.clock import Clock
from podium.aio.tasks import forever
from podium.errors import Expired
from podium.objects.kinds import KINDS, Key

COOLING_SECONDS = 4.0
"""A message that is asked for less often than this is decoded anew: some five microseconds, for some six kilobytes that
it need not take. What a burst of writes has decoded at its height stays with the process, whatever is let go later."""
_COOLED_AT_ONCE = 5_000

ADOPTABLE = frozenset({"Pod", "ReplicaSet", "ControllerRevision"})
"""Kinds whose objects controllers adopt."""

OBJECTS = Gauge("podium_master_objects", "Objects stored.", ["kind"])

Listener = Callable[[Sequence[Event]], None]
"""Told of the events of its kind, in order, at once; must not block, await or raise."""


class WatchCache:
    """See the module. An async context manager: entering loads and follows; a failure to follow cancels the body.

    Args:
        detect_mutation: Check every superseded object against its bytes, and fail when a reader has changed it.
    """

    def __init__(self, store: Store, *, detect_mutation: bool = False) -> None:
        self._store = store
        self._detect_mutation = detect_mutation
        self._revision = 0
        self._tables = {
            kind.name: Table(by_node=kind.name == "Pod", adoptable=kind.name in ADOPTABLE) for kind in KINDS
        }
        self._histories: dict[str, History] = {}
        self._listeners: dict[str, list[Listener]] = {kind.name: [] for kind in KINDS}
        self._lent: dict[int, tuple[bytes, Any]] = {}
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._group = asyncio.TaskGroup()
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> WatchCache:
        await self._load()
        await self._group.__aenter__()
        self._following = self._group.create_task(forever("watch cache", self._follow), name="watch cache")
        return self

    async def __aexit__(self, *exc: Any) -> None:
        if self._following is not None:
            self._following.cancel()
        await self._group.__aexit__(*exc)

    # ------------------------------------------------------------ reading

    @property
    def revision(self) -> int:
        """The revision at which the cache is."""
        return self._revision

    @property
    def tables(self) -> Mapping[str, Table]:
        """The table of each kind."""
        return self._tables

    def history(self, kind: str) -> History:
        """The recent events of a kind."""
        return self._histories[kind]

    def get(self, key: Key) -> Item | None:
        """The object of this key."""
        return self._tables[key.kind].get(key.namespace, key.name)

    def check_known(self, revision: int) -> None:
        """Return when the cache has got to a revision.

        Raises:
            Expired: It is from another history: of a later time than a restored backup, or of another cluster.
        """
        if revision > self._revision:
            raise Expired(
                f"resourceVersion {revision} is not of this history, which is at {self._revision}; list again"
            )

    def follow(self, kinds: Sequence[str], listener: Listener) -> None:
        """Tell `listener` of events of these kinds, for as long as the cache lives."""
        for kind in kinds:
            self._listeners[kind].append(listener)

    @contextmanager
    def listening(self, kinds: Sequence[str], listener: Listener) -> Iterator[None]:
        """Tell `listener` of events of these kinds from now on."""
        self.follow(kinds, listener)
        try:
            yield
        finally:
            for kind in kinds:
                self._listeners[kind].remove(listener)

    async def wait_for(self, revision: int) -> None:
        """Return when the cache is at `revision` or later. A revision that the store gave is never waited for long."""
        if revision <= self._revision:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, future))
        await future

    def verify(self) -> None:
        """Compare every object with its bytes.

        Raises:
            AssertionError: Somebody changed an object that all share.
        """
        for table in self._tables.values():
            for item in table.scan():
                verify(item)

    async def cool(self, clock: Clock) -> None:
        """For ever: let messages go that nobody asked for in a while. A large cluster at rest is mostly bytes."""
        while True:
            await clock.sleep(COOLING_SECONDS)
            for table in self._tables.values():
                for number, item in enumerate(table.everything(), start=1):
                    item.cool()
                    if number % _COOLED_AT_ONCE == 0:
                        await asyncio.sleep(0)

    # ------------------------------------------------------------ lending

    def lend(self, value: bytes, message: Any) -> None:
        """Give the message that `value` encodes, to be used when `value` (this very object) arrives committed."""
        self._lent[id(value)] = (value, message)

    def take_back(self, value: bytes) -> None:
        """Undo `lend`, when the commit failed."""
        self._lent.pop(id(value), None)

    # ------------------------------------------------------------ following the store

    async def _load(self) -> None:
        entries, revision = await self._store.list()
        with collector.paused():
            for entry in entries:
                item = Item(entry.key, entry.value, entry.revision)
                self._tables[entry.key.kind].put(item)
                if retention_of(entry.key.kind).compact:
                    item.forget_message()
        self._revision = revision
        self._histories = {kind.name: History(revision, retention_of(kind.name)) for kind in KINDS}
        for name, table in self._tables.items():
            OBJECTS.labels(name).set_function(partial(getattr, table, "count"))

    async def _follow(self) -> None:
        batches: AsyncIterator[Sequence[StoreEvent]] = self._store.watch(Revision(self._revision))
        async for batch in batches:
            self._apply(batch)

    def _apply(self, batch: Sequence[StoreEvent]) -> None:
        told: dict[str, list[Event]] = {}
        for stored in batch:
            kind = stored.key.kind
            event = self._event(stored)
            self._histories[kind].append(event)
            told.setdefault(kind, []).append(event)
        self._revision = batch[-1].revision
        self._wake(told)

    def _event(self, stored: StoreEvent) -> Event:
        value, revision = stored.value, stored.revision
        table = self._tables[stored.key.kind]
        message = self._lent_for(value, revision)
        if message is not None and table.get(stored.key.namespace, stored.key.name) is not None:
            message = None  # it was changed in place, and so holds its former parts as well: decoded anew it is smaller
        item = Item(stored.key, value, revision, message)
        old = table.remove(stored.key) if stored.removed else table.put(item)
        if old is not None and self._detect_mutation:
            verify(old)
        return Event(old, item, stored.removed)

    def _lent_for(self, value: bytes, revision: int) -> Any:
        lent = self._lent.pop(id(value), None)
        if lent is None or lent[0] is not value:
            return None
        lent[1].metadata.resource_version = str(revision)
        return lent[1]

    def _wake(self, told: Mapping[str, list[Event]]) -> None:
        for kind, events in told.items():
            for listener in self._listeners[kind]:
                listener(events)
            _let_go(events, compact=retention_of(kind).compact)
            self._histories[kind].publish()
        while self._waiting and self._waiting[0][0] <= self._revision:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)


def _let_go(events: Sequence[Event], *, compact: bool) -> None:
    """Once told, what is past is bytes: who was told has the messages that it needs."""
    for event in events:
        event.change = None
        if event.old is not None:
            event.old.forget_message()
        if event.removed or compact:
            event.new.forget_message()
