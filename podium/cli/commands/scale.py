"""`podium scale`."""

from __future__ import annotations

from typing import Any

import click

from podium.cli.complete import targets
from podium.cli.options import done, dry_run_option
from podium.cli.resources import parse_targets
from podium.cli.session import Session, command
from podium.errors import BadRequest, Conflict


@click.command(
    epilog="""
\b
Examples:
  podium scale deploy/web --replicas=5
  podium scale rs/web-7c9f8 --replicas=2 --current-replicas=3
  podium scale deploy/web --replicas=50 --dry-run
"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME...", shell_complete=targets)
@click.option("--replicas", type=click.IntRange(min=0), required=True, help="How many pods there shall be.")
@click.option("--current-replicas", type=int, help="Only if there are so many now.")
@dry_run_option
@command
async def scale(
    session: Session, what: tuple[str, ...], replicas: int, current_replicas: int | None, dry_run: bool
) -> None:
    """Set the number of replicas of workloads."""
    for target in parse_targets(what):
        if not target.names:
            raise BadRequest("name the workloads: KIND/NAME")
        for name in target.names:
            if current_replicas is not None:
                obj: Any = await session.client.get(target.kind.message, name)
                if obj.spec.replicas != current_replicas:
                    raise Conflict(
                        f"{target.kind.qualified}/{name} has {obj.spec.replicas} replicas, not {current_replicas}"
                    )
            await session.client.scale(target.kind.message, name, replicas, dry_run=dry_run)
            click.echo(done(f"{target.kind.qualified}/{name} scaled to {replicas}", dry_run=dry_run))
