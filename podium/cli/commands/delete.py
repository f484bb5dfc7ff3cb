"""`podium delete`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from podium.cli import manifests
from podium.cli.complete import targets
from podium.cli.options import seconds
from podium.cli.resources import Target, parse_targets
from podium.cli.session import Session, command, print_error
from podium.cli.waiting import Deadline, until
from podium.errors import BadRequest, NotFound
from podium.objects.kinds import Kind, named
from podium.v1.meta_pb2 import DeleteOptions

_CASCADES = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}


@click.command(
    epilog="""
\b
Examples:
  podium delete deploy/web                delete it and wait until it has gone
  podium delete pods -l app=web           all pods with a label
  podium delete -f web.yaml               what a manifest names
  podium delete pod web-1 --grace-period=0
"""
)
@click.argument("what", nargs=-1, metavar="[KIND NAME... | KIND/NAME...]", shell_complete=targets)
@click.option("-f", "--filename", "files", multiple=True, help="File, directory or - with manifests.")
@click.option("-R", "--recursive", is_flag=True, help="Directories with all below them.")
@click.option("-l", "--selector", default="", help="Objects with these labels.")
@click.option("--all", "everything", is_flag=True, help="All objects of the kind in the namespace.")
@click.option("--grace-period", type=int, help="Seconds to end gracefully; 0 ends at once.")
@click.option(
    "--cascade",
    type=click.Choice(list(_CASCADES)),
    default="background",
    show_default=True,
    help="What happens to what the object owns.",
)
@click.option("--ignore-not-found", is_flag=True, help="An object that does not exist is no error.")
@click.option(
    "--wait/--no-wait", "wait_gone", default=True, show_default=True, help="Wait until the objects have gone."
)
@click.option("--timeout", default="60s", show_default=True, metavar="DURATION", help="How long to wait.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted.")
@command
async def delete(
    session: Session, what: tuple[str, ...], files: tuple[str, ...], recursive: bool, selector: str, everything: bool,
    grace_period: int | None, cascade: str, ignore_not_found: bool, wait_gone: bool, timeout: str, dry_run: bool,
) -> int:  # fmt: skip
    """Delete objects by name, selector or manifest."""
    options = DeleteOptions(propagation_policy=_CASCADES[cascade])
    if grace_period is not None:
        options.grace_period_seconds = grace_period
    chosen: list[tuple[Kind, str, str, str | None]] = []
    failed = False
    for target, namespace in await _targets(session, what, files, recursive, selector, everything):
        for name in target.names:
            try:
                last: Any = await session.client.delete(
                    target.kind.message, name, namespace=namespace, options=options, dry_run=dry_run
                )
            except NotFound as error:
                if not ignore_not_found:
                    print_error(error)
                    failed = True
                continue
            click.echo(f"{target.kind.qualified}/{name} deleted" + (" (dry run)" if dry_run else ""))
            chosen.append((target.kind, name, last.metadata.uid, namespace))
    if wait_gone and not dry_run:
        deadline = Deadline(seconds(timeout))
        for kind, name, uid, namespace in chosen:
            await until(
                session, kind, [name], partial(_gone, uid), deadline=deadline, what="deletion",
                namespace=namespace,
            )  # fmt: skip
    return 1 if failed else 0


def _gone(uid: str, obj: Any | None) -> bool:
    return obj is None or obj.metadata.uid != uid


async def _targets(
    session: Session, what: tuple[str, ...], files: tuple[str, ...], recursive: bool, selector: str, everything: bool
) -> list[tuple[Target, str | None]]:
    """What to delete, manifests in reverse order: what was made last goes first."""
    found: list[tuple[Target, str | None]] = []
    for manifest in reversed(manifests.read(files, recursive=recursive)) if files else ():
        meta = manifest.data.get("metadata") or {}
        if not meta.get("name"):
            raise BadRequest(f"{manifest.source}: metadata.name is missing")
        found.append((Target(named(str(manifest.data.get("kind"))), (meta["name"],)), meta.get("namespace")))
    for target in parse_targets(what) if what else ():
        if target.names:
            found.append((target, None))
        elif selector or everything:
            objects = await session.client.list(target.kind.message, selector=selector)
            names = tuple(o.metadata.name for o in objects)  # type: ignore[attr-defined]
            found.append((Target(target.kind, names), None))
        else:
            raise BadRequest("name the objects, or give -l SELECTOR or --all")
    if not found:
        raise BadRequest("say what to delete: KIND NAME, KIND/NAME or -f FILE")
    return found
