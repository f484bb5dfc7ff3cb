"""Answers that are kept: which questions they are for, and when they are forgotten."""

from __future__ import annotations

from dnslib import EDNS0, QTYPE, RR, A, DNSRecord, EDNSOption
from hypothesis import given
from hypothesis import strategies as st

from nodelet.dns.kept import Kept

NAME = "web.default.svc.cluster.local"


def _question(name: str = NAME, type_: str = "A", *, options: bool | None = None) -> bytes:
    asked = DNSRecord.question(name, type_)
    if options is not None:
        asked.add_ar(EDNS0(udp_len=1232, opts=[EDNSOption(10, b"12345678")] if options else []))
    return bytes(asked.pack())


def _answer(question: bytes, address: str = "10.63.0.9") -> bytes:
    reply = DNSRecord.parse(question).reply()
    reply.add_answer(RR(NAME, QTYPE.A, ttl=5, rdata=A(address)))
    return bytes(reply.pack())


def _kept(question: bytes, most: int = 10) -> Kept:
    kept = Kept(most)
    kept.keep(question, NAME, _answer(question))
    return kept


@given(st.lists(st.booleans(), min_size=len(NAME), max_size=len(NAME)))
def test_the_letters_of_a_question_are_its_askers(large: list[bool]) -> None:
    name = "".join(c.upper() if up else c for c, up in zip(NAME, large, strict=True))
    kept, question = _kept(_question()), _question(name)
    answer = kept.answer(question)
    assert answer is not None
    said = DNSRecord.parse(answer)
    assert (said.header.id, str(said.q.qname)) == (DNSRecord.parse(question).header.id, f"{name}.")
    assert [(str(rr.rname).lower(), str(rr.rdata)) for rr in said.rr] == [(f"{NAME}.", "10.63.0.9")]


def test_another_question_has_another_answer() -> None:
    kept = _kept(_question(type_="HTTPS"))  # its type is the letter A
    assert kept.answer(_question(type_="HTTPS")) is not None
    assert kept.answer(_question(type_="TYPE97")) is None, "and 97 is the letter a"
    assert kept.answer(_question("other.default.svc.cluster.local")) is None
    assert kept.answer(_question(type_="HTTPS", options=False)) is None, "it may be longer"


def test_what_is_asked_with_options_is_not_kept() -> None:
    assert _kept(_question(options=False)).answer(_question(options=False)) is not None
    assert _kept(_question(options=True)).answer(_question(options=True)) is None


def test_names_are_forgotten_with_all_that_was_asked_of_them() -> None:
    kept = _kept(_question())
    kept.keep(_question(type_="AAAA"), NAME, _answer(_question(type_="AAAA")))
    kept.forget(["other.default.svc.cluster.local"])
    assert kept.answer(_question()) is not None
    kept.forget([NAME])
    assert kept.answer(_question()) is kept.answer(_question(type_="AAAA")) is None


def test_it_holds_so_many_and_then_begins_anew() -> None:
    kept = _kept(_question(), most=2)
    for number in range(3):
        question = _question(f"n{number}.{NAME}")
        kept.keep(question, f"n{number}.{NAME}", _answer(question))
        assert kept.answer(question) is not None
    assert kept.answer(_question()) is None


def test_a_message_that_is_no_question_is_not_known() -> None:
    kept = _kept(_question())
    for data in (b"\0" * 12, b"\xff" * 12, _question()[:20]):
        assert kept.answer(data) is None
