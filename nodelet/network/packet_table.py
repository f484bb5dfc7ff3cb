"""Keeps the kernel's table in step with what is said: all at once at first, differences from then on.

A difference that the kernel refuses means that its table is not what was thought (somebody else changed it): the whole
is set anew, in one transaction, so that a packet meets the old table or the new one and never none. What the old one
learned of clients (session affinity) is carried over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from nodelet.network import affinity, nft
from nodelet.network.protocol import NetworkFault
from nodelet.network.table import Part, Table
from podium.telemetry.log import get_logger

log = get_logger(__name__)


class PacketTable:
    """See the module. `say` is free; `tell` brings it into force, together with what others said meanwhile."""

    def __init__(
        self,
        apply: Callable[[str], Awaitable[None]] = nft.apply,
        is_there: Callable[[], Awaitable[bool]] = nft.is_there,
        learned: Callable[[], Awaitable[list[str]]] = affinity.learned,
    ) -> None:
        self._apply, self._is_there, self._learned = apply, is_there, learned
        self._table = Table()
        self._frame: nft.Frame | None = None
        self._in_force: nft.Frame | None = None
        self._lock = asyncio.Lock()
        self._free = asyncio.Event()
        self._free.set()

    def frame_with(self, frame: nft.Frame) -> None:
        """Say which ranges the table is about; until then nothing is brought into force."""
        self._frame = frame

    @property
    def stands(self) -> bool:
        """Whether the kernel has a table of ours about the ranges that it should be about."""
        return self._frame is not None and self._frame == self._in_force

    def leave(self) -> None:
        """Leave the table as an earlier run left it, which knew better, until `go_on`; who tells waits for that."""
        self._free.clear()

    @property
    def left(self) -> bool:
        """Whether it is left as it is."""
        return not self._free.is_set()

    def go_on(self) -> None:
        """Bring into force what is said, from now on."""
        self._free.set()

    def say(self, owner: str, part: Part) -> None:
        """Replace what an owner says."""
        self._table.say(owner, part)

    def owners(self, prefix: str) -> list[str]:
        """Owners whose names begin with this."""
        return self._table.owners(prefix)

    async def look(self) -> None:
        """See whether the kernel still has the table; one that is gone is set anew with the next `tell`."""
        async with self._lock:
            if self._in_force is not None and not await self._is_there():
                log.warning("somebody removed the packet table; setting it anew")
                self._in_force = None

    async def tell(self) -> None:
        """Return when what was said so far is in force.

        Raises:
            NetworkFault: The kernel refused.
        """
        await self._free.wait()
        async with self._lock:
            if self._frame is None or (self._frame == self._in_force and not self._table.changed):
                return
            if self._frame == self._in_force:
                try:
                    return await self._tell_difference()
                except nft.Refused as error:
                    log.warning("the packet table is not as it was left; setting it anew", error=str(error))
            try:
                await self._tell_whole(self._frame)
            except nft.Refused as error:
                raise NetworkFault(f"the node's packet rules cannot be set: {error}") from None

    async def _tell_difference(self) -> None:
        update = self._table.update()
        if update.commands:
            await self._apply("".join(f"{command}\n" for command in update.commands))
        self._table.settled(update)

    async def _tell_whole(self, frame: nft.Frame) -> None:
        self._in_force = None
        self._table.anew()
        update = self._table.update()
        learned = await self._learned()
        try:
            await self._apply(nft.render(frame, (*update.commands, *learned)))
        except nft.Refused as error:
            if not learned:
                raise
            log.warning("what was learned of clients cannot be kept", error=str(error))
            await self._apply(nft.render(frame, update.commands))
        self._table.settled(update)
        self._in_force = frame
