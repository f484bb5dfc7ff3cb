"""`podium version`."""

from __future__ import annotations

import click

from podium import __version__
from podium.cli.session import Session, command


@click.command(epilog="\b\nExamples:\n  podium version\n  podium version --client")
@click.option("--client", "client_only", is_flag=True, help="Do not ask the master.")
@command
async def version(session: Session, client_only: bool) -> None:
    """Versions of this command and of the master."""
    click.echo(f"client  {__version__}")
    if not client_only:
        info = await session.client.cluster.info()
        click.echo(f"master  {info.version}  cluster {info.cluster_id}")
