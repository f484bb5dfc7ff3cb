"""HTTP/1.1 over the engine's socket, on the event loop, for what streams or waits.

Logs that are followed, events, archives, exec and attach last as long as a user likes; in the thread pool of `engine`
each would hold a thread. Here each is one socket, with back-pressure from end to end (a reader that does not read
stops the engine, not our memory), and nothing that arrives together with the response's head is lost, which a
`socket` taken out from under the `docker` package's buffered reader cannot promise.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode

from nodelet.runtime.docker.engine import Conflict, NotFound
from nodelet.runtime.protocol import RuntimeDown, RuntimeFault

ANSWER_TIMEOUT = 60.0
"""Seconds from a request to the head of its response."""
PIECE = 64 << 10


class Response:
    """A response whose head has been read. Close it, or use it as an async context manager."""

    def __init__(
        self, status: int, headers: Mapping[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.status, self.headers = status, headers
        self.reader, self.writer = reader, writer

    async def body(self) -> AsyncIterator[bytes]:
        """The body in pieces as they come, whatever way it is framed.

        Raises:
            RuntimeDown: The engine went before the body was complete.
        """
        try:
            if self.headers.get("transfer-encoding") == "chunked":
                async for piece in self._chunks():
                    yield piece
            elif (length := self.headers.get("content-length")) is not None:
                if int(length):
                    yield await self.reader.readexactly(int(length))
            else:
                while piece := await self.reader.read(PIECE):
                    yield piece
        except (asyncio.IncompleteReadError, OSError, ValueError) as error:
            raise RuntimeDown(f"the Docker Engine broke off: {error}") from error

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            line = await self.reader.readuntil(b"\r\n")
            left = int(line.split(b";")[0], 16)
            if left == 0:
                return
            while left:
                piece = await self.reader.read(min(left, PIECE))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", left)
                left -= len(piece)
                yield piece
            await self.reader.readexactly(2)

    async def text(self) -> str:
        """The whole body; for short ones."""
        return b"".join([piece async for piece in self.body()]).decode(errors="replace")

    async def close(self) -> None:
        """Hang up, at once: what was not sent yet is dropped."""
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def __aenter__(self) -> Response:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Wire:
    """Opens streaming requests on one socket, a connection each."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path

    async def request(
        self,
        method: str,
        path: str,
        *,
        reason: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | AsyncIterator[bytes] | None = None,
        upgrade: bool = False,
        answer_timeout: float = ANSWER_TIMEOUT,
    ) -> Response:
        """Send a request, and return the response when its head has come and says yes.

        `body`: a mapping is sent as JSON, an iterator of bytes as a chunked tar. `upgrade`: the connection itself is
        the stream after the head. The answer's timeout does not cover the sending of a streamed body.

        Raises:
            RuntimeFault: The engine said no, with this reason; `NotFound` and `Conflict` as in `engine`.
            RuntimeDown: Nobody listens, or no answer came.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket_path)
        except OSError as error:
            raise RuntimeDown(f"no Docker Engine on {self._socket_path}: {error}") from error
        try:
            await _send(writer, method, f"{path}?{urlencode(query or {}, quote_via=quote)}", body, upgrade)
            async with asyncio.timeout(answer_timeout):
                response = Response(*await _head(reader), reader, writer)
                if response.status >= 400:
                    raise await _fault(reason, response)
                return response
        except (OSError, EOFError, ValueError) as error:
            # TimeoutError is an OSError.
            writer.transport.abort()
            raise RuntimeDown(f"the Docker Engine broke off {method} {path}: {error!r}") from error
        except BaseException:
            writer.transport.abort()
            raise


async def _send(
    writer: asyncio.StreamWriter,
    method: str,
    target: str,
    body: Mapping[str, Any] | AsyncIterator[bytes] | None,
    upgrade: bool,
) -> None:
    lines = [f"{method} {target} HTTP/1.1", "Host: docker"]
    lines += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else ["Connection: close"]
    if isinstance(body, AsyncIterator):
        lines += ["Content-Type: application/x-tar", "Transfer-Encoding: chunked"]
        data = b""
    else:
        data = b"" if body is None else json.dumps(body).encode()
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    writer.write("\r\n".join([*lines, "", ""]).encode() + data)
    if isinstance(body, AsyncIterator):
        async for piece in body:
            if piece:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
        writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    status = (await reader.readuntil(b"\r\n")).split(b" ", 2)
    headers: dict[str, str] = {}
    while line := (await reader.readuntil(b"\r\n")).strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip().lower()
    return int(status[1]), headers


async def _fault(reason: str, response: Response) -> RuntimeFault:
    text = await response.text()
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = text.strip() or f"HTTP status {response.status}"
    kind = {404: NotFound, 409: Conflict}.get(response.status, RuntimeFault)
    return kind(reason, message.strip())
