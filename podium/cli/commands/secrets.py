"""`podium secrets`: the keys that Secrets are sealed with in the master's store."""

from __future__ import annotations

import sys

import click

from podium.aio.clock import SystemClock
from podium.cli.output import table
from podium.cli.output.age import age
from podium.cli.session import Session, command


@click.group(
    epilog="""
\b
Examples:
  podium secrets keys
  podium secrets rotate-key
  podium secrets drop-keys
"""
)
def secrets() -> None:
    """See and rotate the keys that secrets are sealed with in the store; the keys themselves never leave the master."""


@secrets.command(epilog="\b\nExamples:\n  podium secrets keys")
@command
async def keys(session: Session) -> None:
    """List the keys: the Active one seals, Retiring ones are needed for history, Unused ones for old backups."""
    now = SystemClock().now()
    rows = [[key.id, key.state, age(key.created, now)] for key in await session.client.cluster.list_secret_keys()]
    for line in table.lines(["ID", "STATE", "AGE"], rows):
        click.echo(line)


@secrets.command("rotate-key", epilog="\b\nExamples:\n  podium secrets rotate-key")
@command
async def rotate_key(session: Session) -> None:
    """Make a new key and seal every secret anew with it.

    Afterwards back up the master's encryption.keys: backups of the store can't be read without it.
    """
    total = 0
    async for progress in session.client.cluster.rotate_secret_key():
        total = progress.total
        if sys.stderr.isatty():
            click.echo(f"\r{progress.done}/{total} secrets sealed", err=True, nl=progress.done == total)
    [newest] = (await session.client.cluster.list_secret_keys())[-1:]
    click.echo(f"key {newest.id} made, {total} secrets sealed with it; back up the master's encryption.keys now")


@secrets.command("drop-keys", epilog="\b\nExamples:\n  podium secrets drop-keys --yes")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
async def drop_keys(session: Session, yes: bool) -> None:
    """Remove unused keys: backups of the store that were made with them can't be read any more."""
    if not yes:
        click.confirm("Backups that were made with unused keys can't be read any more. Go on?", abort=True)
    for id_ in await session.client.cluster.drop_secret_keys():
        click.echo(f"key {id_} dropped")
