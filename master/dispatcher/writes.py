"""Writes by the batch: the newest write of each key, many keys a commit.

While one batch is being made durable the next gathers, so batches grow with load by themselves and a lone write waits
for nobody. One batch is in flight at a time: writes of one key never overtake each other.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from google.protobuf.message import Message
from prometheus_client import Counter, Histogram

from master.access.protocol import Principal, Write, Writer
from podium.aio.clock import Clock
from podium.aio.queue import Coalescing
from podium.errors import PodiumError
from podium.telemetry.log import get_logger

log = get_logger(__name__)

BATCH_LIMIT = 200
RETRY_SECONDS = 0.5

BATCH_SIZE = Histogram(
    "podium_master_inbox_batch_size", "Writes of one batch from nodes.", buckets=(1, 2, 5, 10, 20, 50, 100, 200)
)
WRITES = Counter("podium_master_inbox_writes_total", "Writes from nodes by outcome.", ["outcome"])


@dataclass(frozen=True, slots=True)
class Pending:
    """A write, and who is told how it ended: the written object, or the error."""

    write: Write
    done: Callable[[Message | PodiumError], None]


class BatchWriter:
    """See the module."""

    def __init__(self, writer: Writer, *, by: Principal, clock: Clock) -> None:
        self._writer = writer
        self._by = by
        self._clock = clock
        self._queue: Coalescing[Hashable, Pending] = Coalescing()

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, key: Hashable, pending: Pending) -> None:
        """Write soon; replaces what is pending for the key, whose `done` is then never called."""
        self._queue.put(key, pending)

    async def run(self) -> None:
        """Write for ever."""
        while True:
            batch = await self._queue.take(BATCH_LIMIT)
            if not await self._write(list(batch.values())):
                self._queue.put_back(batch)
                await self._clock.sleep(RETRY_SECONDS)

    async def _write(self, batch: list[Pending]) -> bool:
        BATCH_SIZE.observe(len(batch))
        try:
            results = await self._writer.write_many([p.write for p in batch], by=self._by)
        except PodiumError as error:
            log.warning("could not write what nodes reported; trying again", error_message=error.message)
            return False
        for pending, result in zip(batch, results, strict=True):
            WRITES.labels("refused" if isinstance(result, PodiumError) else "written").inc()
            pending.done(result)
        return True
