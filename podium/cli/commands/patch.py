"""`podium patch`."""

from __future__ import annotations

from typing import TextIO

import click

from podium.cli.complete import targets
from podium.cli.output.printer import Style, print_objects
from podium.cli.resources import parse_targets
from podium.cli.session import Session, command
from podium.errors import BadRequest


@click.command(
    epilog="""
\b
Examples:
  podium patch deploy/web -p '{"spec":{"replicas":5}}'
  podium patch pod/web-1 --subresource=resize --patch-file=more-memory.yaml
  podium patch deploy/web --type=json -p '[{"op":"remove","path":"/spec/paused"}]'
"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME", shell_complete=targets)
@click.option("-p", "--patch", "text", default="", help="The patch, as JSON or YAML.")
@click.option("--patch-file", type=click.File(), help="A file with the patch.")
@click.option(
    "--type", "type_", type=click.Choice(["strategic", "merge", "json"]), default="strategic", show_default=True
)
@click.option("--subresource", default="", help="status or scale; of a pod: resize.")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@click.option("-o", "--output", default="", metavar="FORMAT", help="Print the result so.")
@command
async def patch(
    session: Session, what: tuple[str, ...], text: str, patch_file: TextIO | None, type_: str, subresource: str,
    dry_run: bool, output: str,
) -> None:  # fmt: skip
    """Change part of an object."""
    if bool(text) == bool(patch_file):
        raise BadRequest("give the patch with -p or --patch-file")
    from podium.codec.yaml import parse

    documents = parse(patch_file.read() if patch_file else text)
    if len(documents) != 1:
        raise BadRequest("the patch is not one JSON or YAML value")
    target = parse_targets(what)[0]
    if len(target.names) != 1:
        raise BadRequest("name one object: KIND/NAME")
    obj = await session.client.patch(
        target.kind.message, target.names[0], documents[0], type=type_, subresource=subresource, dry_run=dry_run
    )
    if output:
        print_objects([(target.kind, [obj])], Style(format=output), single=True)
    else:
        click.echo(f"{target.kind.qualified}/{target.names[0]} patched{' (dry run)' if dry_run else ''}")
