"""The node's DNS server over real sockets: its own names, others' names, cut answers, TCP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from dnslib import QTYPE, RR, A, DNSRecord

from nodelet.dns.server import DnsServer
from nodelet.dns.upstream import Upstream
from nodelet.dns.zone import Zone
from podium.v1.networking_pb2 import Endpoint, EndpointSlice, ServiceSpec
from podium.v1.node_session_pb2 import ServiceRoute
from tests.support.clock import VirtualClock
from tests.support.waiting import until

HERE = "127.0.0.1"
WEB = "web.default.svc.cluster.local"


class Elsewhere(asyncio.DatagramProtocol):
    """A resolver of the world: knows example.com."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = DNSRecord.parse(data)
        self.asked.append(str(query.q.qname))
        reply = query.reply()
        reply.add_answer(RR(query.q.qname, QTYPE.A, ttl=20, rdata=A("192.0.2.7")))
        assert self.transport is not None
        self.transport.sendto(reply.pack(), addr)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        return int(probe.getsockname()[1])


def _zone() -> Zone:
    zone = Zone("cluster.local")
    zone.put("default/web", ServiceRoute(namespace="default", name="web", spec=ServiceSpec(cluster_ip="10.63.0.9")))
    return zone


@asynccontextmanager
async def _serving(tmp_path: Path, clock: VirtualClock) -> AsyncIterator[tuple[DnsServer, int, Elsewhere]]:
    loop = asyncio.get_running_loop()
    transport, elsewhere = await loop.create_datagram_endpoint(Elsewhere, local_addr=(HERE, 0))
    (tmp_path / "resolv.conf").write_text(f"nameserver {HERE}\n")
    upstream = Upstream(clock=clock, resolv_conf=tmp_path / "resolv.conf", port=transport.get_extra_info("sockname")[1])
    server, port = DnsServer(zone=_zone(), upstream=upstream), _free_port()
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.run(HERE, port))
        await until(lambda: _accepts(port), what="the server to listen")
        yield server, port, elsewhere
        serving.cancel()
    transport.close()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HERE, port)) == 0


async def _ask(port: int, name: str, type_: str = "A", *, tcp: bool = False) -> DNSRecord:
    query = DNSRecord.question(name, type_)
    data = await asyncio.to_thread(query.send, HERE, port, tcp=tcp, timeout=5)
    return DNSRecord.parse(data)


async def test_own_names_others_names_and_what_was_heard_before(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with _serving(tmp_path, clock) as (server, port, elsewhere):
        for tcp in (False, True):
            assert [str(rr.rdata) for rr in (await _ask(port, WEB, tcp=tcp)).rr] == ["10.63.0.9"]
            assert [str(rr.rdata) for rr in (await _ask(port, "example.com", tcp=tcp)).rr] == ["192.0.2.7"]
        assert elsewhere.asked == ["example.com."], "the second time it is remembered"
        await clock.advance(21)
        await _ask(port, "example.com")
        assert len(elsewhere.asked) == 2, "and forgotten when its time is over"

        server.put("default/web", None)
        assert (await _ask(port, WEB)).header.rcode == 3


async def test_a_long_answer_is_had_over_tcp(tmp_path: Path) -> None:
    async with _serving(tmp_path, VirtualClock()) as (server, port, _):
        endpoints = [Endpoint(addresses=[f"10.64.1.{n}"]) for n in range(2, 90)]
        route = ServiceRoute(
            namespace="default", name="many", spec=ServiceSpec(cluster_ip="None"),
            slices=[EndpointSlice(endpoints=endpoints)],
        )  # fmt: skip
        server.put("default/many", route)
        cut = await _ask(port, "many.default.svc.cluster.local")
        assert (cut.header.tc, len(cut.rr)) == (1, 0)
        whole = await _ask(port, "many.default.svc.cluster.local", tcp=True)
        assert len(whole.rr) == 88


async def test_without_a_resolver_that_answers_the_client_is_told(tmp_path: Path) -> None:
    async with _serving(tmp_path, VirtualClock()) as (_, port, _):
        (tmp_path / "resolv.conf").write_text("# nobody\n")
        assert (await _ask(port, "example.org")).header.rcode == 2


def _web(address: str) -> ServiceRoute:
    return ServiceRoute(namespace="default", name="web", spec=ServiceSpec(cluster_ip=address))


async def test_a_kept_answer_repeats_its_question_letter_by_letter_and_goes_with_its_record(tmp_path: Path) -> None:
    async with _serving(tmp_path, VirtualClock()) as (server, port, _):
        for name in (WEB, "wEb.DEFAULT.svc.Cluster.local", "WEB.default.SVC.cluster.LOCAL"):
            answer = await _ask(port, name)
            assert str(answer.q.qname) == f"{name}."
            assert str(answer.a.rdata) == "10.63.0.9"
        server.put("default/web", _web("10.63.0.10"))
        assert str((await _ask(port, WEB)).a.rdata) == "10.63.0.10"
        server.put("default/late", None)
        late = WEB.replace("web", "late")
        assert (await _ask(port, late)).header.rcode == 3
        server.put("default/late", ServiceRoute(namespace="default", name="late", spec=_web("10.63.0.11").spec))
        assert str((await _ask(port, late)).a.rdata) == "10.63.0.11", "what was not there is forgotten, too"
