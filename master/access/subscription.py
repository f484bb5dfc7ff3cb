"""A subscription: what exists, then what changes, for the parts of the master itself.

A subscriber that is slow loses nothing and delays nobody: its pending changes are coalesced per object, so what it
holds is bounded by the number of objects. An object made anew under an old name is another object (its uid differs),
and its changes come after the end of the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from typing import Any

from google.protobuf.message import Message

from master.access.protocol import Change, ChangeType
from master.cache.cache import WatchCache
from master.cache.item import Event
from podium.objects.kinds import Key, kind_of

_Identity = tuple[Key, str]


class CacheSubscription:
    """See `master.access.protocol.Subscription`."""

    def __init__(self, cache: WatchCache, kinds: Sequence[type[Message]]) -> None:
        self._cache = cache
        self._kinds = [kind_of(kind).name for kind in kinds]
        self._pending: dict[_Identity, Change[Any]] = {}
        self._begun = False
        self._arrived = asyncio.Event()
        self._stack = ExitStack()

    async def __aenter__(self) -> CacheSubscription:
        for kind in self._kinds:
            for item in self._cache.tables[kind].scan():
                message = item.message
                self._pending[item.key, message.metadata.uid] = Change(ChangeType.ADDED, None, message, item.revision)
        self._stack.enter_context(self._cache.listening(self._kinds, self._take))
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stack.close()

    async def __aiter__(self) -> AsyncIterator[Sequence[Change[Any]]]:
        while True:
            if self._begun:
                await self._arrived.wait()
            self._arrived.clear()
            batch, self._pending = list(self._pending.values()), {}
            if batch or not self._begun:
                self._begun = True
                yield batch

    def _take(self, events: Sequence[Event]) -> None:
        pending = self._pending
        for event in events:
            new = event.new
            identity = new.key, new.message.metadata.uid
            before = pending.pop(identity, None)
            change = _change(event) if before is None else merged(before, event)
            if change is not None:
                pending[identity] = change
        if pending:
            self._arrived.set()


def merged(pending: Change[Any], event: Event) -> Change[Any] | None:
    """What is pending for an object after one more event; None when nothing is, as it came and went unseen."""
    new, revision = event.new.message, event.revision
    if pending.type is not ChangeType.ADDED:
        return Change(ChangeType.DELETED if event.removed else ChangeType.MODIFIED, pending.old, new, revision)
    return None if event.removed else Change(ChangeType.ADDED, None, new, revision)


def _change(event: Event) -> Change[Any]:
    """An event as a subscriber sees it who has nothing pending for the object; the same for all of them."""
    change: Change[Any] | None = event.change
    if change is None:
        old = None if event.old is None else event.old.message
        change = event.change = Change(_type(event), old, event.new.message, event.revision)
    return change


def _type(event: Event) -> ChangeType:
    if event.removed:
        return ChangeType.DELETED
    return ChangeType.ADDED if event.old is None else ChangeType.MODIFIED
