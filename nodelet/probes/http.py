"""One HTTP/1.1 GET for a probe or a hook, on asyncio streams: light, cut off by its deadline, bounded in memory.

Only what a health check needs: the status line, the header block (skipped), and at most 10 KB of body. The connection
is never reused (`Connection: close`), certificates are not verified (as the kubelet), and redirects are not followed:
any status from 200 to 399 is healthy. A server that trickles bytes, never answers, or answers nonsense is unhealthy;
nothing of it reaches the caller but an Answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from nodelet.probes.answer import BODY_LIMIT, Answer, shown

_HEAD_LIMIT = 64 * 1024
_HEALTHY = range(200, 400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Where to ask, and what."""

    host: str
    port: int
    path: str = "/"
    tls: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A status and the beginning of the body."""

    status: int
    body: bytes


class NotHttp(Exception):
    """The other end does not speak HTTP/1."""


async def http_check(request: Request, timeout: float) -> Answer:
    """GET within `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            response = await get(request)
    except TimeoutError:
        return Answer(healthy=False, message=f"Get {_url(request)}: no answer within {timeout:g}s")
    except (OSError, NotHttp, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        return Answer(healthy=False, message=f"Get {_url(request)}: {error}")
    if response.status in _HEALTHY:
        return Answer(healthy=True, message=shown(response.body))
    body = shown(response.body)
    return Answer(
        healthy=False, message=f"HTTP probe failed with statuscode: {response.status}" + (f": {body}" if body else "")
    )


async def get(request: Request) -> Response:
    """One GET. Raises: OSError, NotHttp, asyncio.IncompleteReadError, asyncio.LimitOverrunError; has no timeout."""
    reader, writer = await asyncio.open_connection(
        request.host, request.port, ssl=_unverified() if request.tls else None, limit=_HEAD_LIMIT
    )
    try:
        writer.write(_encode(request))
        await writer.drain()
        status = _status(await reader.readuntil(b"\n"))
        while (await reader.readuntil(b"\n")).strip():
            pass
        return Response(status=status, body=await _body(reader))
    finally:
        writer.transport.abort()


async def _body(reader: asyncio.StreamReader) -> bytes:
    """What there is until the end or the limit; an abrupt end after a whole head is no failure."""
    body = bytearray()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while len(body) < BODY_LIMIT and (piece := await reader.read(BODY_LIMIT - len(body))):
            body += piece
    return bytes(body)


def _status(line: bytes) -> int:
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        raise NotHttp("the answer is not HTTP")
    return int(parts[1])


def _encode(request: Request) -> bytes:
    headers = {"Host": _authority(request), "User-Agent": "podium-probe/1", "Accept": "*/*", "Connection": "close"}
    for name, value in request.headers.items():
        _no_line_break(name, value)
        known = next((existing for existing in headers if existing.lower() == name.lower()), name)
        headers[known] = value
    path = request.path if request.path.startswith("/") else f"/{request.path}"
    _no_line_break(path)
    lines = [f"GET {path.replace(' ', '%20')} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _no_line_break(*texts: str) -> None:
    if any("\r" in text or "\n" in text for text in texts):
        raise ValueError("a line break in a probe's path or header")


def _authority(request: Request) -> str:
    host = f"[{request.host}]" if ":" in request.host else request.host
    return f"{host}:{request.port}"


def _url(request: Request) -> str:
    path = request.path if request.path.startswith("/") else f"/{request.path}"
    return f'"{"https" if request.tls else "http"}://{_authority(request)}{path}"'


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
