"""`podium apply` and `podium diff`: server-side apply of manifests, checked whole before the first is sent."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import click
from google.protobuf.message import Message

from podium.cli import manifests
from podium.cli.options import seconds
from podium.cli.output.printer import Style, name_of, print_objects
from podium.cli.output.rollout import follow
from podium.cli.session import Session, command, print_error
from podium.cli.waiting import Deadline, until
from podium.codec.json import object_from_dict, to_dict
from podium.codec.yaml import dump_data
from podium.errors import BadRequest, Conflict, Invalid, NotFound, PodiumError, Violation
from podium.objects.kinds import Kind, kind_of
from podium.objects.pod import is_ready

P = ParamSpec("P")
R = TypeVar("R")

_ROLLED_OUT = ("Deployment", "DaemonSet", "StatefulSet")


@dataclass(frozen=True, slots=True)
class Checked:
    """A manifest that decodes: its data (with its namespace filled in) and its object."""

    source: str
    kind: Kind
    data: dict[str, Any]
    obj: Any


_file_options = (
    click.option("-f", "--filename", "files", multiple=True, required=True, help="File, directory or -."),
    click.option("-R", "--recursive", is_flag=True, help="Directories with all below them."),
    click.option("--validate", type=click.Choice(["strict", "warn"]), default="strict", show_default=True,
                 help="Refuse fields that are not known, or drop them with a warning."),
    click.option("--field-manager", default="podium", show_default=True, help="Who owns the applied fields."),
    click.option("--force-conflicts", is_flag=True, help="Take fields that other managers own."),
)  # fmt: skip


def _manifest_options(body: Callable[P, R]) -> Callable[P, R]:
    for option in reversed(_file_options):
        body = option(body)
    return body


@click.command(
    epilog="""
\b
Examples:
  podium apply -f web.yaml                one file
  podium apply -f web.yaml --wait         and follow the rollout to its end
  podium apply -R -f manifests/           a directory
  podium apply -f - --dry-run -o yaml     what would be stored
