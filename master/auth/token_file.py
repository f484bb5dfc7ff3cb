"""A join token kept fresh in a file, for tools that add hosts: compose rigs, Ansible."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path

from master.auth.principal import component
from master.auth.tokens import TokenBook
from podium.aio.clock import Clock
from podium.errors import Unauthenticated
from podium.files import write_atomic
from podium.telemetry.log import get_logger

LONGEST_SLEEP = 600.0

log = get_logger(__name__)


class JoinTokenFile:
    """Sees to it that the file holds a token with at least a third of its life ahead."""

    def __init__(self, *, path: Path, tokens: TokenBook, clock: Clock, lifetime: datetime.timedelta) -> None:
        self._path = path
        self._tokens = tokens
        self._clock = clock
        self._lifetime = lifetime

    async def run(self) -> None:
        """Look after the file for ever."""
        while True:
            left = await self.refresh()
            await self._clock.sleep(min(max(left.total_seconds() / 10, 1.0), LONGEST_SLEEP))

    async def refresh(self) -> datetime.timedelta:
        """Write a new token if the file's is not good, or not for long; returns the time the file's token has left."""
        left = await asyncio.to_thread(self._left)
        if left > self._lifetime / 3:
            return left
        made = await self._tokens.create(
            by=component("join-token-file"), lifetime=self._lifetime, description=f"kept in {self._path}"
        )
        await asyncio.to_thread(self._write, made.text)
        log.info("wrote a join token", path=self._path, id=made.id, expires=made.expires.isoformat())
        return made.expires - self._clock.now()

    def _left(self) -> datetime.timedelta:
        try:
            return self._tokens.verify(self._path.read_text()).expires - self._clock.now()
        except (FileNotFoundError, Unauthenticated):
            return datetime.timedelta(0)

    def _write(self, text: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self._path, text.encode() + b"\n")


class TokenCleaner:
    """Deletes expired tokens, once in a while."""

    def __init__(self, *, tokens: TokenBook, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock

    async def run(self) -> None:
        """Clean for ever."""
        while True:
            if removed := await self._tokens.remove_expired():
                log.info("removed expired join tokens", count=removed)
            await self._clock.sleep(LONGEST_SLEEP)
