"""A store in memory whose disk a test plays: commits wait in order until they are let through, or fail."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from master.store.memory import MemoryStore
from master.store.protocol import Op, Outcome
from podium.errors import Unavailable


@dataclass(slots=True)
class _Commit:
    transactions: Sequence[Sequence[Op]]
    answer: asyncio.Future[Sequence[Outcome]]


class SlowStore(MemoryStore):
    """As SQLite's: what was handed over is carried out in order, whether its caller still waits or not."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self.waiting: deque[_Commit] = deque()

    async def commit_each(self, transactions: Sequence[Sequence[Op]], *, durable: bool = True) -> Sequence[Outcome]:
        if not self.slow:
            return await super().commit_each(transactions, durable=durable)
        commit = _Commit(transactions, asyncio.get_running_loop().create_future())
        self.waiting.append(commit)
        return await commit.answer

    async def let_through(self) -> None:
        """The longest waiting commit reaches the disk."""
        commit = self.waiting.popleft()
        outcomes = await super().commit_each(commit.transactions)
        if not commit.answer.done():
            commit.answer.set_result(outcomes)

    def fail(self) -> None:
        """The longest waiting commit finds the disk full."""
        commit = self.waiting.popleft()
        if not commit.answer.done():
            commit.answer.set_exception(Unavailable("the disk is full"))
