"""Prometheus: what its answers mean, and what becomes of a server that is slow, odd or gone."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from master.signals.prometheus import Prometheus, PrometheusSettings
from master.signals.samples import NoData, QueryFailed, QueryRefused, Sample, only, parse_answer
from podium.aio.clock import SystemClock
from podium.errors import PodiumError
from podium.urls import parse_base
from tests.support.clock import settle

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

SERIES = {"metric": {"job": "a"}, "value": [10.5, "0.25"]}
ONE = {"status": "success", "data": {"resultType": "vector", "result": [SERIES]}}


def parsed(answer: Any, status: int = 200) -> tuple[Sample, ...]:
    return parse_answer(status, json.dumps(answer).encode())


def success(kind: str, result: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


@pytest.mark.parametrize(
    ("answer", "samples"),
    [
        (ONE, (Sample(time=10.5, value=0.25, labels={"job": "a"}),)),
        (success("vector", []), ()),
        (success("scalar", [3, "7"]), (Sample(time=3, value=7),)),
        (success("vector", [{"metric": {}, "value": [1, "+Inf"]}]), (Sample(time=1, value=math.inf),)),
        (success("vector", [{"metric": {}, "histogram": [1, {}]}, SERIES]), parsed(ONE)),
    ],
)
def test_answers(answer: Any, samples: tuple[Sample, ...]) -> None:
    assert parsed(answer) == samples


def test_a_ratio_without_traffic_is_not_a_number() -> None:
    assert math.isnan(only(parsed(success("vector", [{"metric": {}, "value": [1, "NaN"]}]))))


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        ({"status": "error", "errorType": "bad_data", "error": "parse error"}, QueryRefused, "bad_data: parse error"),
        ({"status": "error", "errorType": "execution", "error": "many-to-many"}, QueryRefused, "many-to-many"),
        ({"status": "error", "errorType": "timeout", "error": "query timed out"}, QueryFailed, "timed out"),
        (success("matrix", []), QueryRefused, "gives a matrix; it must give a vector or a scalar"),
        (success("string", [1, "x"]), QueryRefused, "gives a string"),
        ({"kind": "Status"}, QueryFailed, "HTTP 200 and an answer that is not Prometheus'"),
        ([], QueryFailed, "not Prometheus'"),
        ({"status": "success", "data": {"resultType": "vector", "result": [{"value": 1}]}}, QueryFailed, "not Prom"),
    ],
)
def test_refusals(answer: Any, error: type[PodiumError], says: str) -> None:
    with pytest.raises(error, match=says):
        parsed(answer)


def test_what_is_no_json_is_shown() -> None:
    with pytest.raises(QueryFailed, match="HTTP 502 and no JSON: Bad Gateway"):
        parse_answer(502, b"Bad Gateway")


def test_only_takes_exactly_one() -> None:
    one = Sample(time=1, value=2, labels={"pod": "a"})
    assert only([one]) == 2
    with pytest.raises(NoData, match="gives no sample"):
        only([])
    with pytest.raises(QueryRefused, match=r'gives 2 series \(\{pod="a"\}, \{pod="a"\}, …\): aggregate'):
        only([one, one])


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "tls"),
    [
        ("http://p:9090", "p", 9090, "", False),
        ("https://p/prometheus/", "p", 443, "/prometheus", True),
        ("http://[::1]:1", "::1", 1, "", False),
    ],
)
def test_addresses(url: str, host: str, port: int, path: str, tls: bool) -> None:
    base = parse_base(url)
    assert (base.host, base.port, base.path, base.tls) == (host, port, path, tls)


@pytest.mark.parametrize("url", ["p:9090", "ftp://p", "http://", "http://u:p@h", "http://h?x=1", "http://h:99999"])
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError):
        parse_base(url)


# ---------------------------------------------------------------- over a socket


class Server:
    """Answers every request with `reply`, and keeps what it was asked."""

    def __init__(self, reply: bytes) -> None:
        self.reply, self.head, self.form = reply, "", dict[str, list[str]]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(self.head.lower().split("content-length: ")[1].split("\r\n")[0])
        self.form = parse_qs((await reader.readexactly(length)).decode())
        writer.write(self.reply)
        if not self.reply:
            await reader.read()  # until the other end gives up
        writer.close()


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[str]:
    asked: list[asyncio.Event] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(done := asyncio.Event())
        try:
            await serve(reader, writer)
        finally:
            done.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        async with asyncio.timeout(10):
            for done in asked:
                await done.wait()
        await settle()


def prometheus(url: str, timeout: float = 20, token_file: Path | None = None) -> Prometheus:
    return Prometheus(PrometheusSettings(url=url, timeout=timeout, token_file=token_file), clock=SystemClock())


def http(body: bytes, *headers: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""]).encode() + body


BODY = json.dumps(ONE).encode()
CHUNKED = b"".join(b"%x;e=1\r\n%s\r\n" % (len(p), p) for p in (BODY[:7], BODY[7:])) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "reply",
    [
        http(BODY, f"Content-Length: {len(BODY)}"),
        http(CHUNKED, "Transfer-Encoding: chunked"),
        http(BODY),
    ],
    ids=["length", "chunks", "end"],
)
async def test_a_query_is_asked_and_answered(reply: bytes, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    server = Server(reply)
    async with served(server.serve) as url:
        samples = await prometheus(f"{url}/prom/", token_file=token).query('sum(up{job="a+b"})')
    assert only(samples) == 0.25
    assert server.head.startswith("POST /prom/api/v1/query HTTP/1.1\r\n")
    assert "Authorization: Bearer s3cret\r\n" in server.head
    assert server.form == {"query": ['sum(up{job="a+b"})'], "timeout": ["20s"]}


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "broke off"),
        (http(b"{}", "Content-Length: 99"), "broke off"),
        (http(b"", "Content-Length: 99999999999"), "at most 16777216 are taken"),
        (http(b"", "Content-Length: x"), "is no number"),
        (http(b"zz\r\n", "Transfer-Encoding: chunked"), "has no size"),
    ],
)
async def test_nonsense_is_told(reply: bytes, says: str) -> None:
    async with served(Server(reply).serve) as url:
        with pytest.raises(QueryFailed, match=says):
            await prometheus(url).query("up")


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    async with served(Server(b"").serve) as url:
        with pytest.raises(QueryFailed, match=f"{url} did not answer within 0.05s"):
            await prometheus(url, timeout=0.05).query("up")


async def test_a_server_that_is_not_there() -> None:
    async with served(Server(b"").serve) as url:
        pass
    with pytest.raises(QueryFailed, match=url):
        await prometheus(url).query("up")


async def test_a_token_that_is_not_there(tmp_path: Path) -> None:
    async with served(Server(b"").serve) as url:
        with pytest.raises(QueryFailed, match="No such file"):
            await prometheus(url, token_file=tmp_path / "gone").query("up")


@pytest.mark.parametrize(("url", "query", "says"), [("", "up", "set prometheus_url"), ("http://p", " ", "is empty")])
async def test_what_cannot_be_asked(url: str, query: str, says: str) -> None:
    with pytest.raises(QueryRefused, match=says):
        await prometheus(url).query(query)
