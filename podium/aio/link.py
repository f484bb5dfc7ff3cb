"""A link: two parties, messages in order both ways, and an end that either side notices.

What a nodelet and a master say to each other goes over this protocol and not over gRPC itself, so that the same
session code runs over a real connection and, in tests, in memory under virtual time. Implementations: `memory_pair`
here; over gRPC `nodelet.session.dial.CallLink` (the dialling side) and `master.api.links.ContextLink` (the
serving side).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, Protocol, TypeVar

S = TypeVar("S")
R = TypeVar("R")
S_contra = TypeVar("S_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class LinkClosed(Exception):
    """The link is broken or closed; the message says by what, as far as that is known."""


class Link(Protocol[S_contra, R_co]):
    """One side of a link. One task may send while another receives; neither may be done twice at once."""

    async def send(self, message: S_contra) -> None:
        """Returns when the transport has taken the message; waits while the other side is slow.

        Raises: LinkClosed.
        """
        ...

    async def receive(self) -> R_co | None:
        """The next message, or None when the other side has finished.

        Raises: LinkClosed.
        """
        ...

    async def finish(self) -> None:
        """Nothing more will be sent; what was sent still arrives. Safe to repeat, and after a break."""
        ...

    async def close(self) -> None:
        """End both directions now. Safe to repeat, and after a break."""
        ...


class _Pipe(Generic[S]):
    """One direction in memory: a bounded queue with an end."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[S] = deque()
        self._capacity = capacity
        self._changed = asyncio.Event()
        self.finished = False
        self.broken = False

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def put(self, item: S) -> None:
        while len(self._items) >= self._capacity and not self.broken:
            await self._changed.wait()
        if self.broken or self.finished:
            raise LinkClosed("the link is closed")
        self._items.append(item)
        self._wake()

    async def get(self) -> S | None:
        while not self._items and not self.finished and not self.broken:
            await self._changed.wait()
        if self.broken:
            raise LinkClosed("the link is closed")
        if not self._items:
            return None
        item = self._items.popleft()
        self._wake()
        return item

    def finish(self) -> None:
        self.finished = True
        self._wake()

    def break_(self) -> None:
        self.broken = True
        self._wake()


class MemoryLink(Generic[S, R]):
    """One side of a pair in this process. `partition(True)` makes both directions hang, as a cut cable does."""

    def __init__(self, outgoing: _Pipe[S], incoming: _Pipe[R]) -> None:
        self._outgoing, self._incoming = outgoing, incoming
        self._whole = asyncio.Event()
        self._whole.set()

    def partition(self, cut: bool) -> None:
        """Cut this side off, or heal it: nothing passes while cut, and nothing is lost."""
        if cut:
            self._whole.clear()
        else:
            self._whole.set()

    async def send(self, message: S) -> None:
        await self._whole.wait()
        await self._outgoing.put(message)

    async def receive(self) -> R | None:
        message = await self._incoming.get()
        await self._whole.wait()
        return message

    async def finish(self) -> None:
        self._outgoing.finish()

    async def close(self) -> None:
        self._whole.set()
        self._outgoing.break_()
        self._incoming.break_()


def memory_pair(a_sends: type[S], b_sends: type[R], *, capacity: int = 64) -> tuple[MemoryLink[S, R], MemoryLink[R, S]]:
    """Two linked sides; at most `capacity` messages are under way in each direction."""
    forth, back = _Pipe[S](capacity), _Pipe[R](capacity)
    return MemoryLink(forth, back), MemoryLink(back, forth)
