"""A rollout as it goes: one line that changes on a terminal, a line a change in a pipe; a failure with its causes."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from podium.cli.session import Session, is_terminal
from podium.cli.waiting import Deadline
from podium.errors import DeadlineExceeded, PodiumError
from podium.objects.kinds import Kind
from podium.v1.rollouts_service_pb2 import RolloutStatus

_BAR = 20
_LAST_LINES = 10


async def follow(
    session: Session, kind: Kind, name: str, *, watch: bool, deadline: Deadline | None, namespace: str | None = None
) -> int:
    """Show a rollout until it is complete or has failed; returns the exit code.

    Raises:
        DeadlineExceeded: It is neither in time; what it suffers from so far is shown first.
    """
    shown, last = "", RolloutStatus()
    try:
        async with asyncio.timeout(deadline.left if deadline else None):
            async for last in session.client.rollouts.status(kind.message, name, namespace=namespace, watch=watch):
                line = _line(kind, name, last)
                if line != shown:
                    _show(line)
                    shown = line
    except TimeoutError:
        assert deadline is not None
        _end_line()
        await _investigate(session, last, namespace)
        raise DeadlineExceeded(f"{kind.qualified}/{name} is not rolled out after {deadline.seconds:g}s") from None
    _end_line()
    if last.phase == RolloutStatus.FAILED:
        await _investigate(session, last, namespace)
        return 1
    return 0


def _line(kind: Kind, name: str, status: RolloutStatus) -> str:
    subject = f"{kind.qualified}/{name}"
    if status.phase == RolloutStatus.COMPLETE:
        return click.style("✓ ", fg="green") + f"{subject} revision {status.revision}: {status.message}"
    if status.phase == RolloutStatus.FAILED:
        return click.style("✗ ", fg="red") + f"{subject} revision {status.revision}: {status.message}"
    done = min(status.available, status.updated) if status.desired else 0
    filled = _BAR * done // status.desired if status.desired else 0
    bar = "█" * filled + "░" * (_BAR - filled)
    return f"  {subject} {bar} {done}/{status.desired}  {status.message}"


def _show(line: str) -> None:
    if is_terminal():
        click.echo(f"\r\x1b[2K{line}", nl=False)
    else:
        click.echo(line)


def _end_line() -> None:
    if is_terminal():
        click.echo()


async def _investigate(session: Session, status: RolloutStatus, namespace: str | None) -> None:
    """Print what would be looked for next: each failing pod's reason, exit code and last words, and what changed."""
    for problem in status.problems:
        where = f"{problem.pod}{'/' + problem.container if problem.container else ''}"
        code = f", exit code {problem.exit_code}" if problem.HasField("exit_code") else ""
        again = f", {problem.restart_count} restarts" if problem.restart_count else ""
        click.echo(f"\n{click.style(where, bold=True)} on {problem.node or 'no node'}: {problem.reason}{code}{again}")
        if problem.message:
            click.echo(f"  {problem.message}")
        if problem.container:
            await _last_words(session, problem, namespace)
    if status.changes:
        click.echo("\nchanged since the last revision that worked:")
        for change in status.changes:
            click.echo(f"  {change}")


async def _last_words(session: Session, problem: Any, namespace: str | None) -> None:
    """The last log lines of a failing container: of its previous run when the present one has written nothing."""
    for previous in (False, True):
        text = await _tail(session, problem, namespace, previous=previous)
        if text:
            click.echo("  last lines of its log:")
            for line in text.splitlines()[-_LAST_LINES:]:
                click.echo(f"    {line}")
            return


async def _tail(session: Session, problem: Any, namespace: str | None, *, previous: bool) -> str:
    data = bytearray()
    try:
        async with asyncio.timeout(5):
            async for _, piece in session.client.pods.logs(
                problem.pod, namespace=namespace, container=problem.container, previous=previous, tail=_LAST_LINES
            ):
                data += piece
    except (PodiumError, TimeoutError):
        return ""
    return data.decode(errors="replace")
