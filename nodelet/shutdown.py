"""The host is going to shut down: its pods are replaced elsewhere first, then end here, the critical ones last.

    announce ─► the node is not Ready (reason NodeShutdown), and so gets no more pods, and loses those that it has
             ─► the master evicts what has a controller, by budgets; which makes it anew elsewhere; that is waited for
             ─► ordinary pods end, then critical ones; each has its own grace period, or what is left of the host's

What is said to the master is a status like any other; without a master all of it happens but the replacing. A nodelet
that is restarted knows nothing of it: a shutdown is told by the host's service manager (`podium-nodelet drain-host`).
As Kubernetes' graceful node shutdown (KEP-2000) has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from podium.aio.clock import Clock
from podium.objects.meta import is_terminating
from podium.objects.owners import controller_of
from podium.objects.pod import is_critical
from podium.objects.taints import NODE_SHUTDOWN
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import NodeStatus, Pod

_REPLACE_SHARE = 0.5
"""Of the time of ordinary pods, what the master may take to ask for their end: some two seconds, and as many more as
budgets hold pods back, until others are ready."""
_MESSAGE = "the host is shutting down"

log = get_logger(__name__)

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownTimes:
    """Seconds, as Kubernetes' `shutdownGracePeriod` and `shutdownGracePeriodCriticalPods`.

    Attributes:
        grace: All of it may take so long.
        critical: Of that, what is kept for critical pods.
    """

    grace: float = 30.0
    critical: float = 10.0


class Pods(Protocol):
    """The pod manager, as a shutdown sees it."""

    def alive(self) -> Iterable[Pod]:
        """Pods that have not ended, as they were assigned last."""
        ...

    async def assigned(self) -> None:
        """Return when the assignments have changed."""
        ...

    def close(self) -> None:
        """Take no more pods: those that still come fail at once."""
        ...

    async def shut_down(self, grace: float, critical_grace: float) -> None:
        """End all pods; returns when they have ended, or should have."""
        ...


class HostShutdown:
    """See the module. It cannot be taken back; the process that it was told to forgets it with its end."""

    def __init__(self, *, pods: Pods, clock: Clock, times: ShutdownTimes | None = None) -> None:
        self._pods, self._clock, self._times = pods, clock, times or ShutdownTimes()
        self.under_way = False
        self.announce: Callable[[], None] = lambda: None
        """Called when the node's status has changed by it."""
        self.connected: Callable[[], bool] = lambda: False
        """Whether a master hears of it."""

    def mark(self, status: NodeStatus) -> NodeStatus:
        """The node's status, as it is during a shutdown."""
        if not self.under_way:
            return status
        marked = NodeStatus()
        marked.CopyFrom(status)
        for condition in marked.conditions:
            if condition.type == "Ready":
                condition.status, condition.reason, condition.message = "False", NODE_SHUTDOWN, _MESSAGE
        return marked

    async def run(self, tell: Tell) -> None:
        """Do it; `tell` is called with a line for every step."""
        began = self._clock.monotonic()
        ordinary = self._times.grace - self._times.critical
        self.under_way = True
        self._pods.close()
        self.announce()
        log.warning("the host is shutting down: its pods end", pods=len(list(self._pods.alive())))
        tell(f"{len(list(self._pods.alive()))} pods end within {self._times.grace:g} s")
        await self._until_replaced(ordinary * _REPLACE_SHARE, tell)
        left = max(0.0, ordinary - (self._clock.monotonic() - began))
        await self._pods.shut_down(left, self._times.critical)
        remaining = [f"{p.metadata.namespace}/{p.metadata.name}" for p in self._pods.alive()]
        if remaining:
            tell(f"out of time for {', '.join(remaining)}")
        log.info("the host's pods have ended", seconds=round(self._clock.monotonic() - began, 1), left=len(remaining))
        tell(f"done in {self._clock.monotonic() - began:.1f} s")

    async def _until_replaced(self, seconds: float, tell: Tell) -> None:
        """Wait until the master has asked for the end of every pod that it replaces."""
        if not self.connected():
            tell("no master is connected: pods end without being replaced first")
            return
        try:
            async with asyncio.timeout(seconds):
                while waited := [pod for pod in self._pods.alive() if _is_replaced(pod) and not is_terminating(pod)]:
                    tell(f"{len(waited)} pods are to be replaced elsewhere")
                    await self._pods.assigned()
        except TimeoutError:
            tell("some are not replaced yet")


def _is_replaced(pod: Pod) -> bool:
    """Whether the master evicts it because of the shutdown: not what belongs to the node, nor what goes last."""
    owner = controller_of(pod)
    return owner is not None and owner.kind != "DaemonSet" and not is_critical(pod)
