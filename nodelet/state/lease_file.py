"""The lease on disk, as JSON: read by a nodelet that starts, and by the watchdog of one that does not act any more.

`kill_at` (seconds since boot) and `boot` (its id) are all that the watchdog needs; the rest is for a nodelet that goes
on where the last one was. Without a file nothing is fenced. The file has its size from the start and is written in
place: a full disk must not make a lease look as if it were not renewed. Who meets a half-written one reads again.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

NAME = "lease.json"
SIZE = 16 * 1024

EXCLUSIVE_LABEL = "podium.dev/exclusive"
"""Of containers that must not run twice: what the watchdog kills when their lease is over."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def since_boot() -> float:
    """Seconds since the host booted, those in which it was suspended included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Which boot this is; empty when the kernel does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


class LeaseFile:
    """See the module. Methods block for file I/O."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME

    def read(self) -> dict[str, Any] | None:
        """What was kept last; None when nothing was, or it can't be read now."""
        try:
            found = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def write(self, lease: dict[str, Any]) -> None:
        """Keep it; not flushed, since a file that is lost with the host's power is one of another boot.

        Raises:
            OSError: It can't be written.
            ValueError: It is too large.
        """
        text = json.dumps(lease).encode().ljust(SIZE)
        if len(text) > SIZE:
            raise ValueError(f"a lease of {len(text)} bytes does not fit")
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.pwrite(file, text, 0)
        finally:
            os.close(file)
