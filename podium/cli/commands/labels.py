"""`podium label` and `podium annotate`."""

from __future__ import annotations

from typing import Any

import click

from podium.cli.complete import targets
from podium.cli.options import done, dry_run_option
from podium.cli.resources import parse_targets
from podium.cli.session import Session, command
from podium.errors import BadRequest, Conflict


def _options(body: Any) -> Any:
    for option in reversed(
        (
            click.argument(
                "words",
                nargs=-1,
                required=True,
                shell_complete=targets,
                metavar="KIND NAME... | KIND/NAME...  KEY=VALUE... | KEY-...",
            ),
            click.option("-l", "--selector", default="", help="Objects with these labels."),
            click.option("--all", "everything", is_flag=True, help="All objects of the kind."),
            click.option("--overwrite", is_flag=True, help="Change a value that is there already."),
            dry_run_option,
        )
    ):
        body = option(body)
    return body


@click.command(
    epilog="""
\b
Examples:
  podium label node node1 disk=ssd
  podium label pods --all tier=front
  podium label node/node1 disk-           remove a label
  podium label pods -l app=web tier=front --dry-run
"""
)
@_options
@command
async def label(
    session: Session, words: tuple[str, ...], selector: str, everything: bool, overwrite: bool, dry_run: bool
) -> None:
    """Set or remove labels."""
    await _change(session, "labels", words, selector, everything, overwrite, dry_run)


@click.command(
    epilog="""
\b
Examples:
  podium annotate deploy/web kubernetes.io/change-cause="raise the log level"
  podium annotate deploy/web note-
"""
)
@_options
@command
async def annotate(
    session: Session, words: tuple[str, ...], selector: str, everything: bool, overwrite: bool, dry_run: bool
) -> None:
    """Set or remove annotations."""
    await _change(session, "annotations", words, selector, everything, overwrite, dry_run)


async def _change(
    session: Session,
    field: str,
    words: tuple[str, ...],
    selector: str,
    everything: bool,
    overwrite: bool,
    dry_run: bool,
) -> None:
    changes = parse_changes(words)
    whom = [w for w in words if not _is_change(w)]
    if not changes:
        raise BadRequest("say what to change: KEY=VALUE, or KEY- to remove")
    for target in parse_targets(whom):
        names = target.names
        if not names and (selector or everything):
            found: list[Any] = await session.client.list(target.kind.message, selector=selector)
            names = tuple(o.metadata.name for o in found)
        if not names:
            raise BadRequest("name the objects, or give -l SELECTOR or --all")
        for name in names:
            if not overwrite:
                obj: Any = await session.client.get(target.kind.message, name)
                _refuse_overwriting(f"{target.kind.qualified}/{name}", getattr(obj.metadata, field), changes)
            patch = {"metadata": {field: changes}}
            await session.client.patch(target.kind.message, name, patch, type="merge", dry_run=dry_run)
            click.echo(done(f"{target.kind.qualified}/{name} {field} changed", dry_run=dry_run))


def _is_change(word: str) -> bool:
    return "=" in word or (word.endswith("-") and len(word) > 1)


def parse_changes(words: tuple[str, ...]) -> dict[str, str | None]:
    """KEY=VALUE and KEY- words as a merge patch: a value, or None to remove."""
    changes: dict[str, str | None] = {}
    for word in words:
        if "=" in word:
            key, _, value = word.partition("=")
            changes[key] = value
        elif _is_change(word):
            changes[word.removesuffix("-")] = None
    return changes


def _refuse_overwriting(subject: str, present: Any, changes: dict[str, str | None]) -> None:
    for key, value in changes.items():
        if value is not None and key in present and present[key] != value:
            raise Conflict(f"{subject} has {key}={present[key]} already; --overwrite changes it")
