"""The fence: stops pods that must not run twice when the master no longer knows that they run.

The times, the argument and its limits are in `podium.objects.fencing`. This loop looks twice a second: a lease near
its end makes it ask the peers; one that has ended, and is not excused by them, makes it stop the exclusive pods, for
good: they are Failed, and whoever wants them makes others. Each new end of the lease is kept first, so that a nodelet
that starts, and the watchdog of one that does not act any more, know as much.

While the lease is over no exclusive pod starts either: `admit` sees every pod before each of its steps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import Counter

from nodelet.session.kept_lease import KeptLease
from nodelet.session.lease import Lease, Terms
from podium.aio.clock import Clock
from podium.objects.fencing import FENCED, SILENCE, FencingTimes, fell_silent_together, is_exclusive
from podium.telemetry.log import get_logger
from podium.v1.core_pb2 import Pod
from podium.v1.node_session_pb2 import Peers, Welcome

log = get_logger(__name__)

LOOK_SECONDS = 0.5
AHEAD_SECONDS = 1.5
"""Peers are asked so long before the lease ends,"""
AGAIN_SECONDS = 2.0
"""and so often once only they extend it."""
RECENT_SECONDS = 1.0
"""Who was acknowledged so lately hears a master."""

PODS = Counter("podium_nodelet_fenced_pods_total", "Pods stopped because the node was cut off from its master.")


class Fenceable(Protocol):
    """A pod of this node."""

    @property
    def pod(self) -> Pod: ...
    def fail(self, reason: str, message: str, grace: float) -> None:
        """End it for good. Safe to repeat."""
        ...


Ask = Callable[[Peers], Awaitable[list[float | None]]]
"""For how many seconds each peer has not heard the master; None: it did not answer. Takes no longer than a second."""
Keep = Callable[[KeptLease], Awaitable[None]]
"""Keeps the lease where the next nodelet and the watchdog find it. Never raises."""


async def ask_nobody(peers: Peers) -> list[float | None]:
    """The answers of peers that can't be asked."""
    return [None] * len(peers.addresses)


