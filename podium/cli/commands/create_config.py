"""`podium create configmap` and `podium create secret`: from files, and from words where that is no risk."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from podium.cli.output.created import show
from podium.cli.session import Session, command
from podium.errors import BadRequest
from podium.v1.core_pb2 import ConfigMap, Secret

F = TypeVar("F", bound=Callable[..., Any])


def _sources(function: F) -> F:
    """The options that say what is in it."""
    options = (
        click.option(
            "--from-file", "files", multiple=True, metavar="[KEY=]FILE",
            help="A file's content, or that of all files of a directory; - for standard input.",
        ),
        click.option(
            "--from-literal", "literals", multiple=True, metavar="KEY=VALUE", help="Seen by whoever can list processes."
        ),
        click.option(
            "--from-env-file", "env_files", multiple=True, metavar="FILE", help="Lines KEY=VALUE; # begins a comment."
        ),
        click.option("--dry-run", is_flag=True, help="Change nothing."),
        click.option("-o", "--output", default="", metavar="FORMAT", help="Print the result so."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def _content(files: tuple[str, ...], literals: tuple[str, ...], env_files: tuple[str, ...]) -> dict[str, bytes]:
    """Keys and values from all sources.

    Raises:
        BadRequest: A source is malformed, or a key comes twice.
    """
    found: dict[str, bytes] = {}
    for key, value in (*_of_files(files), *_of_literals(literals), *_of_env_files(env_files)):
        if key in found:
            raise BadRequest(f'the key "{key}" is given twice')
        found[key] = value
    return found


def _of_files(entries: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for entry in entries:
        key, equals, path = entry.partition("=")
        if equals:
            yield key, read(path)
        elif Path(entry).is_dir():
            for file in sorted(Path(entry).iterdir()):
                if file.is_file():
                    yield file.name, file.read_bytes()
        else:
            yield Path(entry).name, read(entry)


def _of_literals(entries: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals:
            raise BadRequest(f'"{key}" is not KEY=VALUE')
        yield key, value.encode()


def _of_env_files(paths: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        for number, line in enumerate(read(path).decode().splitlines(), 1):
            text = line.lstrip()
            if not text or text.startswith("#"):
                continue
            key, equals, value = text.partition("=")
            if not equals:
                raise BadRequest(f"{path}, line {number}: not KEY=VALUE")
            yield key.rstrip(), value.encode()


def read(path: str) -> bytes:
    """A file's content; `-` is standard input."""
    with click.open_file(path, "rb") as file:
        return bytes(file.read())


# ---------------------------------------------------------------- configmap


@click.command(
    epilog="""
\b
Examples:
  podium create configmap app --from-literal=log.level=debug
  podium create configmap app --from-file=settings/ --from-file=logo=podium.png
  podium create configmap app --from-env-file=app.env
"""
)
@click.argument("name")
@_sources
@command
async def configmap(
    session: Session, name: str, files: tuple[str, ...], literals: tuple[str, ...], env_files: tuple[str, ...],
    dry_run: bool, output: str,
) -> None:  # fmt: skip
    """Create a config map; what is no text becomes binaryData."""
    obj = ConfigMap()
    obj.metadata.name = name
    for key, value in _content(files, literals, env_files).items():
        try:
            obj.data[key] = value.decode()
        except UnicodeDecodeError:
            obj.binary_data[key] = value
    show([await session.client.create(obj, dry_run=dry_run)], dry_run, output)


# ---------------------------------------------------------------- secret


@click.group(epilog="\b\nExamples:\n  podium create secret generic db --from-file=password=p.txt")
def secret() -> None:
    """Create a secret."""


@secret.command(
    epilog="""
\b
Examples:
  podium create secret generic db --from-file=password=p.txt
  podium create secret generic login --type=kubernetes.io/basic-auth --from-env-file=login.env
"""
)
@click.argument("name")
@click.option("--type", "type_", default="Opaque", show_default=True, help="Such as kubernetes.io/ssh-auth.")
@_sources
@command
async def generic(
    session: Session, name: str, type_: str, files: tuple[str, ...], literals: tuple[str, ...],
    env_files: tuple[str, ...], dry_run: bool, output: str,
) -> None:  # fmt: skip
    """Create a secret of any content."""
    await _create_secret(session, name, type_, _content(files, literals, env_files), dry_run, output)


@secret.command(epilog="\b\nExamples:\n  podium create secret tls web --cert=web.crt --key=web.key")
@click.argument("name")
@click.option("--cert", required=True, metavar="FILE", help="The certificate, PEM, with those that sign it.")
@click.option("--key", required=True, metavar="FILE", help="Its private key, PEM.")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@command
async def tls(session: Session, name: str, cert: str, key: str, dry_run: bool) -> None:
    """Create a secret of a certificate and its key, which must belong together."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = {"tls.crt": read(cert), "tls.key": read(key)}
    try:
        certificate = x509.load_pem_x509_certificates(data["tls.crt"])[0]
        private = load_pem_private_key(data["tls.key"], password=None)
    except (ValueError, TypeError) as error:
        raise BadRequest(f"{cert} and {key} must be a PEM certificate and an unencrypted PEM key: {error}") from error
    if certificate.public_key() != private.public_key():
        raise BadRequest(f"the key in {key} is not that of the certificate in {cert}")
    await _create_secret(session, name, "kubernetes.io/tls", data, dry_run, "")


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
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@command
async def docker_registry(
    session: Session, name: str, server: str, username: str, password_file: str, dry_run: bool
) -> None:
    """Create credentials with which nodes pull images (imagePullSecrets)."""
    password = read(password_file).decode().rstrip("\n")
    auth = base64.b64encode(f"{username}:{password}".encode()).decode()
    content = {"auths": {server: {"username": username, "password": password, "auth": auth}}}
    data = {".dockerconfigjson": json.dumps(content).encode()}
    await _create_secret(session, name, "kubernetes.io/dockerconfigjson", data, dry_run, "")


async def _create_secret(
    session: Session, name: str, type_: str, data: dict[str, bytes], dry_run: bool, output: str
) -> None:
    obj = Secret(type=type_, data=data)
    obj.metadata.name = name
    show([await session.client.create(obj, dry_run=dry_run)], dry_run, output)
