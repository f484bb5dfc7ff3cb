"""Waiting for a condition, never for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def until(condition: Callable[[], T | None], *, seconds: float = 10.0, what: str = "") -> T:
    """The condition's first true value.

    Raises:
        AssertionError: It did not come true in time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not (value := condition()):
        assert loop.time() < deadline, what or f"{condition} did not come true within {seconds:g} s"
        await asyncio.sleep(0.01)
    return value