async def keep_nowhere(kept: KeptLease) -> None:
    """For nodes that have no restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceTools:
    """What a fence stands on. `since_boot` goes on while the host is suspended; `boot` names the boot."""

    since_boot: Callable[[], float]
    boot: str = ""
    ask: Ask = ask_nobody
    keep: Keep = keep_nowhere


class Fence:
    """See the module. `run` goes on for ever."""

    def __init__(self, *, pods: Callable[[], Iterable[Fenceable]], clock: Clock, tools: FenceTools) -> None:
        self._pods, self._clock, self._tools = pods, clock, tools
        self._lease = Lease()
        self._peers = Peers()
        self._excused_until = self._asked_at = float("-inf")
        self.hurry: Callable[[], None] = lambda: None
        """Called when others hear a master."""
        self._kept: KeptLease | None = None
        self.closed = False
        """Whether exclusive pods may not run."""

    # ------------------------------------------------------------ what the session tells it

    def now(self) -> float:
        """The time that everything here is in."""
        return self._tools.since_boot()

    def begun(self, hello_sent: float, welcome: Welcome) -> None:
        """A master answered the hello that was sent then."""
        terms = None
        if welcome.fence_milliseconds:
            terms = Terms(
                silence=welcome.fence_milliseconds / 1000,
                evidence=FencingTimes(welcome.lease_milliseconds / 1000).evidence,
                grace=welcome.fence_grace_milliseconds / 1000,
            )
        self._lease.begin(hello_sent, terms)
        self._peers = welcome.peers
        self.closed = False

    def sent(self, sequence: int) -> None:
        """A heartbeat goes out."""
        self._lease.sent(sequence, self.now())

    def acknowledged(self, sequence: int) -> None:
        """The master has heard this heartbeat."""
        self._lease.acknowledged(sequence)

    def meet(self, peers: Peers) -> None:
        """Who can be asked from now on."""
        self._peers = peers

    def silence(self) -> float | None:
        """For how long the master has heard nothing from here, at most; None: it never did."""
        return self._lease.silent_for(self.now())

    # ------------------------------------------------------------ a nodelet that starts

    def resume(self, kept: KeptLease | None) -> None:
        """Begin with the lease of before; call it before any pod is run. Nothing kept: nothing is fenced yet."""
        if kept is None:
            return
        # What ran in an earlier boot does not run now, and must not start before a master says so.
        self.closed = kept.boot != self._tools.boot or self.now() >= kept.until
        if kept.boot == self._tools.boot:
            self._lease = Lease(kept.terms, kept.acknowledged_at)
            self._peers, self._excused_until = kept.peers, kept.until

    def admit(self, worker: Fenceable) -> None:
        """A pod is about to be acted on: what must not run any more is stopped, before anything is started for it. A
        process that was frozen finds out here, whatever it does first."""
        if is_exclusive(worker.pod) and (self.closed or self._is_over()):
            self._stop(worker, "it has not heard a master in time")

    def _is_over(self) -> bool:
        return self._lease.until is not None and self.now() >= max(self._lease.until, self._excused_until)

    # ------------------------------------------------------------ the loop

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """One look at the lease."""
        until, now = self._lease.until, self.now()
        if until is None:
            return
        late = now >= max(until, self._excused_until) - AHEAD_SECONDS
        if late or (now >= until and now >= self._asked_at + AGAIN_SECONDS):
            await self._ask_peers()
        # Asking took time, in which the master may have answered.
        end = max(self._lease.until or until, self._excused_until)
        if self.now() >= end:
            await self._close(end)
            return
        self.closed = False
        await self._keep_until(end, kill_at=end)

    async def _ask_peers(self) -> None:
        began = self._asked_at = self.now()
        silence, terms, peers = self._lease.silent_for(began), self._lease.terms, self._peers
        assert silence is not None, "a lease that ends has begun"
        assert terms is not None, "a lease has terms"
        if not peers.nodes:
            return  # a master that does not say how many there are excuses nobody
        answers = await self._tools.ask(peers)
        if any(answer is not None and answer < RECENT_SECONDS for answer in answers):
            self.hurry()  # the master is there: whoever waits to dial it again need not
        times = FencingTimes(terms.silence / SILENCE)
        if fell_silent_together(silence, answers, nodes=peers.nodes, times=times):
            if self._excused_until < began:
                log.warning("most nodes have lost the master: pods that must not run twice go on", silence=silence)
            self._excused_until = began + terms.evidence

    async def _keep_until(self, end: float, *, kill_at: float) -> None:
        terms, acknowledged_at = self._lease.terms, self._lease.acknowledged_at
        assert terms is not None, "a lease has terms"
        assert acknowledged_at is not None, "a lease that ends has begun"
        kept = KeptLease(
            until=end, kill_at=kill_at, boot=self._tools.boot, acknowledged_at=acknowledged_at, terms=terms,
            peers=self._peers,
        )  # fmt: skip
        if kept != self._kept:
            await self._tools.keep(kept)
            self._kept = kept

    async def _close(self, end: float) -> None:
        """Stop all exclusive pods; the watchdog gives them their grace as well."""
        assert self._lease.terms is not None, "a lease has terms"
        if not self.closed:
            await self._keep_until(end, kill_at=self.now() + self._lease.terms.grace)
        exclusive = [worker for worker in self._pods() if is_exclusive(worker.pod)]
        for worker in exclusive:
            self._stop(worker, "its master did not answer in time")
        if not self.closed:
            self.closed = True
            PODS.inc(len(exclusive))
            log.warning("fenced: stopping pods that must not run twice", pods=len(exclusive))

    def _stop(self, worker: Fenceable, why: str) -> None:
        grace = self._lease.terms.grace if self._lease.terms is not None else 0.0
        own = float(worker.pod.spec.termination_grace_period_seconds)
        message = f"The node was cut off ({why}): a pod that must not run twice was stopped."
        worker.fail(FENCED, message, min(grace, own))
