"""A network of the test's own: what the loop starts, and its threads, are in a network namespace without any link."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def _succeed(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), what)


@asynccontextmanager
async def own_network() -> AsyncIterator[None]:
    """Enter a new network namespace, and leave it at the end. Needs root.

    Raises:
        OSError: The kernel refused.
    """
    before = os.open(Path("/proc/thread-self/ns/net"), os.O_RDONLY)
    _succeed(_LIBC.unshare(_CLONE_NEWNET), "unshare")
    loop = asyncio.get_running_loop()
    threads = ThreadPoolExecutor(4)  # a thread is born into the namespace of the one that starts it
    loop.set_default_executor(threads)
    try:
        yield
    finally:
        loop.set_default_executor(ThreadPoolExecutor())
        threads.shutdown()
        _succeed(_LIBC.setns(before, _CLONE_NEWNET), "setns")
        os.close(before)
