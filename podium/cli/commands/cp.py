"""`podium cp`: files into and out of containers, as tar streams; the container needs no tar of its own."""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click

from podium.cli.session import Session, command
from podium.client._async.pods import raise_error
from podium.errors import BadRequest, NotFound
from podium.v1.pods_service_pb2 import CopyRequest, PodKey, StreamFrame

_CHUNK = 256 * 1024
_IN_MEMORY = 8 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """`POD:PATH`, or a local path when `pod` is empty."""

    pod: str
    path: str


@click.command(
    epilog="""
\b
Examples:
  podium cp web-1:/var/log/app.log .      out of a container
  podium cp ./site web-1:/usr/share/nginx/html -c web
"""
)
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@click.option("-c", "--container", default="", help="Container; the default one when not given.")
@command
async def cp(session: Session, source: str, target: str, container: str) -> None:
    """Copy files and directories into or out of a container."""
    left, right = parse_place(source), parse_place(target)
    if bool(left.pod) == bool(right.pod):
        raise BadRequest("one of source and target must be POD:PATH")
    pod = session.client.pods.key(left.pod or right.pod, container=container)
    if left.pod:
        await _download(session, pod, left.path, right.path)
    else:
        await _upload(session, pod, left.path, right.path)


def parse_place(text: str) -> Place:
    """Read one side; a colon after a slash or a dot belongs to a local path."""
    pod, colon, path = text.partition(":")
    if not colon or "/" in pod or pod.startswith("."):
        return Place("", text)
    if not pod or not path:
        raise BadRequest(f'"{text}" is not POD:PATH')
    return Place(pod, path)


async def _download(session: Session, pod: PodKey, remote: str, local: str) -> None:
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as archive:
        async for data in _exchange(session, _request(pod, remote, upload=False)):
            archive.write(data)
        archive.seek(0)
        _unpack(archive, os.path.basename(remote.rstrip("/")) or "root", Path(local))


async def _request(pod: PodKey, path: str, *, upload: bool) -> AsyncIterator[StreamFrame]:
    yield StreamFrame(copy=CopyRequest(pod=pod, path=path, upload=upload))


async def _exchange(session: Session, sent: AsyncIterator[StreamFrame]) -> AsyncIterator[bytes]:
    async for frame in session.client.pods.copy(sent):
        if frame.WhichOneof("frame") == "data":
            yield frame.data
        raise_error(frame)


def _unpack(archive: IO[bytes], name: str, local: Path) -> None:
    """Put what arrived at `local`: inside it when it is a directory, else under that name."""
    target = local / name if local.is_dir() else local
    with tarfile.open(fileobj=archive) as tar:
        members = tar.getmembers()
        for member in members:
            _, _, rest = member.name.partition("/")
            member.name = f"{target.name}/{rest}" if rest else target.name
        tar.extractall(target.parent, members=members, filter="data")


async def _upload(session: Session, pod: PodKey, local: str, remote: str) -> None:
    path = Path(local)
    if not path.exists():
        raise NotFound(f'no such file or directory: "{local}"')
    directory, name = (remote, path.resolve().name) if remote.endswith("/") else os.path.split(remote)
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(path, arcname=name)
        archive.seek(0)
        async for _ in _exchange(session, _sent(pod, directory or "/", archive)):
            raise BadRequest("the container answered an upload with data")


async def _sent(pod: PodKey, directory: str, archive: IO[bytes]) -> AsyncIterator[StreamFrame]:
    yield StreamFrame(copy=CopyRequest(pod=pod, path=directory, upload=True))
    while data := archive.read(_CHUNK):
        yield StreamFrame(data=data)
    yield StreamFrame(close=True)
