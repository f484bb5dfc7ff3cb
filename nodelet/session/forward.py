"""A TCP connection into a pod, made as from inside it, so that what listens on the pod's localhost is reached too."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from concurrent.futures import ThreadPoolExecutor

CONNECT_SECONDS = 10.0
_CLONE_NEWNET = 0x40000000


async def connect(netns_path: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to `port` on the localhost of a network namespace (`/proc/PID/ns/net`).

    Raises:
        OSError: Nothing listens there, or the namespace is gone.
        TimeoutError: No answer.
    """
    loop = asyncio.get_running_loop()
    # A namespace belongs to a thread; a thread that has entered one is used for nothing else afterwards.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="netns") as thread:
        raw = await loop.run_in_executor(thread, _connect, netns_path, port)
    return await asyncio.open_connection(sock=raw)


def _connect(netns_path: str, port: int) -> socket.socket:
    _enter(netns_path)
    error: OSError | None = None
    for address in ("127.0.0.1", "::1"):
        try:
            raw = socket.create_connection((address, port), timeout=CONNECT_SECONDS)
        except OSError as failed:
            error = error or failed
            continue
        raw.setblocking(False)
        return raw
    assert error is not None
    raise error


def _enter(netns_path: str) -> None:
    handle = os.open(netns_path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"can't enter {netns_path}: {os.strerror(number)}")
    finally:
        os.close(handle)
