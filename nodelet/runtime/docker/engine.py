"""Calls to the Docker Engine, off the event loop.

The `docker` package blocks, so each call runs in a bounded pool of threads, with room for reads beside as many starts
as an engine takes at once (a few per core). Every failure leaves here as a `RuntimeFault` with the reason that the
caller names, and as `RuntimeDown` when nobody answers on the socket.

Two things make calls cheap. All of them share one pool of kept-alive connections (the package's own adapter keeps a
pool per URL, so with names in URLs it never finds a used one), and the environment is not searched for proxies and
credentials at each of them.

The client is built at first use, in a pool thread, because building it talks to the engine to agree on a version: a
nodelet may well start before dockerd does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import docker.errors
import requests.exceptions
from docker import APIClient
from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool

from nodelet.runtime.protocol import RuntimeDown, RuntimeFault

T = TypeVar("T")

DEFAULT_SOCKET = "/var/run/docker.sock"
CALL_TIMEOUT = 120
"""Seconds that one call may take; a start on a loaded disk takes many, a lost answer must not take for ever."""
PARALLEL_PULLS = 3
OLDEST_API = "1.41"
"""That of Docker 20.10, the oldest engine supported."""


class NotFound(RuntimeFault):
    """The engine knows no such container, image or exec."""


class Conflict(RuntimeFault):
    """The name is taken, or the object is not in a state for this."""


class _Connection(UnixHTTPConnection):
    """The package's connection, which keeps no socket that could not be connected."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(self.unix_socket)
        except BaseException:
            self.close()
            raise


class _Pool(UnixHTTPConnectionPool):
    def _new_conn(self) -> _Connection:  # type: ignore[override]  # as the package does
        return _Connection(self.base_url, self.socket_path, CALL_TIMEOUT)


class _OnePool(UnixHTTPAdapter):
    """The package's transport, with one connection pool for all URLs."""

    def get_connection(self, url: bytes | str, proxies: Any = None) -> UnixHTTPConnectionPool:
        with self.pools.lock:
            if (pool := self.pools.get(_Pool)) is None:
                pool = self.pools[_Pool] = _Pool("docker", self.socket_path, CALL_TIMEOUT, maxsize=self.max_pool_size)
            return cast(UnixHTTPConnectionPool, pool)


def _client(socket_path: str, version: str, threads: int) -> APIClient:
    url = f"unix://{socket_path}"
    client = APIClient(base_url=url, version=version, timeout=CALL_TIMEOUT)
    client.mount("http+docker://", _OnePool(f"http+{url}", CALL_TIMEOUT, max_pool_size=threads))
    client.trust_env = False
    return client


def _connect(socket_path: str, threads: int) -> APIClient:
    """A client that speaks the engine's own version of the API."""
    with contextlib.closing(_client(socket_path, OLDEST_API, 1)) as first:
        version = str(first.version(api_version=False)["ApiVersion"])
    return _client(socket_path, version, threads)


def fault_of(reason: str, error: docker.errors.APIError) -> RuntimeFault:
    """The fault for an answer that says no, with the engine's own words."""
    message = str(error.explanation or error).strip()
    match error.status_code:
        case 404:
            return NotFound(reason, message)
        case 409:
            return Conflict(reason, message)
        case _:
            return RuntimeFault(reason, message)


class Engine:
    """One Docker Engine on a Unix socket."""

    def __init__(self, socket_path: str = DEFAULT_SOCKET, *, threads: int | None = None) -> None:
        self.socket_path = socket_path
        self._threads = threads or min(max(8 * (os.cpu_count() or 1), 16), 64)
        self._calls = ThreadPoolExecutor(self._threads, thread_name_prefix="docker")
        self._pulls = ThreadPoolExecutor(PARALLEL_PULLS, thread_name_prefix="docker-pull")
        self._connecting = threading.Lock()
        self._client: APIClient | None = None

    async def call(self, reason: str, work: Callable[[APIClient], T]) -> T:
        """Run `work` in a pool thread; several requests that belong together are best made in one.

        Raises:
            RuntimeFault: The engine said no (`NotFound`, `Conflict` when it is one of these); `reason` is kept.
            RuntimeDown: It does not answer.
        """
        return await asyncio.get_running_loop().run_in_executor(self._calls, self._guarded, reason, work)

    async def long_call(self, reason: str, work: Callable[[APIClient], T]) -> T:
        """The same for what may take minutes, in threads of its own."""
        return await asyncio.get_running_loop().run_in_executor(self._pulls, self._guarded, reason, work)

    def _guarded(self, reason: str, work: Callable[[APIClient], T]) -> T:
        try:
            return work(self._connected())
        except docker.errors.APIError as error:
            raise fault_of(reason, error) from error
        except requests.exceptions.Timeout as error:
            raise RuntimeFault("RuntimeTimeout", f"no answer within {CALL_TIMEOUT} s ({reason})") from error
        except (requests.exceptions.RequestException, docker.errors.DockerException) as error:
            raise RuntimeDown(f"no Docker Engine on {self.socket_path}: {error}") from error

    def _connected(self) -> APIClient:
        with self._connecting:
            if self._client is None:
                self._client = _connect(self.socket_path, self._threads)
            return self._client

    async def close(self) -> None:
        """Give the threads back; a call in flight ends by itself, unheard."""
        self._calls.shutdown(wait=False, cancel_futures=True)
        self._pulls.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()
