"""The node's own logins at registries: what `docker login` leaves in `$DOCKER_CONFIG` or `~/.docker`.

The `docker` package reads that file when a client is made, and never again while it has logins; a nodelet's client
lives for months. So the file is looked at before every pull, and read again when it is another than before.
"""

from __future__ import annotations

import os
import threading

from docker import APIClient
from docker.errors import InvalidConfigFile
from docker.utils.config import find_config_file

from nodelet.runtime.protocol import RuntimeFault

_MALFORMED = (InvalidConfigFile, ValueError, TypeError, KeyError, AttributeError)
"""How the package fails at JSON of another shape."""


def state_of_logins() -> str:
    """Where the file is, and what tells one state of it from another; empty when there is none."""
    path = find_config_file()
    if not isinstance(path, str):  # the package types it as anything that can be opened
        return ""
    try:
        found = os.stat(path)
    except OSError:  # gone since
        return ""
    return f"{path} {found.st_ino} {found.st_mtime_ns} {found.st_size}"


class Logins:
    """Keeps a client's logins those of the file. For the threads that pull."""

    def __init__(self) -> None:
        self._read: str | None = None
        self._reading = threading.Lock()

    def refresh(self, api: APIClient) -> None:
        """Read the file again unless it is as it was.

        Raises:
            RuntimeFault: ErrImagePull; the file is there, and is not what `docker login` leaves.
        """
        with self._reading:
            state = state_of_logins()
            if state == self._read:
                return
            try:
                api.reload_config()
            except _MALFORMED as error:
                raise RuntimeFault("ErrImagePull", f"{state.split()[0]} can't be read: {error}") from error
            self._read = state
