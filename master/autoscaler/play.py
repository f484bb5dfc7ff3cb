"""`python -m master.autoscaler.play`: plays one job with Ansible, in a process of its own.

The job comes as one line of JSON on standard input, which stays open for as long as the master wants it done: when it
ends, the master has given up, or is no more, and so the play ends. The answer is one line of JSON: `failure`, empty
when it went well. A lock on the host's file keeps apart a play that was left over from a master that died and the one
that the next master begins.

A process of its own, because Ansible takes threads, signals and tens of megabytes that a master does without.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from podium.errors import PodiumError
from podium.provisioning import Event, Happened, play, playbook

_LOCK_SECONDS = 0.2


async def main() -> int:
    """Play what standard input says; returns the exit code, which is 0 whenever there is an answer."""
    order = json.loads(sys.stdin.readline())
    working = asyncio.create_task(_play(order), name="play")  # noqa: TID251 - a process for this one task
    loop = asyncio.get_running_loop()
    threading.Thread(target=_at_the_end, args=(loop, working), daemon=True).start()
    try:
        failure = await working
    except asyncio.CancelledError:
        return 1
    sys.stdout.write(json.dumps({"failure": failure}) + "\n")
    sys.stdout.flush()
    return 0


def _at_the_end(loop: asyncio.AbstractEventLoop, working: asyncio.Task[str]) -> None:
    """Wait until nobody wants it done any more."""
    sys.stdin.read()
    loop.call_soon_threadsafe(working.cancel)


async def _play(order: dict[str, Any]) -> str:
    """Play a job; why it failed."""
    async with _locked(Path(order["lock"])):
        with _Log(Path(order["log"])) as log:
            try:
                outcome = await play(
                    _playbook(order["playbook"]),
                    Path(order["inventory"]),
                    tell=log.note,
                    extra=order["variables"],
                    key=base64.b64decode(order["key"]),
                    timeout=order["seconds"],
                )
            except PodiumError as error:
                return error.message
            log.line(outcome.sentence)
    return "" if outcome.ok else _without_host(outcome.sentence, [result.host for result in outcome.failed])


def _playbook(name: str) -> Path:
    return Path(name) if os.path.isabs(name) else playbook(name)


def _without_host(sentence: str, hosts: list[str]) -> str:
    """There is one host: whoever reads this knows which."""
    return sentence.removeprefix(f"{hosts[0]}: ") if hosts else sentence


class _Log:
    """What was done with a host, line by line, with the seconds since it began."""

    def __init__(self, path: Path) -> None:
        self._path, self._began = path, asyncio.get_running_loop().time()

    def __enter__(self) -> _Log:
        self._file = self._path.open("w")
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def line(self, text: str) -> None:
        """Add one."""
        self._file.write(f"{asyncio.get_running_loop().time() - self._began:7.1f} s  {text}\n")
        self._file.flush()

    def note(self, event: Event) -> None:
        """Add what is worth it."""
        if event.what not in (Happened.STARTED, Happened.SKIPPED, Happened.TASK):
            self.line(f"{event.what.value:<12}{event.task}{f': {event.message}' if event.message else ''}")


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """The lock of a host, waited for."""
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOCK_SECONDS)
        yield


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(asyncio.run(main()))
