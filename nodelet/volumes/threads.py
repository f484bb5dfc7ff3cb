"""Work on file systems that may never answer (a dead NFS server, a disk that hangs), kept from harming anything else.

It has threads of its own, so that nothing but volumes waits when all are stuck. Work that takes too long is given up as
a fault, but can't be stopped: as long as it lasts, no other is begun under its key, so a pod that is tried again and
again holds one thread, not all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from nodelet.volumes.protocol import VolumeFault

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 16
PATIENCE_SECONDS = 60.0


class Threads:
    """See the module."""

    def __init__(self, *, patience: float = PATIENCE_SECONDS) -> None:
        self._pool, self._patience = ThreadPoolExecutor(THREADS, thread_name_prefix="volumes"), patience
        self._running: set[str] = set()

    async def run(self, key: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns or raises.

        Raises:
            VolumeFault: It takes too long, or an earlier one under this key still does.
        """
        if key in self._running:
            raise VolumeFault("an earlier attempt has not come to its end: is every file system that it needs there?")
        self._running.add(key)
        done = asyncio.get_running_loop().run_in_executor(self._pool, lambda: work(*args, **kwargs))
        done.add_done_callback(lambda future: self._ended(key, future))
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(done)
        except TimeoutError:
            raise VolumeFault(f"not done within {self._patience:g} s, still waiting for a file system") from None

    def _ended(self, key: str, future: asyncio.Future[T]) -> None:
        self._running.discard(key)
        if not future.cancelled():
            _ = future.exception()  # whoever asked may have given up
