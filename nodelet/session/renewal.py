"""A node's certificate, renewed by the node itself after two thirds of its life; one that ended is joined for anew.

It is renewed at once when somebody asks for it, and when the cluster trusts other CAs than this node: with a
certificate comes what is trusted now. So nodes follow by themselves while one CA replaces another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from nodelet.session.dial import GrpcDialer
from nodelet.state.identity import GROUP, Identity, user_of
from podium.aio.backoff import Backoff
from podium.aio.clock import Clock
from podium.aio.link import LinkClosed
from podium.aio.tasks import TaskScope
from podium.telemetry.log import get_logger
from podium.tls import trust_digest

log = get_logger(__name__)

RETRY = Backoff(initial=5.0, maximum=600.0)
SPACING = 5.0  # between renewals that were asked for
LONGEST_SLEEP = 3_600.0  # wall clocks are set and hosts sleep: look again


class Renewer:
    """Holds the identity in use.

    Args:
        identity: The first one.
        dialer: Asks the master, and is given the new identity.
        keep: Stores a new identity durably before it is used.
        join: Joins anew, for as long as that takes; used when the certificate has ended.

    Attributes:
        renewed: Called when another identity is in use.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        dialer: GrpcDialer,
        keep: Callable[[Identity], Awaitable[None]],
        join: Callable[[], Awaitable[Identity]],
        clock: Clock,
    ) -> None:
        self.identity = identity
        self._dialer, self._keep, self._join, self._clock = dialer, keep, join, clock
        self._due = asyncio.Event()
        self.renewed: Callable[[], None] = lambda: None

    @property
    def digest(self) -> str:
        """Names the CAs that this node trusts."""
        return trust_digest(self.identity.ca)

    def expect(self, digest: str) -> None:
        """The cluster trusts these CAs (empty: it does not say): renew if this node trusts others."""
        if digest and digest != self.digest:
            log.info("the cluster trusts other authorities than this node", ours=self.digest[:12], its=digest[:12])
            self.ask()

    def ask(self) -> None:
        """Renew now."""
        self._due.set()

    async def run(self) -> None:
        """Renew in time, for ever."""
        failures = 0
        while True:
            wait = (self.identity.renew_at - self._clock.now()).total_seconds()
            if wait > 0 and not self._due.is_set():
                await self._rest(min(wait, LONGEST_SLEEP))
                continue
            if self.identity.not_after <= self._clock.now():
                await self._use(await self._join())
                continue
            asked = self._due.is_set()
            try:
                self._due.clear()
                await self.renew()
                failures = 0
                if asked:
                    await self._clock.sleep(SPACING)
            except LinkClosed as error:
                failures += 1
                log.warning("could not renew the node's certificate", why=str(error), ends=self.identity.not_after)
                await self._clock.sleep(RETRY.delay(failures))
                if asked:
                    self._due.set()

    async def _rest(self, seconds: float) -> None:
        """Sleep, unless somebody asks."""
        async with TaskScope(on_error=lambda name, error: None) as scope:
            ends = [scope.start(self._clock.sleep(seconds), name="rest"), scope.start(self._due.wait(), name="asked")]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)

    async def renew(self) -> None:
        """Get a certificate for a new key and use it from the next connection on.

        Raises:
            LinkClosed: The master does not answer, or refused.
        """
        from podium import pki  # see nodelet.state.identity

        name = self.identity.node_name
        key, csr = pki.new_request(user_of(name), [GROUP])
        answer = await self._dialer.renew(csr)
        identity = Identity(
            node_name=name,
            key=key,
            certificate=answer.certificate,
            ca=answer.ca,
            endpoints=tuple(answer.endpoints) or self.identity.endpoints,
        )
        await self._use(identity)

    async def _use(self, identity: Identity) -> None:
        await self._keep(identity)
        self.identity = identity
        self._dialer.use(identity)
        self.renewed()
        log.info("a new certificate is in use", ends=identity.not_after)
