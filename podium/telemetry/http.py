"""A small plain-HTTP port for supervisors and Prometheus: GET of a few fixed paths, one request a connection.

It holds nothing secret, and it is not a web framework: each path is an async function that returns an `Answer`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from podium.errors import Unavailable
from podium.telemetry.log import get_logger

REQUEST_SECONDS = 5.0
MAX_HEAD = 16 * 1024
PLAIN = "text/plain; charset=utf-8"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a path answers."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = PLAIN


Route = Callable[[], Awaitable[Answer]]


class HttpPort:
    """Serves `routes` at `host:port`; port 0 takes a free one, told by `port` after `start`."""

    def __init__(self, host: str, port: int, routes: Mapping[str, Route]) -> None:
        self._host, self.port = host, port
        self._routes = routes
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            Unavailable: The address can't be bound.
        """
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self.port, limit=MAX_HEAD)
        except OSError as error:
            raise Unavailable(f"cannot listen on {self._host}:{self.port}: {error.strerror}") from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port; answers under way end by their own time limit."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, await self._answer(head)))
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.debug("dropped a request", error_type=type(error).__name__)
        finally:
            writer.close()

    async def _answer(self, head: bytes) -> Answer:
        method, target, *_ = [*head.split(b"\r\n", 1)[0].decode("latin-1").split(" "), "", ""]
        if method not in ("GET", "HEAD"):
            return Answer(b"only GET\n", HTTPStatus.METHOD_NOT_ALLOWED)
        route = self._routes.get(target.partition("?")[0])
        if route is None:
            return Answer((" ".join(self._routes) + "\n").encode(), HTTPStatus.NOT_FOUND)
        return await route()


def _response(head: bytes, answer: Answer) -> bytes:
    lines = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if head.startswith(b"HEAD") else answer.body)
