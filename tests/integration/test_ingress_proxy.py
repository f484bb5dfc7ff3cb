"""What is rendered for HAProxy, held to a real HAProxy: matching, TLS, headers, and reloads that lose nothing."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from master.controllers.ingress.certificates import Certificate, certificate_in
from podium.v1.ingress_pb2 import Ingress
from tests.support.certificates import self_signed, tls_secret
from tests.support.ingress import ASKED_HOSTS, ASKED_PATHS, HOSTS, PATHS, TYPES, expected, ingress
from tests.support.ingress import Path as RulePath
from tests.support.proxy import HAS_HAPROXY, Proxy, eventually, free_ports, running_proxy, until_ready

pytestmark = pytest.mark.skipif(not HAS_HAPROXY, reason="takes haproxy; the rig's test runs without")


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    async with running_proxy(tmp_path) as running:
        yield running


def _many(chance: random.Random) -> list[Ingress]:
    places = [(h, p, t) for h in HOSTS for p in PATHS for t in TYPES if chance.random() < 0.35]
    chance.shuffle(places)
    made = [
        ingress(f"i{n}", *(RulePath(h, p, t, f"s{n}-{i}") for i, (h, p, t) in enumerate(places[n::3])), age=n)
        for n in range(3)
    ]
    made[1].spec.default_backend.CopyFrom(ingress("x", default="d").spec.default_backend)
    return [*made, ingress("all", default="everywhere", age=4)] if chance.random() < 0.5 else made


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_request_is_led_where_kubernetes_says(proxy: Proxy, seed: int) -> None:
    made = _many(random.Random(seed))
    proxy.serve(made)
    await until_ready(proxy)
    for host in ASKED_HOSTS:
        for path in ASKED_PATHS:
            status, body = await proxy.get(host, f"{path}?q=/a", "X-Forwarded-For: 6.6.6.6")
            wanted = expected(made, host, path)
            assert (json.loads(body)["name"] if status == 200 else "") == wanted, (host, path)
            assert status == (200 if wanted else 404)


async def test_the_host_is_read_without_case_port_and_last_dot(proxy: Proxy) -> None:
    proxy.serve([ingress("i", RulePath("a.foo.com", "/", "Prefix", "s"))])
    await until_ready(proxy)
    for host in ("A.Foo.com", "a.foo.com:8080", "a.foo.com.", "a.foo.com.:80"):
        assert await proxy.answers(host, "/", "s"), host


async def test_servers_are_told_who_asks_and_how(proxy: Proxy) -> None:
    proxy.serve([ingress("i", default="s")])
    await until_ready(proxy)
    _, body = await proxy.get("foo.com", "/x?y=z", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "Cookie: c")
    said = json.loads(body)
    assert said["path"] == "/x?y=z"
    wanted = {
        "x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1", "x-forwarded-proto": "http",
        "x-forwarded-host": "foo.com", "x-forwarded-port": str(proxy.ports.http), "host": "foo.com", "cookie": "c",
    }  # fmt: skip
    assert {k: v for k, v in said["headers"].items() if k in wanted} == wanted, "what the client says of itself is lost"


async def test_who_does_not_answer_is_503_with_words(proxy: Proxy, tmp_path: Path) -> None:
    paths = (RulePath("", "/gone", "Prefix", "nobody"), RulePath("", "/silent", "Prefix", "silent"))
    made = ingress("i", *paths)
    proxy.serve([made])
    await until_ready(proxy)
    assert await proxy.get("x", "/gone") == (503, b"the service that this leads to is not there\n")
    assert await proxy.get("x", "/silent") == (503, b"no pod of the service that this leads to answers\n")
    assert await proxy.get("x", "/other") == (404, b"nothing is served here\n")

    async def logged() -> bool:
        return b'"GET /silent HTTP/1.1"' in (tmp_path / "log").read_bytes()

    await eventually(logged, what="what failed is in the log")


@pytest.mark.parametrize(
    ("to", "asked", "told"),
    [
        ("/", "/pay", "/"), ("/", "/pay/", "/"), ("/", "/pay/cart?x=/pay", "/cart?x=/pay"), ("/", "/exact", "/"),
        ("/new/", "/pay/cart", "/new/cart"), ("/new", "/pay", "/new"), ("/new/", "/pay", "/new/"),
        ("/new", "/other/x", "/new/other/x"),
        ("/new", "/exact", "/new"), ("/new", "/pay/pay", "/new/pay"),
    ],
)  # fmt: skip
async def test_prefixes_are_rewritten(proxy: Proxy, to: str, asked: str, told: str) -> None:
    paths = (
        RulePath("", "/pay/", "Prefix", "s"),
        RulePath("", "/exact", "Exact", "s"),
        RulePath("", "/", "Prefix", "s"),
    )
    made = ingress("i", *paths)
    made.metadata.annotations["podium.dev/rewrite-prefix"] = to
    proxy.serve([made])
    await until_ready(proxy)
    _, body = await proxy.get("x", asked)
    assert json.loads(body)["path"] == told


async def test_connections_are_upgraded(proxy: Proxy) -> None:
    proxy.serve([ingress("i", default="s")])
    await until_ready(proxy)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.ports.http)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.close()


async def test_who_takes_too_long_is_504(proxy: Proxy) -> None:
    made = ingress("i", default="slow")
    made.metadata.annotations["podium.dev/request-timeout"] = "150ms"
    proxy.serve([made])
    await until_ready(proxy)
    assert (await proxy.get("x", "/"))[0] == 504


H2_SERVER = """
defaults
    mode http
    timeout client 5s
