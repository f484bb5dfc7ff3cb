"""The folder and the processes of one run of Ansible; neither outlives it.

The folder can be entered by its owner only, and lies in memory where the host has a place for that. Every process of a
run has the folder's path in its environment, and is found by it: Ansible's workers and the connections that SSH keeps
are sessions of their own, and no signal to a group reaches them. Both functions block.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from podium.telemetry.log import get_logger

log = get_logger(__name__)

MARK = "PODIUM_PLAY"
"""The variable of the environment that holds the folder."""
_PREFIX = "podium-play-"
_MEMORY = Path("/dev/shm")  # noqa: S108 — the folder made in it is private
_ROUNDS = 3
"""How often processes are looked for: one may fork while they are ended."""


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for one run; processes that have it as their `MARK` are ended, and it is removed, afterwards.

    What a run left behind whose process was killed is removed before.
    """
    place = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    _sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=place))
    try:
        yield folder
    finally:
        end_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)


def end_processes(folder: Path) -> None:
    """End every process of a run; those of other users are left."""
    for _ in range(_ROUNDS):
        found = list(_processes(folder))
        for process in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        if not found:
            return


def _processes(folder: Path) -> Iterator[int]:
    mark = f"{MARK}={folder}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):  # it has ended, or is another user's
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)


def _sweep(place: Path) -> None:
    for folder in place.glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists() and folder.lstat().st_uid == os.getuid():
            log.info("removing what a run of Ansible left behind", folder=str(folder))
            end_processes(folder)
            shutil.rmtree(folder, ignore_errors=True)
