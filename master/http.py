"""The small plain-HTTP port: /metrics for Prometheus, /healthz and /readyz for supervisors, /statez for people.

It answers GET and nothing else, one request a connection, and holds nothing secret: numbers and names of parts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from master.settings import parse_listen
from podium.errors import Unavailable
from podium.telemetry.log import get_logger

REQUEST_SECONDS = 5.0
MAX_HEAD = 16 * 1024
PLAIN = "text/plain; charset=utf-8"

Answer = tuple[HTTPStatus, str, bytes]

log = get_logger(__name__)


class HttpServer:
    """Serves what it is given.

    Args:
        ready: None when the master serves; else the sentence that says what it still waits for.
        state: Facts for /statez; must be quick, and JSON can hold them.
    """

    def __init__(
        self, *, listen: str, ready: Callable[[], str | None], state: Callable[[], Mapping[str, object]]
    ) -> None:
        self._listen = listen
        self._ready = ready
        self._state = state
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen.

        Raises:
            Unavailable: The address cannot be bound.
        """
        host, port = parse_listen(self._listen)
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_HEAD)
        except OSError as error:
            raise Unavailable(f"cannot listen on {self._listen}: {error.strerror}") from error
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
            return HTTPStatus.METHOD_NOT_ALLOWED, PLAIN, b"only GET\n"
        match target.partition("?")[0]:
            case "/metrics":
                return HTTPStatus.OK, CONTENT_TYPE_LATEST, await asyncio.to_thread(generate_latest)
            case "/healthz":
                return HTTPStatus.OK, PLAIN, b"ok\n"
            case "/readyz":
                waiting = self._ready()
                status = HTTPStatus.SERVICE_UNAVAILABLE if waiting else HTTPStatus.OK
                return status, PLAIN, f"{waiting or 'ok'}\n".encode()
            case "/statez":
                text = json.dumps(self._state(), indent=1, default=str)
                return HTTPStatus.OK, "application/json", text.encode()
            case _:
                return HTTPStatus.NOT_FOUND, PLAIN, b"/metrics /healthz /readyz /statez\n"


def _response(head: bytes, answer: Answer) -> bytes:
    status, content_type, body = answer
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if head.startswith(b"HEAD") else body)