frontend grpc
    bind 0.0.0.0:{port} proto h2
    http-request return status 200 content-type text/plain lf-string "HTTP/%[req.ver] %[path]"
"""


async def test_servers_may_be_spoken_to_in_http2(proxy: Proxy, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    (tmp_path / "h2.cfg").write_text(H2_SERVER.format(port=port))
    server = await asyncio.create_subprocess_exec("haproxy", "-db", "-f", str(tmp_path / "h2.cfg"))
    try:
        proxy.servers.elsewhere["grpc"] = port
        made = ingress("i", default="grpc")
        made.metadata.annotations["podium.dev/backend-protocol"] = "H2C"
        proxy.serve([made])
        await until_ready(proxy)

        async def answered() -> bool:
            return await proxy.get("x", "/package.Service/Call") == (200, b"HTTP/2.0 /package.Service/Call")

        await eventually(answered)
        assert await answered(), "and again"
    finally:
        server.terminate()
        await server.wait()


async def test_metrics(proxy: Proxy) -> None:
    proxy.serve([ingress("i", default="s")])
    await until_ready(proxy)
    assert await proxy.answers("x", "/", "s")
    _, body = await proxy.get("x", "/metrics", port=proxy.ports.status)
    assert b'haproxy_backend_http_responses_total{proxy="default_s_' in body


# ---------------------------------------------------------------- TLS


def _certificate(*names: str) -> Certificate:
    found = certificate_in(tls_secret("x", *self_signed(*names)))
    assert isinstance(found, Certificate)
    return found


def _secured(name: str, host: str, secret: str, *hosts: str) -> Ingress:
    made = ingress(name, RulePath(host, "/", "Prefix", f"s-{name}"))
    made.spec.tls.add(secret_name=secret, hosts=hosts)
    return made


async def _secure(proxy: Proxy, host: str, trusted: Certificate, *alpn: str) -> tuple[ssl.SSLObject, bytes]:
    context = ssl.create_default_context(cadata=trusted.pem.decode().partition("-----BEGIN PRIVATE")[0])
    context.set_alpn_protocols(list(alpn or ("http/1.1",)))
    port = proxy.ports.https
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
    found: ssl.SSLObject = writer.get_extra_info("ssl_object")
    answer = b""
    if not alpn:
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    return found, answer


async def test_each_name_shows_its_certificate(proxy: Proxy) -> None:
    one, wild = _certificate("one.com"), _certificate("*.wild.com")
    made = [_secured("one", "one.com", "one", "one.com"), _secured("wild", "*.wild.com", "wild")]
    proxy.serve(made, {"one": one, "wild": wild})
    await until_ready(proxy)
    _, answer = await _secure(proxy, "one.com", one)
    said = json.loads(answer)
    assert (said["name"], said["headers"]["x-forwarded-proto"]) == ("s-one", "https")
    _, answer = await _secure(proxy, "a.wild.com", wild)
    assert json.loads(answer)["name"] == "s-wild"
    found, _ = await _secure(proxy, "one.com", one, "h2", "http/1.1")
    assert found.selected_alpn_protocol() == "h2"
    with pytest.raises(ssl.SSLError):
        await _secure(proxy, "other.com", one)


async def test_the_clear_is_sent_to_https_where_there_is_a_certificate(proxy: Proxy) -> None:
    stays = _secured("stays", "stays.com", "stays", "stays.com")
    stays.metadata.annotations["podium.dev/ssl-redirect"] = "false"
    bare = _secured("bare", "bare.com", "missing", "bare.com")
    made = [_secured("one", "one.com", "one", "one.com"), _secured("wild", "*.wild.com", "wild"), stays, bare]
    known = {name: _certificate(name + ".com") for name in ("one", "stays")}
    proxy.serve(made, {**known, "wild": _certificate("*.wild.com")})
    await until_ready(proxy)
    for host in ("one.com", "a.wild.com"):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.ports.http)
        writer.write(f"POST /x?y HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        head = (await reader.read()).lower()
        assert head.startswith(b"http/1.1 308 ")
        assert f"location: https://{host}/x?y\r\n".encode() in head
        writer.close()
    assert await proxy.answers("stays.com", "/", "s-stays")
    assert await proxy.answers("bare.com", "/", "s-bare"), "nobody is sent to where there is no certificate"


# ---------------------------------------------------------------- reloads


class Load:
    """Clients that ask one after the other, on connections that they keep and on new ones."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.asked = 0
        self.failures: list[str] = []
        self._over = False

    def end(self) -> None:
        self._over = True

    async def on_new_connections(self) -> None:
        while not self._over:
            try:
                self._note(str((await self._proxy.get("x", "/"))[0]))
            except (OSError, IndexError) as error:
                self._note(repr(error))

    async def on_one_connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._proxy.ports.http)
        while not self._over:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(h.split(b":")[1]) for h in head.lower().split(b"\r\n") if b"content-length" in h)
                await reader.readexactly(length)
                self._note(head.split()[1].decode())
            except (OSError, asyncio.IncompleteReadError) as error:
                self._note(repr(error))
                return
            if b"connection: close" in head.lower():  # as a proxy that ends says, after it has answered
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", self._proxy.ports.http)
        writer.close()

    def _note(self, result: str) -> None:
        self.asked += 1
        if result != "200":
            self.failures.append(result)


