"""`podium rollout`: status, history, undo, pause, resume, restart, promote, abort, retry."""

from __future__ import annotations

from typing import Any

import click

from podium.aio.clock import SystemClock
from podium.cli.complete import targets
from podium.cli.options import seconds
from podium.cli.output import table
from podium.cli.output.age import age
from podium.cli.output.rollout import follow
from podium.cli.resources import Target, parse_targets
from podium.cli.session import Session, command, session_options
from podium.cli.waiting import Deadline
from podium.errors import BadRequest


@click.group(
    epilog="""
\b
Examples:
  podium rollout status deploy/web
  podium rollout history deploy/web
  podium rollout undo deploy/web --to-revision=3
  podium rollout restart deploy/web
  podium rollout promote deploy/web
  podium rollout abort deploy/web
"""
)
@session_options
def rollout() -> None:
    """Follow, undo, pause and restart rollouts."""


def _one(words: tuple[str, ...]) -> Target:
    targets = parse_targets(words)
    if len(targets) != 1 or len(targets[0].names) != 1:
        raise BadRequest("name one workload: KIND NAME or KIND/NAME")
    return targets[0]


@rollout.command(
    epilog="\b\nExamples:\n  podium rollout status deploy/web\n  podium rollout status deploy/web --timeout=2m"
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME", shell_complete=targets)
@click.option("--watch/--no-watch", default=True, show_default=True, help="Follow until it is complete or has failed.")
@click.option("--timeout", default="0", metavar="DURATION", help="Give up after this long; 0 never.")
@command
async def status(session: Session, what: tuple[str, ...], watch: bool, timeout: str) -> int:
    """Show how a rollout goes; exits with 1 when it has failed."""
    target = _one(what)
    limit = seconds(timeout)
    return await follow(session, target.kind, target.names[0], watch=watch, deadline=Deadline(limit) if limit else None)


@rollout.command(
    epilog="\b\nExamples:\n  podium rollout history deploy/web\n  podium rollout history deploy/web --revision=3"
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME", shell_complete=targets)
@click.option("--revision", type=int, default=0, help="Show one revision, with its pod template.")
@command
async def history(session: Session, what: tuple[str, ...], revision: int) -> None:
    """Who changed what, when: every revision that can be returned to."""
    target = _one(what)
    revisions = await session.client.rollouts.history(target.kind.message, target.names[0], revision=revision)
    now = SystemClock().now()
    rows = [_history_row(r, now) for r in revisions]
    click.echo(table.render(["REVISION", "AGE", "BY", "RESULT", "CAUSE", "CHANGE"], rows))
    if revision and revisions:
        from podium.codec.json import to_dict
        from podium.codec.yaml import dump_data

        click.echo("\n" + dump_data(to_dict(revisions[0].template)).rstrip())


def _history_row(revision: Any, now: Any) -> list[str]:
    changes = list(revision.changes)
    summary = "; ".join(changes[:2]) + (f"; and {len(changes) - 2} more" if len(changes) > 2 else "")
    number = f"{revision.revision}{' *' if revision.current else ''}"
    by, result, cause = revision.user or "-", revision.verdict or "-", revision.change_cause or "-"
    return [number, age(revision.created, now), by, result, cause, summary or "-"]


@rollout.command(
    epilog="\b\nExamples:\n  podium rollout undo deploy/web\n  podium rollout undo deploy/web --to-revision=3"
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME", shell_complete=targets)
@click.option("--to-revision", type=int, default=0, help="0: the one before the current.")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@command
async def undo(session: Session, what: tuple[str, ...], to_revision: int, dry_run: bool) -> None:
    """Go back to an earlier revision."""
    target = _one(what)
    await session.client.rollouts.undo(target.kind.message, target.names[0], to_revision=to_revision, dry_run=dry_run)
    _say(target, f"rolled back{f' to revision {to_revision}' if to_revision else ''}{' (dry run)' if dry_run else ''}")


@rollout.command(epilog="\b\nExamples:\n  podium rollout pause deploy/web")
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME", shell_complete=targets)
@command
async def pause(session: Session, what: tuple[str, ...]) -> None:
    """Stop rolling out; changes gather until it is resumed."""
    target = _one(what)
    await session.client.rollouts.pause(target.kind.message, target.names[0])
    _say(target, "paused")


@rollout.command(epilog="\b\nExamples:\n  podium rollout resume deploy/web")
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME", shell_complete=targets)
@command
async def resume(session: Session, what: tuple[str, ...]) -> None:
    """Go on rolling out."""
    target = _one(what)
    await session.client.rollouts.resume(target.kind.message, target.names[0])
    _say(target, "resumed")


@rollout.command(epilog="\b\nExamples:\n  podium rollout restart deploy/web")
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME", shell_complete=targets)
@command
async def restart(session: Session, what: tuple[str, ...]) -> None:
    """Replace every pod, step by step."""
    target = _one(what)
    await session.client.rollouts.restart(target.kind.message, target.names[0])
    _say(target, "restarted")


@rollout.command(
    epilog="\b\nExamples:\n  podium rollout promote deploy/web\n  podium rollout promote deploy/web --full"
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME", shell_complete=targets)
@click.option("--full", is_flag=True, help="Skip all further steps of a canary.")
@command
async def promote(session: Session, what: tuple[str, ...], full: bool) -> None:
    """Go on from the pause or analysis that a rollout waits in; make a blue/green preview active."""
    target = _one(what)
    await session.client.rollouts.promote(target.kind.message, target.names[0], full=full)
    _say(target, "promoted")


@rollout.command(epilog="\b\nExamples:\n  podium rollout abort deploy/web")
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME", shell_complete=targets)
@command
async def abort(session: Session, what: tuple[str, ...]) -> None:
    """Return to the last revision that worked; the new one is held back until it changes."""
    target = _one(what)
    await session.client.rollouts.abort(target.kind.message, target.names[0])
    _say(target, "aborted")


@rollout.command(epilog="\b\nExamples:\n  podium rollout retry deploy/web")
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME", shell_complete=targets)
@command
async def retry(session: Session, what: tuple[str, ...]) -> None:
    """Try a revision again that was aborted, rolled back, or failed its analysis."""
    target = _one(what)
    await session.client.rollouts.retry(target.kind.message, target.names[0])
    _say(target, "tried again")


def _say(target: Target, what: str) -> None:
    click.echo(f"{target.kind.qualified}/{target.names[0]} {what}")
