"""What the pod manager takes and gives. The session fills both ends; tests put recorders there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from podium.objects.references import Objects
from podium.v1.core_pb2 import Pod, PodStatus


class StatusSink(Protocol):
    """Where statuses go; the newest of a pod replaces an older one not yet sent. Never blocks."""

    def report(self, pod: Pod, status: PodStatus, *, gone: bool) -> None:
        """`gone`: nothing of the pod is left on this host, its object may be removed."""
        ...


class EventSink(Protocol):
    """Where events about pods go (`type` is Normal or Warning). Never blocks."""

    def event(self, pod: Pod, type: str, reason: str, message: str) -> None: ...


class Assignable(Protocol):
    """The pod manager, as the session sees it."""

    def assign(self, pods: Mapping[str, Pod], objects: Objects) -> None:
        """Everything that should be here now: pods by uid, and the objects that they use. Returns at once."""
        ...

    def resume(self, pods: Mapping[str, Pod], objects: Objects) -> None:
        """What was assigned when it was last written down: nothing follows for pods that are not among them."""
        ...

    def drained(self, pods: Mapping[str, bool]) -> None:
        """No node leads to these pods any more, by uid; the value says whether services ever led to it."""
        ...