async def test_a_reload_loses_no_request(proxy: Proxy) -> None:
    def state(number: int) -> list[Ingress]:
        return [ingress("i", default="s"), ingress("n", RulePath("n.com", "/", "Prefix", f"s{number}"))]

    proxy.serve(state(0))
    await until_ready(proxy)
    load = Load(proxy)
    async with asyncio.TaskGroup() as clients:
        for _ in range(4):
            clients.create_task(load.on_new_connections())
            clients.create_task(load.on_one_connection())
        for number in range(1, 6):
            proxy.serve(state(number))

            async def taken(name: str = f"s{number}") -> bool:
                return await proxy.answers("n.com", "/", name)

            await eventually(taken, what=f"configuration {number}")
        load.end()
    assert load.failures == []
    assert load.asked > 200


async def test_what_haproxy_refuses_changes_nothing(proxy: Proxy, tmp_path: Path) -> None:
    proxy.serve([ingress("i", default="s")])
    await until_ready(proxy)
    proxy.mount({"haproxy.cfg": b"nonsense\n"})

    async def refused() -> bool:
        said = (tmp_path / "log").read_bytes()
        return b"is refused" in said and b"unknown keyword 'nonsense'" in said

    await eventually(refused)
    assert await proxy.answers("x", "/", "s")
    proxy.serve([ingress("i", default="t")])

    async def mended() -> bool:
        return await proxy.answers("x", "/", "t")

    await eventually(mended)


async def test_the_program_ends_when_it_is_told_to(proxy: Proxy) -> None:
    proxy.serve([ingress("i", default="s")])
    await until_ready(proxy)
    proxy.process.terminate()
    assert await asyncio.wait_for(proxy.process.wait(), 20) == 0


async def test_the_program_waits_for_its_first_configuration(proxy: Proxy) -> None:
    proxy.mount({"haproxy.cfg": b"nonsense\n"})
    proxy.serve([ingress("i", default="s")])
    await until_ready(proxy)
    assert await proxy.answers("x", "/", "s")


async def test_what_does_not_start_leaves_the_one_before(proxy: Proxy, tmp_path: Path) -> None:
    proxy.serve([ingress("i", default="s")])
    await until_ready(proxy)
    good = proxy.ports
    proxy.ports = good._replace(status=proxy.servers.port)  # which another process listens at
    proxy.serve([ingress("i", default="t")])

    async def fallen_back() -> bool:
        said = (tmp_path / "log").read_bytes()
        return b"did not start; going on with the one before" in said and b"cannot bind socket" in said

    await eventually(fallen_back)
    assert await proxy.answers("x", "/", "s")
    proxy.ports = good
    proxy.serve([ingress("i", default="t")])

    async def mended() -> bool:
        return await proxy.answers("x", "/", "t")

    await eventually(mended)


async def test_a_port_that_is_taken_ends_the_program_with_words(proxy: Proxy, tmp_path: Path) -> None:
    proxy.ports = proxy.ports._replace(status=proxy.servers.port)
    proxy.serve([ingress("i", default="s")])
    assert await asyncio.wait_for(proxy.process.wait(), 30) == 1
    assert b"cannot bind socket" in (tmp_path / "log").read_bytes()
