"""The plain-HTTP port: what it answers, and to what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from master.http import HttpServer
from podium.errors import Unavailable


class Readiness:
    """What the server waits for."""

    waiting: str | None = None


@pytest.fixture
async def server() -> AsyncIterator[tuple[HttpServer, Readiness]]:
    readiness = Readiness()
    http = HttpServer(listen="127.0.0.1:0", ready=lambda: readiness.waiting, state=lambda: {"pods": 3})
    await http.start()
    yield http, readiness
    await http.stop()


async def ask(http: HttpServer, request: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
    writer.write(request.encode())
    answer = (await asyncio.wait_for(reader.read(), 10)).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return (int(head.split()[1]) if head else 0), body


async def test_metrics_are_served(server: tuple[HttpServer, Readiness]) -> None:
    status, body = await ask(server[0], "GET /metrics HTTP/1.1\r\n\r\n")
    assert status == 200
    assert "python_info" in body


async def test_ready_says_what_it_waits_for(server: tuple[HttpServer, Readiness]) -> None:
    http, readiness = server
    assert await ask(http, "GET /readyz?verbose HTTP/1.1\r\nHost: x\r\n\r\n") == (200, "ok\n")
    readiness.waiting = "the cache is loading"
    assert await ask(http, "GET /readyz HTTP/1.1\r\n\r\n") == (503, "the cache is loading\n")
    assert await ask(http, "GET /healthz HTTP/1.1\r\n\r\n") == (200, "ok\n")


async def test_state_is_json(server: tuple[HttpServer, Readiness]) -> None:
    assert await ask(server[0], "GET /statez HTTP/1.1\r\n\r\n") == (200, '{\n "pods": 3\n}')


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("POST /metrics HTTP/1.1\r\n\r\n", 405),
        ("GET /elsewhere HTTP/1.1\r\n\r\n", 404),
        ("\r\n\r\n", 405),
        ("GET\r\n\r\n", 404),
        ("x" * 40_000 + "\r\n\r\n", 0),
    ],
)
async def test_anything_else_is_refused(server: tuple[HttpServer, Readiness], request_text: str, status: int) -> None:
    assert (await ask(server[0], request_text))[0] == status


async def test_head_has_no_body(server: tuple[HttpServer, Readiness]) -> None:
    assert await ask(server[0], "HEAD /healthz HTTP/1.1\r\n\r\n") == (200, "")


async def test_a_taken_port_is_named(server: tuple[HttpServer, Readiness]) -> None:
    listen = f"127.0.0.1:{server[0].port}"
    with pytest.raises(Unavailable, match=f"cannot listen on {listen}"):
        await HttpServer(listen=listen, ready=lambda: None, state=dict).start()
