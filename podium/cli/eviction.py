"""Evicting many pods: all at once, and those that a disruption budget holds back again, telling which budget it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import click

from podium.cli.session import Session
from podium.cli.waiting import Deadline
from podium.errors import DeadlineExceeded, NotFound, TooManyRequests
from podium.v1.core_pb2 import Eviction, Pod
from podium.v1.meta_pb2 import DeleteOptions

AT_ONCE = 20
_RETRY_SECONDS = 2.0


async def evict_all(session: Session, pods: Sequence[Pod], grace_period: int | None, deadline: Deadline) -> None:
    """Begin the eviction of all these pods; returns when that of each has begun, or it is gone.

    Raises:
        DeadlineExceeded: A budget held some back for too long; says which.
    """
    lanes, told, pending = asyncio.Semaphore(AT_ONCE), set[str](), list(pods)

    async def one(pod: Pod) -> TooManyRequests | None:
        async with lanes:
            return await _evict(session, pod, grace_period)

    while True:
        refusals = await asyncio.gather(*(one(pod) for pod in pending))
        held = [(pod, refusal) for pod, refusal in zip(pending, refusals, strict=True) if refusal is not None]
        if not held:
            return
        pending = [pod for pod, _ in held]
        lines = list(_waiting([refusal for _, refusal in held]))
        for line in lines:
            if line not in told:
                click.echo(line, err=True)
        told = set(lines)
        pause = min(_retry_after(refusal) for _, refusal in held)
        if deadline.left <= pause:
            names = ", ".join(f"pod/{p.metadata.namespace}/{p.metadata.name}" for p in pending)
            raise DeadlineExceeded(
                f"timed out after {deadline.seconds:g}s: {names} could not be evicted; {held[0][1].message}"
            )
        await asyncio.sleep(pause)


async def _evict(session: Session, pod: Pod, grace_period: int | None) -> TooManyRequests | None:
    """Begin one eviction; why it cannot be now."""
    metadata = pod.metadata
    options = DeleteOptions()
    if grace_period is not None:
        options.grace_period_seconds = grace_period
    options.preconditions.uid = metadata.uid
    eviction = Eviction(delete_options=options)
    try:
        await session.client.create_in(Pod, metadata.name, "eviction", eviction, namespace=metadata.namespace)
    except NotFound:
        return None
    except TooManyRequests as refusal:
        return refusal
    click.echo(f"evicting pod/{metadata.namespace}/{metadata.name}")
    return None


def _waiting(refusals: Sequence[TooManyRequests]) -> list[str]:
    """A line a budget: how many pods it holds back, and why."""
    counts = Counter(_reason(refusal) for refusal in refusals)
    return [f"{count} {'pod waits' if count == 1 else 'pods wait'}: {reason}" for reason, count in counts.items()]


def _reason(refusal: TooManyRequests) -> str:
    facts = refusal.details
    if "budget" not in facts:
        return refusal.message
    needs, has = facts.get("desiredHealthy", "?"), facts.get("currentHealthy", "?")
    return f"disruption budget {facts['budget']} needs {needs} healthy pods, and has {has}"


def _retry_after(refusal: TooManyRequests) -> float:
    try:
        return float(refusal.details["retryAfterSeconds"])
    except (KeyError, ValueError):
        return _RETRY_SECONDS
