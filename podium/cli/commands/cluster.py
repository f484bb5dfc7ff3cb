"""`podium cluster-info` and `podium backup`: the cluster as a whole."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import click

from podium.cli.describe.page import Page, when
from podium.cli.session import Session, command
from podium.errors import BadRequest


@click.command("cluster-info", epilog="\b\nExamples:\n  podium cluster-info")
@command
async def cluster_info(session: Session) -> None:
    """Say which cluster this is, and where its masters are."""
    info = await session.client.cluster.info()
    page = Page()
    page.field("Cluster", info.cluster_id)
    page.field("Masters", "\n".join(info.endpoints))
    page.field("Version", info.version)
    page.field("Running since", when(info.started))
    page.field("Pod range", info.pod_cidr)
    page.field("Revision", info.resource_version)
    click.echo(str(page))


@click.command(
    epilog="""
\b
Examples:
  podium backup cluster.db                secrets in it are sealed: keep the master's encryption.keys, too
  podium backup - | age -r KEY > cluster.db.age
"""
)
@click.argument("file", metavar="FILE | -")
@command
async def backup(session: Session, file: str) -> None:
    """Write a consistent copy of the master's store to a file that does not exist yet, or to standard output."""
    pieces = session.client.cluster.backup()
    if file == "-":
        if sys.stdout.isatty():
            raise BadRequest("a backup is not for a terminal; name a file, or pipe it on")
        await _write(pieces, sys.stdout.buffer)
        return
    target = Path(file)
    if target.exists():
        raise BadRequest(f"{file} exists; a backup overwrites nothing")
    size = await _save(pieces, target)
    click.echo(f"{file} written, {size} bytes")


async def _save(pieces: AsyncIterator[bytes], target: Path) -> int:
    """All or nothing: the name appears when the copy is whole and on the disk."""
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            size = await _write(pieces, out)
            os.fsync(out.fileno())
        os.link(temporary, target)
    finally:
        os.unlink(temporary)
    return size


async def _write(pieces: AsyncIterator[bytes], out: BinaryIO) -> int:
    size = 0
    async for piece in pieces:
        out.write(piece)
        size += len(piece)
    out.flush()
    return size
