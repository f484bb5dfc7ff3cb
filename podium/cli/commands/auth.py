"""`podium auth`: who one is to the master."""

from __future__ import annotations

import click

from podium.cli.session import Session, command


@click.group(
    epilog="""
\b
Examples:
  podium auth whoami
  podium auth whoami --context=production
"""
)
def auth() -> None:
    """See who the master takes you for."""


@auth.command(epilog="\b\nExamples:\n  podium auth whoami")
@command
async def whoami(session: Session) -> None:
    """Show the user and the groups that the client certificate stands for."""
    me = await session.client.cluster.who_am_i()
    click.echo(f"user    {me.user}\ngroups  {', '.join(sorted(me.groups)) or '<none>'}")
