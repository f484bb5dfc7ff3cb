"""A queue that keeps the newest value of each key: bounded by what exists, never by how often it changes."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Coalescing(Generic[K, V]):
    """Newest value per key, in the order in which keys first became pending. One consumer."""

    def __init__(self) -> None:
        self._pending: dict[K, V] = {}
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pending)

    def put(self, key: K, value: V) -> None:
        """Set what is pending for a key; a value not yet taken is replaced."""
        self._pending[key] = value
        self._filled.set()

    def put_back(self, items: dict[K, V]) -> None:
        """Return what could not be used; a value that arrived meanwhile is newer and stays."""
        self._pending = items | self._pending
        if self._pending:
            self._filled.set()

    def take_now(self, limit: int | None = None) -> dict[K, V]:
        """What is pending, at most `limit` keys, maybe nothing; it is no longer pending then."""
        if limit is None or len(self._pending) <= limit:
            taken, self._pending = self._pending, {}
        else:
            taken = {key: self._pending.pop(key) for key in list(self._pending)[:limit]}
        if not self._pending:
            self._filled.clear()
        return taken

    async def take(self, limit: int | None = None) -> dict[K, V]:
        """Wait until something is pending, then `take_now`."""
        await self._filled.wait()
        return self.take_now(limit)
