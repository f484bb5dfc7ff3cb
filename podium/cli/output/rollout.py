"""A rollout as it goes: lines that change on a terminal, a line a change in a pipe; a failure with its causes.

deployment/web ████░░░░░░░░░░░░░░░░ 1/5  weight 20% (is 20%)  pause 30s at step 2 of 4
  ✓ weight 20%
  ▶ pause 30s
  · analysis errors
  … errors: 0.998 (wanted: >= 0.99), 3 of 5 passed
"""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

import click

from podium.cli.session import Session, is_terminal
from podium.cli.waiting import Deadline
from podium.errors import DeadlineExceeded, PodiumError
from podium.objects.kinds import Kind
from podium.v1.rollouts_service_pb2 import RolloutMetric, RolloutStatus, RolloutStep

_BAR = 20
_LAST_LINES = 10


async def follow(
    session: Session, kind: Kind, name: str, *, watch: bool, deadline: Deadline | None, namespace: str | None = None
) -> int:
    """Show a rollout until it is complete or has failed; returns the exit code.

    Raises:
        DeadlineExceeded: It is neither in time; what it suffers from so far is shown first.
    """
    screen, last = _Screen(), RolloutStatus()
    try:
        async with asyncio.timeout(deadline.left if deadline else None):
            async for last in session.client.rollouts.status(kind.message, name, namespace=namespace, watch=watch):
                screen.show(lines(kind, name, last))
    except TimeoutError:
        assert deadline is not None
        await _investigate(session, last, namespace)
        raise DeadlineExceeded(f"{kind.qualified}/{name} is not rolled out after {deadline.seconds:g}s") from None
    if last.phase == RolloutStatus.FAILED:
        await _investigate(session, last, namespace)
        return 1
    return 0


def lines(kind: Kind, name: str, status: RolloutStatus) -> list[str]:
    """What is shown of one status: a line, and below it the steps of a canary and what was measured."""
    steps = [f"    {_MARKS[step.state]} {step.text}" for step in status.steps]
    metrics = [f"    {_verdict(metric)} {metric.name}: {metric.message}" for metric in status.metrics]
    return [_line(kind, name, status), *steps, *metrics]


def _line(kind: Kind, name: str, status: RolloutStatus) -> str:
    subject = f"{kind.qualified}/{name}"
    if status.phase == RolloutStatus.COMPLETE:
        return click.style("✓ ", fg="green") + f"{subject} revision {status.revision}: {status.message}"
    if status.phase == RolloutStatus.FAILED:
        return click.style("✗ ", fg="red") + f"{subject} revision {status.revision}: {status.message}"
    done = min(status.available, status.updated) if status.desired else 0
    filled = min(_BAR, _BAR * done // status.desired) if status.desired else 0
    bar = "█" * filled + "░" * (_BAR - filled)
    weight = f"  weight {status.weight}% (is {status.actual_weight}%)" if status.HasField("weight") else ""
    return f"  {subject} {bar} {done}/{status.desired}{weight}  {status.message}"


_MARKS = {
    RolloutStep.STATE_UNSPECIFIED: " ",
    RolloutStep.TODO: "·",
    RolloutStep.CURRENT: "▶",
    RolloutStep.DONE: "✓",
}


def _verdict(metric: RolloutMetric) -> str:
    return {"Passed": click.style("✓", fg="green"), "Failed": click.style("✗", fg="red")}.get(metric.phase, "…")


def _cut(line: str) -> str:
    """A line that does not wrap, or the lines above it would not be found again."""
    width = shutil.get_terminal_size().columns
    plain = click.unstyle(line)
    return line if len(plain) <= width else plain[: width - 1] + "…"


class _Screen:
    """Shows blocks of lines: over each other on a terminal, and else only those that are new."""

    def __init__(self) -> None:
        self._shown: list[str] = []

    def show(self, block: list[str]) -> None:
        """Show a block in place of the one before it."""
        if block == self._shown:
            return
        if is_terminal():
            up = f"\x1b[{len(self._shown)}A" if self._shown else ""
            click.echo(up + "".join(f"\r\x1b[2K{_cut(line)}\n" for line in block) + "\x1b[J", nl=False)
        else:
            for line in block:
                if line not in self._shown:
                    click.echo(line)
        self._shown = block


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
