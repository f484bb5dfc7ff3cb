"""`podium create`: from manifests, or small objects from the command line."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import click
from google.protobuf.message import Message

from podium.cli import manifests
from podium.cli.commands.apply import check
from podium.cli.output.printer import Style, name_of, print_objects
from podium.cli.session import Session, command, session_options
from podium.codec.json import object_from_dict
from podium.errors import BadRequest
from podium.objects.kinds import kind_of
from podium.v1.core_pb2 import Namespace, Secret


@click.group(
    invoke_without_command=True,
    epilog="""
\b
Examples:
  podium create -f job.yaml
  podium create namespace team-a
  podium create deployment web --image=nginx:1.14.2 --replicas=3 --port=80
  podium create secret docker-registry pull --server=registry.example.com --username=ci --password-file=p.txt
""",
)
@click.option("-f", "--filename", "files", multiple=True, help="File, directory or - for standard input.")
@click.option("-R", "--recursive", is_flag=True, help="Directories with all below them.")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@click.option("-o", "--output", default="", metavar="FORMAT", help="Print the results so.")
@session_options
@click.pass_context
def create(ctx: click.Context, files: tuple[str, ...], recursive: bool, dry_run: bool, output: str) -> int | None:
    """Create objects."""
    if ctx.invoked_subcommand is not None:
        return None
    if not files:
        raise click.UsageError("give -f FILE, or say what to create: namespace, deployment, secret")
    return _from_files(files=files, recursive=recursive, dry_run=dry_run, output=output)


@command
async def _from_files(session: Session, files: tuple[str, ...], recursive: bool, dry_run: bool, output: str) -> None:
    made = [
        await session.client.create(item.obj, dry_run=dry_run)
        for item in check(manifests.read(files, recursive=recursive), session.namespace, warn=False)
    ]
    _show(made, dry_run, output)


def _show(made: list[Message], dry_run: bool, output: str = "") -> None:
    if output:
        print_objects([(kind_of(o), [o]) for o in made], Style(format=output), single=len(made) == 1)
        return
    for obj in made:
        click.echo(f"{name_of(obj)} created{' (dry run)' if dry_run else ''}")


@create.command(epilog="\b\nExamples:\n  podium create namespace team-a")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@command
async def namespace(session: Session, name: str, dry_run: bool) -> None:
    """Create a namespace."""
    obj = Namespace()
    obj.metadata.name = name
    _show([await session.client.create(obj, dry_run=dry_run)], dry_run)


@create.command(
    epilog="""
\b
Examples:
  podium create deployment web --image=nginx:1.14.2 --replicas=3 --port=80
  podium create deployment idle --image=busybox -- sleep 1d
"""
)
@click.argument("name")
@click.option("--image", required=True, help="Image of the one container.")
@click.option("--replicas", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--port", type=int, help="Port that the container listens at.")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@click.option("-o", "--output", default="", metavar="FORMAT", help="Print the result so.")
@click.argument("words", nargs=-1, metavar="[-- COMMAND [ARG...]]")
@command
async def deployment(
    session: Session, name: str, image: str, replicas: int, port: int | None, dry_run: bool, output: str,
    words: tuple[str, ...],
) -> None:  # fmt: skip
    """Create a deployment of one container."""
    container: dict[str, object] = {"name": name, "image": image}
    if port:
        container["ports"] = [{"containerPort": port}]
    if words:
        container["command"] = list(words)
    labels = {"app": name}
    manifest = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }  # fmt: skip
    _show([await session.client.create(object_from_dict(manifest), dry_run=dry_run)], dry_run, output)


@create.group(epilog="\b\nExamples:\n  podium create secret generic db --from-file=password=p.txt")
def secret() -> None:
    """Create a secret."""


@secret.command(
    epilog="""
\b
Examples:
  podium create secret generic db --from-file=password=p.txt
  podium create secret generic tls --from-file=tls.crt --from-file=tls.key
"""
)
@click.argument("name")
@click.option(
    "--from-file", "from_file", multiple=True, metavar="[KEY=]FILE", help="A file's content; - for standard input."
)
@click.option(
    "--from-literal", "literals", multiple=True, metavar="KEY=VALUE", help="Seen by whoever can list processes."
)
@command
async def generic(session: Session, name: str, from_file: tuple[str, ...], literals: tuple[str, ...]) -> None:
    """Create a secret of any content."""
    obj = Secret(type="Opaque")
    obj.metadata.name = name
    for entry in from_file:
        key, equals, path = entry.partition("=")
        obj.data[key if equals else Path(entry).name] = _read(path if equals else entry)
    for entry in literals:
        key, equals, value = entry.partition("=")
        if not equals:
            raise BadRequest(f'"{key}" is not KEY=VALUE')
        obj.data[key] = value.encode()
    _show([await session.client.create(obj)], False)


@secret.command(
    "docker-registry",
    epilog="""
\b
Examples:
  podium create secret docker-registry pull --server=registry.example.com --username=ci --password-file=p.txt
""",
)
@click.argument("name")
@click.option("--server", required=True, help="Host (and port) of the registry.")
@click.option("--username", required=True)
@click.option("--password-file", required=True, help="File that holds the password; - for standard input.")
@command
async def docker_registry(session: Session, name: str, server: str, username: str, password_file: str) -> None:
    """Create credentials with which nodes pull images (imagePullSecrets)."""
    password = _read(password_file).decode().rstrip("\n")
    auth = base64.b64encode(f"{username}:{password}".encode()).decode()
    content = {"auths": {server: {"username": username, "password": password, "auth": auth}}}
    obj = Secret(type="kubernetes.io/dockerconfigjson")
    obj.metadata.name = name
    obj.data[".dockerconfigjson"] = json.dumps(content).encode()
    _show([await session.client.create(obj)], False)


def _read(path: str) -> bytes:
    with click.open_file(path, "rb") as file:
        return bytes(file.read())
