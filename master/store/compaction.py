"""Regular compaction: history is kept for a while, then forgotten."""

from __future__ import annotations

from master.store.protocol import Store
from podium.aio.clock import Clock
from podium.errors import Unavailable
from podium.telemetry.log import get_logger

INTERVAL = 300.0

log = get_logger(__name__)


class Compactor:
    """Every `interval` seconds forgets what is older than the interval before: between one and two are kept."""

    def __init__(self, *, store: Store, clock: Clock, interval: float = INTERVAL) -> None:
        self._store = store
        self._clock = clock
        self._interval = interval

    async def run(self) -> None:
        """Compact for ever."""
        before = self._store.revision
        while True:
            await self._clock.sleep(self._interval)
            now = self._store.revision
            try:
                await self._store.compact(before)
            except Unavailable as error:
                log.warning("could not compact the store; will try again", error=error)
            else:
                before = now
