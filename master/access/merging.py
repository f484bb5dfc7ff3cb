"""Applies and patches, read and merged: those of large objects beside the event loop.

Parsing text and merging it into an object costs some 20 µs a field, and an object may have tens of thousands. So what
is large is worked out in a thread, one at a time, from the state that the object has then; the plan takes it over if
the object is still in that state, and works it out itself if not. All of it is pure: cached objects are only read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from master.access.writes import MAX_INPUT_BYTES, ApiWrite, Apply, check_length
from master.cache.item import Item
from podium.codec.json import object_from_dict, parse_json
from podium.errors import PodiumError

HEAVY_BYTES = 16 * 1024
"""Length of text, or of a stored object, from which on it is worked out beside the event loop."""


class Manifest(NamedTuple):
    """A manifest that was read: its data, and the object that it is."""

    data: dict[str, Any]
    named: Any


class _Made(NamedTuple):
    """What came of the state of a revision (0: of nothing): an object, or why it is refused."""

    revision: int
    outcome: Any


class Merge:
    """What an apply or a patch makes of an object as it is.

    Args:
        make: The object made of a live one, or of None. Pure. Raises PodiumError to refuse.
        size: Length of the text that is merged in, bytes.
    """

    def __init__(self, make: Callable[[Any | None], Any], size: int) -> None:
        self._make, self._size = make, size
        self._made: _Made | None = None

    async def prepare(self, current: Item | None, one_at_a_time: asyncio.Lock) -> None:
        """Work it out for this state, if that is much."""
        if max(self._size, 0 if current is None else len(current.value)) < HEAVY_BYTES:
            return
        live = None if current is None else current.message
        async with one_at_a_time:
            outcome = await asyncio.to_thread(self._outcome, live)
        self._made = _Made(_revision(current), outcome)

    def of(self, current: Item | None) -> Any:
        """The object made of this state, the caller's to change.

        Raises:
            PodiumError: It is refused.
        """
        made, self._made = self._made, None
        if made is None or made.revision != _revision(current):
            return self._make(None if current is None else current.message)
        if isinstance(made.outcome, PodiumError):
            raise made.outcome
        return made.outcome

    def _outcome(self, live: Any | None) -> Any:
        try:
            return self._make(live)
        except PodiumError as error:
            return error


def _revision(current: Item | None) -> int:
    return 0 if current is None else current.revision


def read_manifest(text: bytes) -> Manifest:
    """The manifest of an apply.

    Raises:
        BadRequest: It is too long, or not JSON.
        Invalid: Its fields are refused.
    """
    check_length("the manifest", len(text))
    data = parse_json(text)
    return Manifest(data, object_from_dict(data))


async def read_ahead(write: ApiWrite, one_at_a_time: asyncio.Lock) -> ApiWrite:
    """The write, with its manifest read if that is much. Raises PodiumError as `read_manifest`."""
    if not isinstance(write, Apply) or not HEAVY_BYTES <= len(write.manifest) <= MAX_INPUT_BYTES:
        return write
    async with one_at_a_time:
        return replace(write, read=await asyncio.to_thread(read_manifest, write.manifest))
