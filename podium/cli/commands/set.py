"""`podium set image`, `podium set env`: the two changes that roll a workload most often."""

from __future__ import annotations

import click

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


def _workload(word: str) -> Target:
    targets = parse_targets([word])
    if len(targets[0].names) != 1:
        raise BadRequest("name the workload: KIND/NAME")
    return targets[0]


def _container_patch(target: Target, containers: list[dict[str, object]]) -> dict[str, object]:
    spec: dict[str, object] = {"containers": containers}
    return {"spec": spec if target.kind.name == "Pod" else {"template": {"spec": spec}}}


@set.command()
@click.argument("what", metavar="KIND/NAME")
@click.argument("pairs", nargs=-1, required=True, metavar="CONTAINER=IMAGE...")
@command
async def image(session: Session, what: str, pairs: tuple[str, ...]) -> None:
    """Give containers another image; `*=IMAGE` means all."""
    target = _workload(what)
    known = await _container_names(session, target)
    images: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not value:
            raise BadRequest(f'"{pair}" is not CONTAINER=IMAGE')
        if name != "*" and name not in known:
            raise BadRequest(f'{what} has no container "{name}"; it has {", ".join(known)}')
        images.update(dict.fromkeys(known if name == "*" else [name], value))
    patch = _container_patch(target, [{"name": n, "image": i} for n, i in images.items()])
    await session.client.patch(target.kind.message, target.names[0], patch)
    click.echo(f"{target.kind.qualified}/{target.names[0]} image updated")


@set.command()
@click.argument("what", metavar="KIND/NAME")
@click.argument("pairs", nargs=-1, required=True, metavar="NAME=VALUE... | NAME-...")
@click.option("-c", "--container", default="", help="Only this container; all when not given.")
@command
async def env(session: Session, what: str, pairs: tuple[str, ...], container: str) -> None:
    """Set or, with a trailing minus, remove environment variables."""
    target = _workload(what)
    known = await _container_names(session, target)
    if container and container not in known:
        raise BadRequest(f'{what} has no container "{container}"; it has {", ".join(known)}')
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
    await session.client.patch(target.kind.message, target.names[0], patch)
    click.echo(f"{target.kind.qualified}/{target.names[0]} env updated")


async def _container_names(session: Session, target: Target) -> list[str]:
    obj = await session.client.get(target.kind.message, target.names[0])
    spec = obj.spec if target.kind.name == "Pod" else obj.spec.template.spec  # type: ignore[attr-defined]
    return [c.name for c in spec.containers]
