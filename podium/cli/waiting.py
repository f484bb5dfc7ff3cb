"""Waiting for objects to become something: one watch a kind, a deadline, no polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from podium.cli.session import Session
from podium.errors import DeadlineExceeded, NotFound, Unavailable
from podium.objects.kinds import Kind


class Deadline:
    """A time limit that several waits share. Seconds, from when it is made."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._at = self._loop.time() + seconds

    @property
    def left(self) -> float:
        """Seconds left, more than none."""
        return max(self._at - self._loop.time(), 0.001)


async def until(
    session: Session, kind: Kind, names: Collection[str], met: Callable[[Any | None], bool], *, deadline: Deadline,
    what: str, selector: str = "", everything: bool = False, namespace: str | None = None,
    on_met: Callable[[str], None] = lambda name: None,
) -> None:  # fmt: skip
    """Return when `met(object or None when it does not exist)` holds for each name.

    With `everything` (or a selector) the names are those of the objects that exist when the watch starts.

    Raises:
        DeadlineExceeded: Not in time; says for which.
        NotFound: Nothing to wait for.
    """
    pending = set(names)
    try:
        async with asyncio.timeout(deadline.left):
            if everything or selector:
                objects, _ = await _listed(session, kind, namespace, selector)
                if not objects:
                    raise NotFound(f"no {kind.plural} to wait for")
                pending |= {o.metadata.name for o in objects}
            await _watch(session, kind, pending, met, on_met, namespace)
    except TimeoutError:
        missing = ", ".join(f"{kind.singular}/{name}" for name in sorted(pending)) or kind.plural
        raise DeadlineExceeded(f"timed out after {deadline.seconds:g}s waiting for {what} of {missing}") from None


async def _watch(
    session: Session, kind: Kind, pending: set[str], met: Callable[[Any | None], bool], on_met: Callable[[str], None],
    namespace: str | None,
) -> None:  # fmt: skip
    objects, revision = await _listed(session, kind, namespace)
    present: dict[str, Any] = {o.metadata.name: o for o in objects}
    for name in sorted(pending):
        _settle(name, present.get(name), pending, met, on_met)
    if not pending:
        return
    watched = session.client.watch(kind.message, namespace=namespace, resource_version=revision, known=objects)
    async for change in watched:
        name = change.key[1]
        if name in pending:
            _settle(name, None if change.type == "DELETED" else change.object, pending, met, on_met)
            if not pending:
                return


async def _listed(session: Session, kind: Kind, namespace: str | None, selector: str = "") -> tuple[list[Any], str]:
    """What is there, and since which revision. A master that is away is waited for: the caller has a deadline."""
    attempt = 0
    while True:
        try:
            return await session.client.list_at(kind.message, namespace=namespace, selector=selector)
        except Unavailable:
            await session.client.connection.pause(attempt)
            attempt += 1


def _settle(
    name: str, obj: Any | None, pending: set[str], met: Callable[[Any | None], bool], on_met: Callable[[str], None]
) -> None:
    if met(obj):
        pending.discard(name)
        on_met(name)
