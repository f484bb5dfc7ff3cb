"""Channels to the masters of one cluster, and which of them to use now."""

from __future__ import annotations

import random
from typing import Generic, TypeVar

from podium.client.config import Context
from podium.tls import channel_credentials, channel_options

C = TypeVar("C")


class Endpoints(Generic[C]):
    """One channel an endpoint, made when first needed; `fail_over` moves on to the next."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._current = 0
        self.channels: dict[str, C] = {}

    @property
    def address(self) -> str:
        """The endpoint in use."""
        return self._context.endpoints[self._current]

    def __len__(self) -> int:
        return len(self._context.endpoints)

    def fail_over(self, failed: str) -> None:
        """Use the next endpoint, unless another call has moved on from `failed` already."""
        if failed == self.address:
            self._current = (self._current + 1) % len(self._context.endpoints)


def credentials_and_options(context: Context) -> tuple[object, list[tuple[str, str | int]]]:
    """What a secure channel of this context is made with."""
    return channel_credentials(context.tls), channel_options()


def retry_delay(attempt: int) -> float:
    """Seconds before retry number `attempt` (from 0): exponential with full jitter, at most 2 s."""
    return random.uniform(0, min(2.0, 0.1 * 2.0**attempt))  # noqa: S311 - jitter needs no secrecy