"""
)
@_manifest_options
@click.option("--dry-run", is_flag=True, help="Change nothing; show what the master would store.")
@click.option("--wait", "wait_done", is_flag=True, help="Wait until what was applied runs; a failure is explained.")
@click.option("--timeout", default="10m", show_default=True, metavar="DURATION", help="How long --wait waits.")
@click.option("-o", "--output", default="", metavar="FORMAT", help="Print the results so.")
@command
async def apply(
    session: Session, files: tuple[str, ...], recursive: bool, validate: str, field_manager: str,
    force_conflicts: bool, dry_run: bool, wait_done: bool, timeout: str, output: str,
) -> int:  # fmt: skip
    """Make the cluster match manifests."""
    checked = check(manifests.read(files, recursive=recursive), session.namespace, warn=validate == "warn")
    results: list[Message] = []
    failed = False
    for item in checked:
        try:
            before = await _live(session, item)
            after = await _send(session, item, field_manager, force=force_conflicts, dry_run=dry_run)
        except PodiumError as error:
            print_error(error, item.source)
            failed = True
            continue
        results.append(after)
        if not output:
            click.echo(f"{name_of(after)} {_verb(before, after)}{' (dry run)' if dry_run else ''}")
    if output:
        print_objects([(kind_of(r), [r]) for r in results], Style(format=output), single=len(checked) == 1)
    if wait_done and not dry_run and not failed:
        return await _wait(session, results, seconds(timeout))
    return 1 if failed else 0


def check(found: Sequence[manifests.Manifest], namespace: str, *, warn: bool) -> list[Checked]:
    """Decode every manifest before any is sent.

    Raises:
        Invalid: Names each field at fault of each manifest.
    """
    checked: list[Checked] = []
    refused: list[Violation] = []
    for manifest in found:
        warnings: list[Violation] = []
        try:
            obj = object_from_dict(manifest.data, warnings=warnings if warn else None)
        except Invalid as error:
            refused += [Violation(f"{manifest.source}: {v.field}", v.description, v.hint) for v in error.violations]
            continue
        for warning in warnings:
            click.echo(click.style("warning: ", fg="yellow") + f"{manifest.source}: {warning} (dropped)", err=True)
        kind = kind_of(obj)
        if kind.namespaced and not obj.metadata.namespace:
            obj.metadata.namespace = namespace
        data = to_dict(obj) if warnings else manifest.data
        if kind.namespaced:
            data = {**data, "metadata": {**data["metadata"], "namespace": obj.metadata.namespace}}
        checked.append(Checked(manifest.source, kind, data, obj))
    if refused:
        raise Invalid("the manifests are refused; nothing was changed", violations=refused)
    return checked


async def _live(session: Session, item: Checked) -> Any | None:
    if not item.obj.metadata.name:
        raise BadRequest("metadata.name is missing: apply needs to know which object (create takes generateName)")
    try:
        return await session.client.get(
            item.kind.message, item.obj.metadata.name, namespace=item.obj.metadata.namespace or None
        )
    except NotFound:
        return None


async def _send(session: Session, item: Checked, manager: str, *, force: bool, dry_run: bool) -> Any:
    try:
        return await session.client.apply(item.data, manager=manager, force=force, dry_run=dry_run)
    except Conflict as error:
        if force:
            raise
        raise Conflict(f"{error.message} (--force-conflicts)", error.details) from None


def _verb(before: Any | None, after: Any) -> str:
    if before is None:
        return "created"
    return "configured" if difference(before, after) else "unchanged"


async def _wait(session: Session, results: Sequence[Any], timeout: float) -> int:
    """Follow each workload to its end, one after the other; the first failure is explained and ends it."""
    deadline = Deadline(timeout)
    for obj in results:
        kind, meta = kind_of(obj), obj.metadata
        if kind.name in _ROLLED_OUT:
            code = await follow(session, kind, meta.name, watch=True, deadline=deadline, namespace=meta.namespace)
            if code:
                return code
        elif kind.name == "Pod":
            await until(
                session, kind, [meta.name], _pod_runs, deadline=deadline, what="readiness", namespace=meta.namespace
            )
    return 0


def _pod_runs(obj: Any | None) -> bool:
    return obj is not None and (is_ready(obj) or obj.status.phase == "Succeeded")


@click.command(
    epilog="""
\b
Examples:
  podium diff -f web.yaml                 exits with 1 when something would change
  podium diff -R -f manifests/
"""
)
@_manifest_options
@command
async def diff(
    session: Session, files: tuple[str, ...], recursive: bool, validate: str, field_manager: str, force_conflicts: bool
) -> int:
    """Show what applying manifests would change; exits with 0 for nothing, 1 for something, 2 for an error."""
    changed = failed = False
    try:
        checked = check(manifests.read(files, recursive=recursive), session.namespace, warn=validate == "warn")
    except PodiumError as error:
        print_error(error)
        return 2
    for item in checked:
        try:
            before = await _live(session, item)
            after = await _send(session, item, field_manager, force=force_conflicts, dry_run=True)
        except PodiumError as error:
            print_error(error, item.source)
            failed = True
            continue
        for line in difference(before, after):
            changed = True
            click.echo(_coloured(line))
    return 2 if failed else 1 if changed else 0


def difference(before: Any | None, after: Any) -> list[str]:
    """A unified diff of two states of an object, without what only the master writes."""
    name = name_of(after)
    left = _comparable(before) if before is not None else []
    return list(difflib.unified_diff(left, _comparable(after), f"live/{name}", f"applied/{name}", lineterm=""))


def _comparable(obj: Any) -> list[str]:
    data = to_dict(obj)
    data.pop("status", None)
    for key in ("managedFields", "resourceVersion", "uid", "creationTimestamp"):
        data["metadata"].pop(key, None)
    return dump_data(data).splitlines()


def _coloured(line: str) -> str:
    colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
    return click.style(line, fg=colour) if colour else line
