"""`podium edit`."""

from __future__ import annotations

import sys
from typing import Any

import click

from podium.cli.complete import targets
from podium.cli.options import done, dry_run_option
from podium.cli.resources import parse_targets
from podium.cli.session import Session, command, print_error
from podium.codec.json import object_from_dict, to_dict
from podium.codec.yaml import dump_data, parse
from podium.errors import BadRequest, Invalid, PodiumError

_HINT = "# Lines that begin with # are ignored; an empty file, or one without changes, leaves the object as it is.\n"


@click.command(
    epilog="""
\b
Examples:
  podium edit deploy/web
  EDITOR=nano podium edit node node1
  podium edit deploy/web --dry-run        see whether the master would take it
"""
)
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME", shell_complete=targets)
@dry_run_option
@command
async def edit(session: Session, what: tuple[str, ...], dry_run: bool) -> None:
    """Change an object in your editor."""
    target = parse_targets(what)[0]
    if len(target.names) != 1:
        raise BadRequest("name one object: KIND/NAME")
    obj = await session.client.get(target.kind.message, target.names[0])
    text = original = _editable(obj)
    problem = ""
    while True:
        edited = click.edit(problem + _HINT + text, extension=".yaml")
        text = _without_comments(edited or "")
        if not text.strip() or text.strip() == original.strip():
            click.echo("not changed")
            return
        try:
            changed = parse(text)[0]
            object_from_dict(changed)
            patch = difference(parse(original)[0], changed)
            await session.client.patch(target.kind.message, target.names[0], patch, type="merge", dry_run=dry_run)
        except PodiumError as error:
            problem = _as_comment(error)
            if not sys.stdin.isatty():
                raise
            print_error(error)
            if not click.confirm("edit again?", default=True):
                raise
            continue
        click.echo(done(f"{target.kind.qualified}/{target.names[0]} edited", dry_run=dry_run))
        return


def difference(before: Any, after: Any) -> Any:
    """The merge patch (RFC 7386) that leads from one document to the other; the server sees no more than that."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return after
    patch = {key: None for key in before if key not in after}
    for key, value in after.items():
        if key not in before or before[key] != value:
            patch[key] = difference(before.get(key), value)
    return patch


def _editable(obj: Any) -> str:
    data = to_dict(obj)
    data.pop("status", None)
    data["metadata"].pop("managedFields", None)
    return dump_data(data)


def _without_comments(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def _as_comment(error: PodiumError) -> str:
    lines = [str(error), *(str(v) for v in error.violations)] if isinstance(error, Invalid) else [str(error)]
    return "".join(f"# {line}\n" for text in lines for line in text.splitlines()) + "#\n"
