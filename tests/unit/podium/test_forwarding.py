"""Where `forward` and `proxy` lead, and how a SOCKS5 client is understood."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from podium.cli.commands.forward import Forward, parse_forwards
from podium.cli.commands.proxy import Wanted, answer, greet, parse_name
from podium.cli.forwarding import places
from podium.errors import BadRequest
from podium.v1.networking_pb2 import EndpointPort, EndpointSlice, Service, ServicePort


def test_each_service_has_the_ports_that_follow_it() -> None:
    assert parse_forwards(["svc/a", "8080:80", "9090", "service/b", ":5432"]) == [
        Forward("a", 8080, 80), Forward("a", 9090, 9090), Forward("b", 0, 5432),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["80"], "before any svc/NAME"),
        (["svc/a"], "svc/a has no port"),
        (["svc/a", "svc/b", "80"], "svc/a has no port"),
        (["deploy/a", "80"], "is not svc/NAME"),
        (["svc/a", "web"], "is not a port"),
    ],
)
def test_what_is_no_forward_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        parse_forwards(words)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("web", Wanted("web", "mine")),
        ("web.shop", Wanted("web", "shop")),
        ("WEB.shop.svc.", Wanted("web", "shop")),
        ("web.shop.svc.cluster.local", Wanted("web", "shop")),
        ("db-0.db.shop.svc.example.org", Wanted("db", "shop", "db-0")),
        ("example.com.org", None),
        ("10.0.0.1", None),
        ("a.b.c.d.svc", None),
        ("", None),
    ],
)
def test_names_mean_services(name: str, wanted: Wanted | None) -> None:
    if wanted is not None:
        assert parse_name(name, "mine") == wanted
        return
    with pytest.raises(BadRequest, match="is not the name of a service"):
        parse_name(name, "mine")


def _slice() -> EndpointSlice:
    made = EndpointSlice(ports=[EndpointPort(name="web", port=8080, protocol="TCP")])
    for name, ready, kind in (("a", True, "Pod"), ("b", False, "Pod"), ("c", True, ""), ("d", True, "Pod")):
        endpoint = made.endpoints.add(addresses=["10.64.0.1"], hostname=name)
        endpoint.conditions.ready = ready
        endpoint.target_ref.kind, endpoint.target_ref.name, endpoint.target_ref.namespace = kind, name, "shop"
    return made


def test_pods_that_are_ready_are_asked_at_the_port_that_the_services_leads_to() -> None:
    service = Service()
    service.spec.ports.append(ServicePort(name="web", port=80, protocol="TCP"))
    service.spec.ports.append(ServicePort(name="dns", port=53, protocol="UDP"))
    assert [str(place) for place in places(service, [_slice()], 80)] == ["a:8080", "d:8080"]
    assert [str(place) for place in places(service, [_slice()], 80, "d")] == ["d:8080"]
    with pytest.raises(BadRequest, match="no TCP port 53; it has 80"):
        places(service, [_slice()], 53)
    service.spec.cluster_ip = "None"
    assert [str(place) for place in places(service, [_slice()], 5432, "a")] == ["a:5432"]


class Replies:
    """What a client is told."""

    def __init__(self) -> None:
        self.said = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.said += data

    def close(self) -> None:
        self.closed = True


async def _greet(said: bytes) -> tuple[tuple[str, int], bytes]:
    reader, replies = asyncio.StreamReader(), Replies()
    reader.feed_data(said)
    reader.feed_eof()
    writer: Any = replies
    return await greet(reader, writer), replies.said


HELLO = b"\x05\x02\x00\x02"


async def test_a_client_names_what_it_wants() -> None:
    assert await _greet(HELLO + b"\x05\x01\x00\x03\x08web.shop\x00\x50") == (("web.shop", 80), b"\x05\x00")
    assert await _greet(HELLO + b"\x05\x01\x00\x01\x0a\x3f\x00\x09\x01\xbb") == (("10.63.0.9", 443), b"\x05\x00")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        (b"\x05\x01\x02", b"\x05\xff"),
        (HELLO + b"\x05\x02\x00\x01\x0a\x3f\x00\x09\x01\xbb", b"\x05\x00" + answer(7)),
        (HELLO + b"\x05\x01\x00\x04" + bytes(18), b"\x05\x00" + answer(8)),
    ],
)
async def test_who_wants_something_else_is_told_and_left(said: bytes, told: bytes) -> None:
    reader, replies = asyncio.StreamReader(), Replies()
    reader.feed_data(said)
    reader.feed_eof()
    writer: Any = replies
    with pytest.raises(BadRequest):
        await greet(reader, writer)
    assert (replies.said, replies.closed) == (told, True)
