"""DNS messages: a query read, an answer written. The format is dnslib's business."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dnslib import CLASS, CNAME, PTR, QR, QTYPE, RCODE, RR, SOA, SRV, A, DNSError, DNSHeader, DNSQuestion, DNSRecord
from dnslib.dns import EDNS0
from dnslib.label import DNSBuffer

from nodelet.dns.zone import TTL, Answer, Record

UDP_BYTES = 512
EDNS_BYTES = 1232
"""What goes into one datagram without fragments anywhere (DNS flag day 2020)."""


class Query(NamedTuple):
    """What is asked. `name` is in lower case, without the final dot; `room` is what fits into one datagram."""

    name: str
    type: str
    room: int
    message: DNSRecord


def read(data: bytes) -> Query | None:
    """A query; None when it is none that can be answered at all."""
    try:
        message = DNSRecord.parse(data)
    except (DNSError, ValueError, IndexError):
        return None
    if message.header.qr or len(message.questions) != 1:
        return None
    question = message.q
    edns = next((rr for rr in message.ar if rr.rtype == QTYPE.OPT), None)
    room = min(max(edns.rclass, UDP_BYTES), EDNS_BYTES) if edns is not None else UDP_BYTES
    name = str(question.qname).rstrip(".").lower()
    return Query(name, QTYPE.get(question.qtype, str(question.qtype)), room, message)


def answer(query: Query, found: Answer, domain: str) -> bytes:
    """The answer of the cluster's own zone."""
    reply = _reply(query, RCODE.NOERROR if found.exists else RCODE.NXDOMAIN)
    reply.header.aa = 1
    for record in found.records:
        reply.add_answer(_rr(record))
    for record in found.additional:
        reply.add_ar(_rr(record))
    if not found.exists or not any(record.type == query.type for record in found.records):
        times = (1, 7200, 1800, 86400, TTL)
        soa = SOA(mname=f"ns.dns.{domain}", rname=f"hostmaster.{domain}", times=times)
        reply.add_auth(RR(domain, QTYPE.SOA, ttl=TTL, rdata=soa))
    return _packed(reply)


def question(name: str, query: Query) -> bytes:
    """What a query asks, asked of another name: for other resolvers, under the id 0."""
    message = DNSRecord(DNSHeader(id=0, rd=1), q=DNSQuestion(name, query.message.q.qtype))
    message.add_ar(EDNS0(udp_len=EDNS_BYTES))
    return _packed(message)


def completed(query: Query, found: Answer, told: bytes) -> bytes:
    """The answer of the cluster's own zone for an alias, with what others told of the name that it stands for."""
    try:
        message = DNSRecord.parse(told)
    except (DNSError, ValueError, IndexError):
        return failure(query)
    if message.header.rcode not in (RCODE.NOERROR, RCODE.NXDOMAIN):
        return failure(query)
    reply = _reply(query, message.header.rcode)
    reply.add_answer(*(_rr(record) for record in found.records), *message.rr)
    reply.add_auth(*(rr for rr in message.auth if rr.rtype == QTYPE.SOA))
    return _packed(reply)


def failure(query: Query, *, refused: bool = False) -> bytes:
    """The answer that there is none to be had."""
    return _packed(_reply(query, RCODE.REFUSED if refused else RCODE.SERVFAIL))


def fitting(data: bytes, query: Query) -> bytes:
    """An answer for a datagram: one that is too long is cut to nothing, with the flag that says to ask over TCP."""
    if len(data) <= query.room:
        return data
    short = _reply(query, data[3] & 0x0F)
    short.header.tc = 1
    return _packed(short)


def least_ttl(data: bytes) -> int | None:
    """How long an answer of others may be kept, in seconds; None: not at all."""
    try:
        message = DNSRecord.parse(data)
    except (DNSError, ValueError, IndexError):
        return None
    if message.header.rcode not in (RCODE.NOERROR, RCODE.NXDOMAIN) or message.header.tc:
        return None
    times = [rr.ttl for rr in (*message.rr, *message.auth) if rr.rtype != QTYPE.OPT]
    return min(times) if times else None


def aged(data: bytes, lifetimes: Sequence[int], seconds: int) -> bytes:
    """An answer as one gives it that had it some time ago: every record lives for so much less, and nothing else is
    touched. `lifetimes` are where they stand in it."""
    older = bytearray(data)
    for place in lifetimes:
        ttl = int.from_bytes(data[place : place + 4], "big")
        older[place : place + 4] = max(0, ttl - seconds).to_bytes(4, "big")
    return bytes(older)


def lifetimes(data: bytes) -> Sequence[int]:
    """Where in a message that can be read (`least_ttl`) the lifetimes of its records stand."""
    places = []
    buffer = DNSBuffer(data)
    _, _, questions, *counts = buffer.unpack("!HHHHHH")
    for _ in range(questions):
        buffer.decode_name()
        buffer.get(4)
    for _ in range(sum(counts)):
        buffer.decode_name()
        kind, _, _, length = buffer.unpack("!HHIH")
        if kind != QTYPE.OPT:
            places.append(buffer.offset - 6)
        buffer.get(length)
    return places


def _reply(query: Query, rcode: int) -> DNSRecord:
    asked = query.message
    header = DNSHeader(id=asked.header.id, qr=QR.RESPONSE, ra=1, rd=asked.header.rd, rcode=rcode)
    reply = DNSRecord(header, q=DNSQuestion(asked.q.qname, asked.q.qtype, asked.q.qclass))
    if any(rr.rtype == QTYPE.OPT for rr in asked.ar):
        reply.add_ar(EDNS0(udp_len=EDNS_BYTES))
    return reply


def _rr(record: Record) -> RR:
    rdata = {"A": A, "CNAME": CNAME, "PTR": PTR}
    if record.type == "SRV":
        priority, weight, port, target = record.data.split(" ")
        data = SRV(int(priority), int(weight), int(port), target)
    else:
        data = rdata[record.type](record.data)
    return RR(record.name, QTYPE.reverse[record.type], CLASS.IN, TTL, data)


def _packed(message: DNSRecord) -> bytes:
    return bytes(message.pack())
