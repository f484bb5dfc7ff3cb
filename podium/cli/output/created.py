"""What `podium create` prints."""

from __future__ import annotations

from collections.abc import Sequence

import click
from google.protobuf.message import Message

from podium.cli.output.printer import Style, name_of, print_objects
from podium.objects.kinds import kind_of


def show(made: Sequence[Message], dry_run: bool, output: str = "") -> None:
    """`KIND/NAME created`, or the objects in another form."""
    if output:
        print_objects([(kind_of(o), [o]) for o in made], Style(format=output), single=len(made) == 1)
        return
    for obj in made:
        click.echo(f"{name_of(obj)} created{' (dry run)' if dry_run else ''}")
