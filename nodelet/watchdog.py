"""The watchdog: kills containers that must not run twice when their lease is over and the nodelet does not act. It lets
the addresses of pools go, too, for which another node answers by then.

    python -m nodelet.watchdog DATA-DIR DOCKER-SOCKET

A nodelet that is frozen, killed or gone leaves its containers running. This process is its own session, so that it
survives the nodelet; it holds no connection and remembers nothing. Twice a second it reads the lease that the nodelet
keeps on disk, and when `kill_at` has passed by more than a turn it kills, by label, as long as anything is left. An
alive nodelet moves `kill_at` on with every answer of the master, and past the grace of the pods that it is stopping.

One runs on a host: a new one ends the one before, which may be of another version. It is deliberately small: plain
blocking code on the standard library.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nodelet.state.lease_file import EXCLUSIVE_LABEL, LeaseFile, boot_id, since_boot

TURN_SECONDS = 1.0
LOOK_SECONDS = 0.5
LOCK = "watchdog.lock"
POOL_DEVICE = "podium0"
_ENGINE_SECONDS = _IP_SECONDS = 5.0


def is_due(lease: dict[str, Any] | None, now: float, boot: str) -> bool:
    """Whether exclusive containers must not run any more. Total: what is no lease is none."""
    if lease is None or lease.get("boot") != boot:
        return False  # of an earlier boot nothing runs, and what a nodelet starts now has its consent
    kill_at = lease.get("kill_at")
    return isinstance(kill_at, float | int) and now >= kill_at + TURN_SECONDS


class Watch:
    """Looks, again and again.

    Args:
        withdraw: Lets addresses of pools go; whether that was done.
    """

    def __init__(self, engine: Engine, withdraw: Callable[[], bool]) -> None:
        self._engine, self._withdraw = engine, withdraw
        self._withdrawn = False

    def look(self, lease: dict[str, Any] | None, *, now: float, boot: str) -> int:
        """One look; how many containers were killed. What could not be done is tried again at the next."""
        due = is_due(lease, now, boot)
        self._withdrawn = due and (self._withdrawn or self._withdraw())
        return _kill_all(self._engine) if due else 0


def withdraw(device: str = POOL_DEVICE) -> bool:
    """Answer for no address of a pool any more: they are those of scope `host` on the nodelet's device."""
    command = ("ip", "-4", "address", "flush", "dev", device, "scope", "host")
    try:
        subprocess.run(command, capture_output=True, timeout=_IP_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        _say(f"addresses of pools cannot be let go: {error}")
        return isinstance(error, FileNotFoundError)  # no use in trying again
    return True


class Engine:
    """As much of the Docker Engine's API as is needed, over its socket."""

    def __init__(self, path: str) -> None:
        self._path = path

    def running(self) -> list[str]:
        """Ids of the exclusive containers that run.

        Raises:
            OSError: The engine does not answer.
        """
        filters = quote(json.dumps({"label": [f"{EXCLUSIVE_LABEL}=true"], "status": ["running", "paused"]}))
        found = json.loads(self._ask("GET", f"/containers/json?filters={filters}") or b"[]")
        return [str(container["Id"]) for container in found]

    def kill(self, container: str) -> None:
        """Send SIGKILL; a container that has ended is left.

        Raises:
            OSError: The engine does not answer.
        """
        self._ask("POST", f"/containers/{container}/kill")

    def _ask(self, method: str, path: str) -> bytes:
        connection = http.client.HTTPConnection("docker", timeout=_ENGINE_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(_ENGINE_SECONDS)
        try:
            connection.sock.connect(self._path)
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()
        return body if response.status < 400 else b""


def _kill_all(engine: Engine) -> int:
    try:
        doomed = engine.running()
        for container in doomed:
            engine.kill(container)
    except (OSError, ValueError) as error:
        _say(f"the engine can't be told to stop exclusive containers: {error}")
        return 0
    if doomed:
        _say(f"the lease is over and the nodelet does not act: killed {len(doomed)} containers that must not run twice")
    return len(doomed)


def watch(directory: Path, engine: Engine, stopping: Callable[[float], bool]) -> None:
    """Look until `stopping(seconds)`, which waits that long, says that it is enough, or the directory is gone: then
    the host is no node any more."""
    file, boot, watching = LeaseFile(directory), boot_id(), Watch(engine, withdraw)
    while not stopping(LOOK_SECONDS) and (directory / LOCK).exists():
        watching.look(file.read(), now=since_boot(), boot=boot)


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Be the only watchdog of this directory; the one before is asked to end, and waited for."""
    file = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with suppress(ValueError, ProcessLookupError):
                os.kill(int(os.pread(file, 32, 0)), signal.SIGTERM)
            fcntl.flock(file, fcntl.LOCK_EX)
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(file)


def start(directory: Path, socket_path: str) -> subprocess.Popen[bytes]:
    """Start a watchdog that outlives this process.

    Raises:
        OSError: No process could be made.
    """
    command = [sys.executable, "-m", "nodelet.watchdog", str(directory), socket_path]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)


def main() -> None:
    """See the module."""
    directory, socket_path = Path(sys.argv[1]), sys.argv[2]
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    with alone(directory):
        watch(directory, Engine(socket_path), ended.wait)


def _say(sentence: str) -> None:
    print(f"level=warning logger=nodelet.watchdog msg={json.dumps(sentence)}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
