"""What node lifecycle needs to know of sessions; the dispatcher implements it, `master.app` joins the two."""

from __future__ import annotations

from typing import Protocol


class Liveness(Protocol):
    """Who was heard when. All of it is memory of this master process: nothing survives its restart."""

    def last_heard(self, node: str) -> float | None:
        """When anything arrived from the node, in the Clock's monotonic seconds; None: never since this master started.

        Stays after the session ends, until the node is heard again.
        """
        ...

    def connected(self, node: str) -> bool:
        """Whether the node holds a session now."""
        ...

    async def changed(self, after: int) -> int:
        """Wait until the count of sessions begun or ended since start exceeds `after`; returns that count.

        Returns at once when it already does, so a caller that passes what it last got misses no change.
        """
        ...
