"""Probes over real sockets: servers that answer, refuse, hang, trickle, and talk nonsense."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nodelet.pods.hooks import run_hook
from nodelet.probes.answer import Answer
from nodelet.probes.check import Target, check
from nodelet.probes.http import Request, get, http_check
from podium.aio.clock import SystemClock
from podium.v1.core_pb2 import (
    Container,
    GRPCAction,
    HTTPGetAction,
    HTTPHeader,
    LifecycleHandler,
    Probe,
    TCPSocketAction,
)
from podium.v1.meta_pb2 import IntOrString
from tests.support.clock import START

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HOST = "127.0.0.1"
TARGET = Target(container=Container(), container_id="c", address=HOST, runtime=None)


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the probe has hung up, as it may
        finally:
            writer.close()

    server = await asyncio.start_server(handle, HOST, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def answering(raw: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()

    return handle


def status(code: int, body: str = "") -> bytes:
    return f"HTTP/1.1 {code} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("code", "healthy"), [(200, True), (204, True), (302, True), (399, True), (400, False), (503, False)]
)
async def test_health_by_status_code(code: int, healthy: bool) -> None:
    async with serving(answering(status(code, "busy"))) as port:
        answer = await http_check(Request(host=HOST, port=port), 2)
    assert answer.healthy is healthy
    if not healthy:
        assert answer.message == f"HTTP probe failed with statuscode: {code}: busy"


@pytest.mark.parametrize("raw", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"", b"HTTP/1.1\r\n\r\n", b"\x00" * 100_000])
async def test_nonsense_is_unhealthy(raw: bytes) -> None:
    async with serving(answering(raw)) as port:
        assert not (await http_check(Request(host=HOST, port=port), 2)).healthy


async def test_a_server_that_hangs_is_cut_off() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(hang) as port:
        answer = await http_check(Request(host=HOST, port=port, path="/slow"), 0.1)
    assert answer.message == f'Get "http://127.0.0.1:{port}/slow": no answer within 0.1s'


async def test_a_server_that_trickles_is_cut_off() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"X")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(trickle) as port:
        assert "no answer within" in (await http_check(Request(host=HOST, port=port), 0.1)).message


async def test_an_endless_body_is_cut_at_ten_kilobytes() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with serving(flood) as port, asyncio.timeout(5):
        assert len((await get(Request(host=HOST, port=port))).body) == 10 * 1024


async def test_the_request_is_as_asked() -> None:
    seen: list[bytes] = []

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(status(200))

    async with serving(record) as port:
        action = HTTPGetAction(
            path="/healthz?deep=1",
            port=IntOrString(int_value=port),
            http_headers=[HTTPHeader(name="host", value="web.example"), HTTPHeader(name="X-Token", value="t")],
        )
        assert (await check(Probe(http_get=action), TARGET)).healthy
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "GET /healthz?deep=1 HTTP/1.1"
    assert {"Host: web.example", "X-Token: t", "Connection: close"} <= set(lines)


async def test_https_without_verification(tmp_path: Path) -> None:
    async with serving(answering(status(200)), self_signed(tmp_path)) as port:
        assert (await http_check(Request(host=HOST, port=port, tls=True), 2)).healthy


async def test_tcp() -> None:
    async with serving(answering(b"")) as port:
        assert (await check(Probe(tcp_socket=TCPSocketAction(port=IntOrString(int_value=port))), TARGET)).healthy
    answer = await check(Probe(tcp_socket=TCPSocketAction(port=IntOrString(int_value=port))), TARGET)
    assert not answer.healthy
    assert "dial tcp" in answer.message


@pytest.mark.parametrize(
    ("wire", "healthy", "message"),
    [(b"\x08\x01", True, ""), (b"\x08\x02", False, "service unhealthy (responded with NOT_SERVING)")],
)
async def test_grpc_health(wire: bytes, healthy: bool, message: str) -> None:
    asked: list[bytes] = []

    async def answer(request: bytes, context: object) -> bytes:
        asked.append(request)
        return wire

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),)
    )
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    try:
        found = await check(Probe(grpc=GRPCAction(port=port, service="db"), timeout_seconds=5), TARGET)
    finally:
        await server.stop(None)
    assert (found.healthy, found.message) == (healthy, message)
    assert asked == [b"\x0a\x02db"]


async def test_grpc_to_nobody() -> None:
    async with serving(answering(b"")) as port:
        pass
    answer = await check(Probe(grpc=GRPCAction(port=port), timeout_seconds=2), TARGET)
    assert not answer.healthy
    assert answer.message


async def test_a_hundred_probes_at_once_are_answered() -> None:
    async with serving(answering(status(200))) as port, asyncio.timeout(10):
        answers = await asyncio.gather(*(http_check(Request(host=HOST, port=port), 5) for _ in range(100)))
    assert all(answer.healthy for answer in answers)


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(START).not_valid_after(START.replace(year=2000 + 99))
    certificate = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "both.pem").write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context


# ---------------------------------------------------------------- lifecycle hooks


async def test_a_hook_asks_by_http_what_it_is_told_to() -> None:
    heard: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(status(200 if b" /drain " in heard[-1] else 500, "no"))
        await writer.drain()

    async def hook(path: str, port: int, timeout: float = 2) -> Answer:
        action = HTTPGetAction(path=path, port=IntOrString(int_value=port))
        action.http_headers.append(HTTPHeader(name="X-Why", value="stop"))
        return await run_hook(LifecycleHandler(http_get=action), TARGET, SystemClock(), timeout)

    async with serving(handle) as port:
        assert (await hook("/drain", port)).healthy
        refused = await hook("/other", port)
    assert not refused.healthy
    assert "500" in refused.message
    assert heard[0].startswith(b"GET /drain HTTP/1.1\r\n")
    assert b"x-why: stop\r\n" in heard[0].lower()
    assert not (await hook("/drain", port)).healthy, "nobody listens any more"


async def test_a_hook_that_is_never_answered_ends_with_its_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as port:
        action = HTTPGetAction(path="/", port=IntOrString(int_value=port))
        answer = await run_hook(LifecycleHandler(http_get=action), TARGET, SystemClock(), 0.2)
    assert not answer.healthy
