"""The node's DNS server over real sockets: its own names, others' names, cut answers, TCP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from dnslib import QTYPE, RCODE, RR, A, DNSRecord

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
    """A resolver of the world: says of every name that it is at 192.0.2.7; of `gone.example` that there is none such,
    of `broken.example` that it does not know, and of `long.example` more than goes into a datagram."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.over_tcp = 0
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self.transport is not None
        reply = self._reply(data)
        if len(reply.rr) > 1:
            reply.rr.clear()
            reply.header.tc = 1
        self.transport.sendto(reply.pack(), addr)

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.over_tcp += 1
        answer = self._reply(await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))).pack()
        writer.write(len(answer).to_bytes(2, "big") + answer)
        writer.close()

    def _reply(self, data: bytes) -> DNSRecord:
        query = DNSRecord.parse(data)
        name = str(query.q.qname)
        self.asked.append(name)
        reply = query.reply()
        reply.header.rcode = {"gone.example.": RCODE.NXDOMAIN, "broken.example.": RCODE.SERVFAIL}.get(name, 0)
        if not reply.header.rcode:
            addresses = range(1, 100) if name == "long.example." else [7]
            reply.add_answer(*(RR(name, QTYPE.A, ttl=20, rdata=A(f"192.0.2.{n}")) for n in addresses))
        return reply


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
    there = transport.get_extra_info("sockname")[1]
    tcp = await asyncio.start_server(elsewhere.connection, HERE, there)
    upstream = Upstream(clock=clock, resolv_conf=tmp_path / "resolv.conf", port=there)
    server, port = DnsServer(zone=_zone(), upstream=upstream), _free_port()
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.run(HERE, port))
        await until(lambda: _accepts(port), what="the server to listen")
        yield server, port, elsewhere
        serving.cancel()
    transport.close()
    tcp.close()


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
        await clock.advance(8)
        assert (await _ask(port, "example.com")).a.ttl == 12, "it lives no longer for having been remembered"
        await clock.advance(13)
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


def _alias(target: str) -> ServiceRoute:
    spec = ServiceSpec(type="ExternalName", external_name=target)
    return ServiceRoute(namespace="default", name="ext", spec=spec)


async def test_an_alias_comes_with_what_it_stands_for(tmp_path: Path) -> None:
    async with _serving(tmp_path, VirtualClock()) as (server, port, elsewhere):
        ext = "ext.default.svc.cluster.local"
        for target, type_, rcode, said in (
            ("example.com", "A", RCODE.NOERROR, ["example.com.", "192.0.2.7"]),
            ("example.com", "CNAME", RCODE.NOERROR, ["example.com."]),
            (WEB, "A", RCODE.NOERROR, [f"{WEB}.", "10.63.0.9"]),
            (WEB, "AAAA", RCODE.NOERROR, [f"{WEB}."]),
            ("gone.example", "A", RCODE.NXDOMAIN, ["gone.example."]),
            ("broken.example", "A", RCODE.SERVFAIL, []),
            (ext, "A", RCODE.SERVFAIL, []),
        ):
            server.put("default/ext", _alias(target))
            for tcp in (False, True):
                answer = await _ask(port, ext, type_, tcp=tcp)
                assert (answer.header.rcode, [str(rr.rdata) for rr in answer.rr]) == (rcode, said), (target, tcp)
        assert elsewhere.asked.count("example.com.") == 1, "and is remembered as if it had been asked for"
        server.put("default/ext", _alias("long.example"))
        cut = await _ask(port, ext)
        assert (cut.header.tc, len(cut.rr)) == (1, 0)
        assert len((await _ask(port, ext, tcp=True)).rr) == 100


async def test_an_alias_of_a_service_changes_with_it(tmp_path: Path) -> None:
    async with _serving(tmp_path, VirtualClock()) as (server, port, _):
        server.put("default/ext", _alias(WEB))
        for address in ("10.63.0.9", "10.63.0.10"):
            server.put("default/web", _web(address))
            assert str((await _ask(port, "ext.default.svc.cluster.local")).rr[1].rdata) == address


async def test_what_another_resolver_cuts_is_had_over_tcp(tmp_path: Path) -> None:
    async with _serving(tmp_path, VirtualClock()) as (_, port, elsewhere):
        for _ in range(2):
            assert len((await _ask(port, "long.example", tcp=True)).rr) == 99
        assert (elsewhere.asked, elsewhere.over_tcp) == (["long.example."] * 2, 1), "once each way, then remembered"
        assert (await _ask(port, "long.example")).header.tc == 1, "who asks by datagram is told to ask again"


async def test_without_a_resolver_that_answers_the_client_is_told(tmp_path: Path) -> None:
    async with _serving(tmp_path, VirtualClock()) as (server, port, _):
        (tmp_path / "resolv.conf").write_text("# nobody\n")
        assert (await _ask(port, "example.org")).header.rcode == 2
        server.put("default/ext", _alias("example.org"))
        assert (await _ask(port, "ext.default.svc.cluster.local")).header.rcode == 2


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
