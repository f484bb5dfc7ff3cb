"""emptyDir: a folder of the pod's own, which begins empty, outlives its containers and ends with it."""

from __future__ import annotations

from pathlib import Path

from nodelet.volumes.protocol import Request

OPEN_TO_ALL = 0o777


class EmptyDir:
    """Implements `Source`."""

    def set_up(self, request: Request) -> Path:
        """A folder at the volume's place; whoever runs in the pod may write there."""
        if not request.place.exists():
            request.place.mkdir()
            request.place.chmod(OPEN_TO_ALL)
        return request.place
