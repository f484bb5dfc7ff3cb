"""One HTTP/1.1 POST of a form, on asyncio streams: no thread held, cut off by its caller's deadline, bounded in memory.

Only what an API that answers JSON needs: a status and the whole body, however its end is told (length, chunks, or the
end of the connection). The connection is not reused; redirects are not followed; certificates are verified.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from podium.urls import Base

MAX_BODY = 16 * 1024 * 1024
_MAX_HEAD = 64 * 1024


class BadAnswer(Exception):
    """The other end does not speak HTTP/1, or says too much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A status and the body."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


async def post_form(
    base: Base, path: str, form: Mapping[str, str], *, headers: Mapping[str, str], trust: ssl.SSLContext | None
) -> Reply:
    """POST once; has no time limit of its own.

    Args:
        path: Below the base's own.
        headers: Further ones; their values must hold no line breaks.
        trust: For https; None for plain http.

    Raises:
        OSError, BadAnswer: No connection, or no sensible answer.
    """
    reader, writer = await asyncio.open_connection(base.host, base.port, ssl=trust, limit=_MAX_HEAD)
    try:
        writer.write(_encode(base, path, urlencode(form).encode(), headers))
        await writer.drain()
        head = _parse_head(await reader.readuntil(b"\r\n\r\n"))
        return Reply(status=head.status, body=await _body(reader, head.headers))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise BadAnswer("the answer broke off, or is not HTTP") from error
    finally:
        writer.transport.abort()


def _encode(base: Base, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    lines = [
        f"POST {base.path}{path} HTTP/1.1",
        f"Host: {base.authority}",
        "User-Agent: podium-master",
        "Accept: application/json",
        "Connection: close",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def _parse_head(head: bytes) -> _Head:
    first, *rest = head.decode("latin-1").split("\r\n")
    version, _, after = first.partition(" ")
    status = after.partition(" ")[0]
    if not version.startswith("HTTP/1.") or not status.isdigit():
        raise BadAnswer("the answer is not HTTP")
    pairs = (line.partition(":") for line in rest if line)
    return _Head(status=int(status), headers={name.strip().lower(): value.strip() for name, _, value in pairs})


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _chunks(reader)
    length = headers.get("content-length")
    if length is None:
        return await _until_end(reader)
    if not length.isdigit():
        raise BadAnswer(f"Content-Length {length!r} is no number")
    return await reader.readexactly(_bounded(int(length)))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := _chunk_size(await reader.readuntil(b"\r\n")):
        _bounded(len(body) + size)
        body += await reader.readexactly(size)
        await reader.readuntil(b"\r\n")
    return bytes(body)


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError as error:
        raise BadAnswer("a chunk of the answer has no size") from error


async def _until_end(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while piece := await reader.read(_MAX_HEAD):
        body += piece
        _bounded(len(body))
    return bytes(body)


def _bounded(size: int) -> int:
    if not 0 <= size <= MAX_BODY:
        raise BadAnswer(f"an answer of {size} bytes; at most {MAX_BODY} are taken")
    return size
