"""Whom a node may ask whether it lost the master alone."""

from __future__ import annotations

from master.dispatcher.peers import PeerBook
from podium.objects.fencing import SAMPLE


def test_a_node_is_told_of_the_others_and_of_how_many_there_are() -> None:
    book = PeerBook()
    for name in ("n1", "n2", "n3"):
        book.put(name, f"{name}:7445")
    book.note("silent")
    book.put("no-port", "")
    told = book.of("n2")
    assert (sorted(told.addresses), told.nodes) == (["n1:7445", "n3:7445"], 5)
    book.drop("n1")
    assert (list(book.of("n2").addresses), book.of("n2").nodes) == (["n3:7445"], 4)


def test_only_changes_make_a_version() -> None:
    book = PeerBook()
    book.put("n1", "a:1")
    before = book.version
    book.put("n1", "a:1")
    book.note("n1")
    book.drop("unknown")
    assert book.version == before
    book.put("n1", "b:1")
    assert book.version > before


def test_of_many_a_sample_is_told() -> None:
    book = PeerBook()
    for number in range(200):
        book.put(f"n{number}", f"n{number}:1")
    told = book.of("n7")
    assert len(told.addresses) == SAMPLE - 1
    assert "n7:1" not in told.addresses
    assert told.nodes == 200
