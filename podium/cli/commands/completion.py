"""`podium completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from podium.cli.session import Session, command
from podium.errors import BadRequest


@click.command(
    epilog="""
\b
Examples:
  source <(podium completion bash)
  podium completion zsh > ~/.zfunc/_podium
"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@command
async def completion(session: Session, shell: str) -> None:
    """Print a script that completes commands in a shell."""
    from podium.cli.main import cli

    made = get_completion_class(shell)
    if made is None:
        raise BadRequest(f"no completion for {shell}")
    click.echo(made(cli, {}, "podium", "_PODIUM_COMPLETE").source())
