"""`podium config`: contexts, and certificates for people."""

from __future__ import annotations

from pathlib import Path

import click

from podium.cli.options import seconds
from podium.cli.output import table
from podium.cli.session import Session, command
from podium.client import config as store
from podium.files import write_atomic


@click.group(
    epilog="""
\b
Examples:
  podium config view
  podium config use-context production
  podium config create-user ada --group=podium:viewers > ada.yaml
"""
)
def config() -> None:
    """Look at and change the client configuration."""


def _path(session: Session) -> Path:
    return session.config_path or store.default_path()


@config.command(epilog="\b\nExamples:\n  podium config view")
@command
async def view(session: Session) -> None:
    """List contexts; keys are never shown."""
    loaded = store.load(_path(session))
    rows = [
        ["*" if name == loaded.current else "", name, ",".join(c.endpoints), c.namespace]
        for name, c in sorted(loaded.contexts.items())
    ]
    click.echo(table.render(["CURRENT", "NAME", "ENDPOINTS", "NAMESPACE"], rows))


@config.command("use-context", epilog="\b\nExamples:\n  podium config use-context production")
@click.argument("name")
@command
async def use_context(session: Session, name: str) -> None:
    """Choose the context that commands use."""
    loaded = store.load(_path(session))
    _save(session, loaded.with_context(name, loaded.context(name), current=True))
    click.echo(f'using context "{name}"')


@config.command("set-namespace", epilog="\b\nExamples:\n  podium config set-namespace team-a")
@click.argument("name")
@command
async def set_namespace(session: Session, name: str) -> None:
    """Choose the namespace of the current context."""
    from dataclasses import replace

    loaded = store.load(_path(session))
    changed = replace(loaded.context(), namespace=name)
    _save(session, loaded.with_context(loaded.current, changed))
    click.echo(f'context "{loaded.current}" uses namespace "{name}"')


def _save(session: Session, changed: store.Config) -> None:
    write_atomic(_path(session), store.dump(changed).encode())


@config.command(
    "create-user",
    epilog="""
\b
Examples:
  podium config create-user ada --group=podium:viewers > ada.yaml
  podium config create-user ops --group=system:masters --ttl=8h > ops.yaml
""",
)
@click.argument("user")
@click.option(
    "--group", "groups", multiple=True, metavar="GROUP", help="system:masters, podium:viewers, …; repeatable."
)
@click.option("--ttl", default="365d", show_default=True, metavar="DURATION", help="How long the certificate is good.")
@command
async def create_user(session: Session, user: str, groups: tuple[str, ...], ttl: str) -> None:
    """Make a certificate for a user and print a configuration that holds it."""
    from podium.pki import new_request

    key, request = new_request(user)
    signed = await session.client.cluster.sign_client_certificate(
        request, user=user, groups=groups, ttl_seconds=int(seconds(ttl))
    )
    context = store.Context(
        endpoints=session.context.endpoints,
        ca=signed.ca.decode(),
        certificate=signed.certificate.decode(),
        key=key.decode(),
    )
    click.echo(store.dump(store.Config().with_context("default", context, current=True)), nl=False)
