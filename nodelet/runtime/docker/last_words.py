"""Termination messages: what a container left when it ended, in a file that is mounted into it.

Each run has a file of its own, named as its container and made right before it, on the engine's host: a file in the
container's `/dev` would go with the container. Whoever runs the container may write to it. Files whose container is no
more are swept with each whole listing, never sooner than a creation in flight can take. All methods block.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from nodelet.runtime.protocol import ContainerRecord, Logs, RuntimeDown, RuntimeFault
from podium.files import make_private_directory

LONGEST = 4096
LONGEST_OF_LOG, LINES_OF_LOG = 2048, 80
"""The kubelet's own bounds."""
_IN_FLIGHT_SECONDS = 600.0


class LastWords:
    """See the module."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        make_private_directory(directory)

    def prepare(self, container: str) -> Path:
        """The file for a container that is about to be made. Raises: OSError."""
        file = self._directory / container
        file.touch()
        file.chmod(0o666)  # past the umask: the container's user may be anybody
        return file

    def of(self, container: str) -> str:
        """What the container left; nothing if it has no file."""
        try:
            with (self._directory / container).open("rb") as file:
                return file.read(LONGEST).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def sweep(self, containers: Collection[str], now: float) -> None:
        """Remove the files of containers that are not among these. `now` is in seconds of the epoch."""
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if entry.name not in containers and now - entry.stat().st_mtime > _IN_FLIGHT_SECONDS:
                    Path(entry.path).unlink(missing_ok=True)


async def with_message(record: ContainerRecord, left: str, log: Logs | None) -> ContainerRecord:
    """An ended container with its message: what it left or, where it failed and its log may speak, that log's end."""
    if left or log is None or record.exit_code == 0:
        return replace(record, message=left)
    try:
        pieces = log.logs(record.id, follow=False, tail=LINES_OF_LOG, since=None, timestamps=False)
        text = b"".join([piece async for _, piece in pieces])
    except RuntimeDown:
        raise
    except RuntimeFault as fault:
        return replace(record, message=f"its log can't be read: {fault.message}")
    return replace(record, message=text[-LONGEST_OF_LOG:].decode(errors="replace"))
