"""Steady requests to a service, from outside the cluster, by every host's node port."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

PAUSE_SECONDS = 0.05
TIMEOUT_SECONDS = 10.0


@dataclass
class Load:
    """What became of the requests."""

    answered: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@contextmanager
def steady(addresses: Sequence[str], port: int) -> Iterator[Load]:
    """Ask all the while, each request over a connection of its own; ends on leaving."""
    load, over = Load(), threading.Event()
    threads = [threading.Thread(target=_ask, args=(address, port, load, over), daemon=True) for address in addresses]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join(2 * TIMEOUT_SECONDS)


def _ask(address: str, port: int, load: Load, over: threading.Event) -> None:
    while not over.wait(PAUSE_SECONDS):
        try:
            status = once(address, port)
        except OSError as error:
            load.failures.append(f"{_now()} {address}: {error!r}")
        else:
            if status == http.HTTPStatus.OK:
                load.answered[address] += 1
            else:
                load.failures.append(f"{_now()} {address}: {status}")


def once(address: str, port: int, timeout: float = TIMEOUT_SECONDS) -> int:
    """Ask once; the status of the answer.

    Raises:
        OSError: There was none.
    """
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        _ = response.read()
        return response.status
    except http.client.HTTPException as error:
        raise OSError(repr(error)) from error
    finally:
        connection.close()


def _now() -> str:
    return time.strftime("%H:%M:%S")
