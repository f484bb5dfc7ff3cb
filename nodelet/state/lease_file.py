"""The lease on disk, as JSON: read by a nodelet that starts, and by the watchdog of one that does not act any more.

`until` (seconds since boot) and `boot` (its id) are all that the watchdog needs; the rest is for a nodelet that goes on
where the last one was. Without a file nothing is fenced.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

NAME = "lease.json"
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
        self._path = directory / NAME

    def read(self) -> dict[str, Any] | None:
        """What was kept last; None when nothing was, or it can't be read."""
        try:
            found = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def write(self, lease: dict[str, Any]) -> None:
        """Keep it. Atomic, but not flushed: a file lost with the host's power is one of another boot.

        Raises:
            OSError: It can't be written.
        """
        aside = self._path.with_suffix(".new")
        aside.write_text(json.dumps(lease))
        aside.replace(self._path)
