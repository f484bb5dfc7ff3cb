"""`podium set image`, `podium set env`: the two changes that roll a workload most often."""

from __future__ import annotations

import click

from podium.cli.options import done, dry_run_option
from podium.cli.resources import Target, parse_targets
from podium.cli.session import Session, command, session_options
from podium.errors import BadRequest


@click.group(
    "set",
    epilog="""
\b
Examples:
  podium set image deploy/web web=nginx:1.16.1
  podium set env deploy/web LOG_LEVEL=debug TRACE-
""",
)
@session_options
def set() -> None:
    """Change the image or the environment of a workload's containers."""


def _workload(words: tuple[str, ...]) -> tuple[Target, tuple[str, ...]]:
    """The workload that the first word (`deploy/web`) or two (`deploy web`) name, and the words after it."""
    count = 1 if "/" in words[0] else 2
    target = parse_targets(words[:count])[0]
    if len(target.names) != 1 or len(words) == count:
        raise BadRequest("name the workload, then what to change: podium set image KIND/NAME CONTAINER=IMAGE")
    return target, words[count:]


def _container_patch(target: Target, containers: list[dict[str, object]]) -> dict[str, object]:
    spec: dict[str, object] = {"containers": containers}
    return {"spec": spec if target.kind.name == "Pod" else {"template": {"spec": spec}}}


@set.command(
    epilog="""
\b
Examples:
  podium set image deploy/web web=nginx:1.16.1
  podium set image deploy/web '*=nginx:1.16.1'
  podium set image deploy/web web=nginx:1.16.1 --dry-run
"""
)
@click.argument("words", nargs=-1, required=True, metavar="KIND/NAME CONTAINER=IMAGE...")
@dry_run_option
@command
async def image(session: Session, words: tuple[str, ...], dry_run: bool) -> None:
    """Give containers another image; `*=IMAGE` means all."""
    target, pairs = _workload(words)
    known = await _container_names(session, target)
    images: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not value:
            raise BadRequest(f'"{pair}" is not CONTAINER=IMAGE')
        if name != "*" and name not in known:
            raise _no_container(target, name, known)
        images.update(dict.fromkeys(known if name == "*" else [name], value))
    patch = _container_patch(target, [{"name": n, "image": i} for n, i in images.items()])
    await session.client.patch(target.kind.message, target.names[0], patch, dry_run=dry_run)
    click.echo(done(f"{target.kind.qualified}/{target.names[0]} image updated", dry_run=dry_run))


@set.command(epilog="\b\nExamples:\n  podium set env deploy/web LOG_LEVEL=debug TRACE-")
@click.argument("words", nargs=-1, required=True, metavar="KIND/NAME NAME=VALUE... | NAME-...")
@click.option("-c", "--container", default="", help="Only this container; all when not given.")
@dry_run_option
@command
async def env(session: Session, words: tuple[str, ...], container: str, dry_run: bool) -> None:
    """Set or, with a trailing minus, remove environment variables."""
    target, pairs = _workload(words)
    known = await _container_names(session, target)
    if container and container not in known:
        raise _no_container(target, container, known)
    changes: list[dict[str, object]] = []
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if equals:
            changes.append({"name": name, "value": value})
        elif name.endswith("-"):
            changes.append({"name": name.removesuffix("-"), "$patch": "delete"})
        else:
            raise BadRequest(f'"{pair}" is neither NAME=VALUE nor NAME-')
    chosen = [container] if container else known
    patch = _container_patch(target, [{"name": n, "env": changes} for n in chosen])
    await session.client.patch(target.kind.message, target.names[0], patch, dry_run=dry_run)
    click.echo(done(f"{target.kind.qualified}/{target.names[0]} env updated", dry_run=dry_run))


def _no_container(target: Target, name: str, known: list[str]) -> BadRequest:
    return BadRequest(f'{target.kind.singular}/{target.names[0]} has no container "{name}"; it has {", ".join(known)}')


async def _container_names(session: Session, target: Target) -> list[str]:
    obj = await session.client.get(target.kind.message, target.names[0])
    spec = obj.spec if target.kind.name == "Pod" else obj.spec.template.spec  # type: ignore[attr-defined]
    return [c.name for c in spec.containers]
