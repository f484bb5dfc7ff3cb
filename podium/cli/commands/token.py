"""`podium token`: what lets a host join."""

from __future__ import annotations

import click

from podium.aio.clock import SystemClock
from podium.cli.options import seconds
from podium.cli.output import table
from podium.cli.output.age import duration
from podium.cli.session import Session, command


@click.group(
    epilog="""
\b
Examples:
  podium token create --ttl=1h
  podium token list
  podium token delete 4f9a2c
"""
)
def token() -> None:
    """Make, list and revoke join tokens."""


@token.command(epilog="\b\nExamples:\n  podium token create --ttl=1h --description=rack-7")
@click.option("--ttl", default="24h", show_default=True, metavar="DURATION", help="How long it is good for.")
@click.option("--description", default="", help="What it is for.")
@command
async def create(session: Session, ttl: str, description: str) -> None:
    """Make a token and print it: the only time that it is shown."""
    made = await session.client.cluster.create_token(ttl_seconds=int(seconds(ttl)), description=description)
    click.echo(made.token)


@token.command("list", epilog="\b\nExamples:\n  podium token list")
@command
async def list_tokens(session: Session) -> None:
    """List tokens, without their secrets."""
    now = SystemClock().now().timestamp()
    rows = [
        [t.id, duration(t.expires.seconds - now) if t.expires.seconds > now else "expired", t.description or "-"]
        for t in await session.client.cluster.list_tokens()
    ]
    click.echo(table.render(["ID", "EXPIRES IN", "DESCRIPTION"], rows))


@token.command(epilog="\b\nExamples:\n  podium token delete 4f9a2c")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@command
async def delete(session: Session, ids: tuple[str, ...]) -> None:
    """Revoke tokens."""
    for token_id in ids:
        await session.client.cluster.delete_token(token_id)
        click.echo(f"token {token_id} deleted")
