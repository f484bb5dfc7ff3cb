"""`podium cp`: files into and out of containers, as tar streams; the container needs no tar of its own.

The rules are those of `cp -r`: a target that is a directory gets the source inside it under its own name, any other
target becomes the source. `DIR/.` means what is inside the directory.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click

from podium.cli.session import Session, command
from podium.cli.workloads import best_pod, containers_of, one_target
from podium.client._async.pods import raise_error
from podium.errors import BadRequest, NotFound, PodiumError
from podium.v1.pods_service_pb2 import CopyRequest, PodKey, StreamFrame

_CHUNK = 256 * 1024
_IN_MEMORY = 8 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """`POD:PATH` (or `KIND/NAME:PATH`), or a local path when `pod` is empty."""

    pod: str
    path: str


@click.command(
    epilog="""
\b
Examples:
  podium cp web-1:/var/log/app.log .      out of a container
  podium cp ./site web-1:/usr/share/nginx/html -c web
  podium cp ./site/. deploy/web:/html     what is inside a directory
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
    pod = await best_pod(session, one_target(left.pod or right.pod))
    if container:
        containers_of(pod, all_containers=False, container=container)
    key = session.client.pods.key(pod.metadata.name, container=container)
    if left.pod:
        await _download(session, key, left.path, Path(right.path))
    else:
        await _upload(session, key, left.path, right.path)


def parse_place(text: str) -> Place:
    """Read one side. A local path that has a colon in it is told by a leading `/` or `.`.

    Raises:
        BadRequest: A pod without a path, or a path without a pod.
    """
    pod, colon, path = text.partition(":")
    if not colon or pod.startswith(("/", ".")) or pod.count("/") > 1:
        return Place("", text)
    if not pod or not path:
        raise BadRequest(f'"{text}" is not POD:PATH')
    return Place(pod, path)


# ---------------------------------------------------------------- out of a container


async def _download(session: Session, pod: PodKey, remote: str, local: Path) -> None:
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as archive:
        async for data in _exchange(session, _request(pod, remote)):
            archive.write(data)
        archive.seek(0)
        try:
            unpack(archive, remote, local)
        except tarfile.TarError as error:
            raise BadRequest(f"{remote} cannot be copied: {error}") from None


def unpack(archive: IO[bytes], remote: str, local: Path) -> None:
    """Put the archive of `remote`, whose members lie under one name, at `local`.

    Raises:
        tarfile.TarError: Not an archive, or a member would land outside of the target.
    """
    contents = remote.endswith("/.")
    name = os.path.basename(remote.removesuffix("/.").rstrip("/")) or "root"
    target = local / name if local.is_dir() and not contents else local
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=archive) as tar:
        members = tar.getmembers()
        for member in members:
            member.name = _moved(member.name, target.name)
            if member.islnk():
                member.linkname = _moved(member.linkname, target.name)
        tar.extractall(target.parent, members=members, filter="data")


def _moved(name: str, root: str) -> str:
    """A member's name under another root."""
    _, _, rest = name.removeprefix("./").partition("/")
    return f"{root}/{rest}" if rest else root


# ---------------------------------------------------------------- into a container


async def _upload(session: Session, pod: PodKey, local: str, remote: str) -> None:
    path = Path(local)
    if not path.exists():
        raise NotFound(f'no such file or directory: "{local}"')
    contents = local.endswith("/.")
    inside = contents or remote.endswith("/") or await _is_directory(session, pod, remote)
    directory, name = (remote, path.resolve().name) if inside else os.path.split(remote)
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(path, arcname="." if contents else name)
        archive.seek(0)
        async for _ in _exchange(session, _sent(pod, directory or "/", archive)):
            raise BadRequest("the container answered an upload with data")


async def _is_directory(session: Session, pod: PodKey, path: str) -> bool:
    """Whether a path in the container is a directory: the first header of its archive tells."""
    head = b""
    async with aclosing(_exchange(session, _request(pod, path))) as pieces:
        try:
            async for piece in pieces:
                head += piece
                if len(head) >= tarfile.BLOCKSIZE:
                    return tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape").isdir()
        except (PodiumError, tarfile.TarError):
            return False  # it does not exist: it will be made under this name
    return False


# ---------------------------------------------------------------- the stream


async def _request(pod: PodKey, path: str) -> AsyncIterator[StreamFrame]:
    yield StreamFrame(copy=CopyRequest(pod=pod, path=path))


async def _exchange(session: Session, sent: AsyncIterator[StreamFrame]) -> AsyncGenerator[bytes, None]:
    async for frame in session.client.pods.copy(sent):
        if frame.WhichOneof("frame") == "data":
            yield frame.data
        raise_error(frame)


async def _sent(pod: PodKey, directory: str, archive: IO[bytes]) -> AsyncIterator[StreamFrame]:
    yield StreamFrame(copy=CopyRequest(pod=pod, path=directory, upload=True))
    while data := archive.read(_CHUNK):
        yield StreamFrame(data=data)
    yield StreamFrame(close=True)
