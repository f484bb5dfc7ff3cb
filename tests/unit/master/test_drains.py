"""When a pod that ends is drained: whatever the order in which it is left, ends and goes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.dispatcher.drains import NOBODY, DrainBook, Drained, Leads
from master.dispatcher.network import NetworkBook, Told
from podium.v1.core_pb2 import Pod
from podium.v1.networking_pb2 import EndpointSlice, Service

ANY = float("inf")


def _pod(name: str, *, ending: bool = False, node: str = "n1") -> Pod:
    made = Pod()
    made.metadata.namespace, made.metadata.name, made.metadata.uid = "default", name, f"uid-{name}"
    made.spec.node_name = node
    if ending:
        made.metadata.deletion_timestamp.seconds = 1
    return made


def _leads(*names: str, once: tuple[str, ...] = ()) -> Leads:
    now, before = ([f"uid-{name}" for name in some] for some in (names, once))
    return Leads(frozenset(now), frozenset(before))


def _ends(book: DrainBook, *names: str) -> None:
    for name in names:
        book.pod_changed(_pod(name, ending=True), deleted=False)


def test_a_pod_that_no_service_leads_to_is_drained_at_once() -> None:
    book = DrainBook()
    _ends(book, "a")
    assert book.drain(0) == [Drained("uid-a", "n1", was_led=False)]
    assert not book.waits
    assert book.wanted == 0, "nobody is asked for that"


def test_a_pod_is_drained_once_all_nodes_know_that_it_is_left() -> None:
    book = DrainBook()
    book.lead("web-1", _leads("a", "b"), 5)
    _ends(book, "a")
    assert not book.waits, "its slice says that it is led to"
    book.lead("web-1", _leads("b"), 7)
    assert book.wanted == 7
    assert book.drain(6) == []
    assert book.drain(7) == [Drained("uid-a", "n1", was_led=True)]
    assert book.drain(ANY) == []


def test_all_slices_that_lead_to_a_pod_must_leave_it() -> None:
    book = DrainBook()
    book.lead("web-1", _leads("a"), 5)
    book.lead("other-1", _leads("a"), 6)
    _ends(book, "a")
    book.lead("web-1", NOBODY, 7)
    assert book.drain(ANY) == []
    book.lead("other-1", NOBODY, 9)
    assert book.drain(8) == []
    assert book.drain(9) == [Drained("uid-a", "n1", was_led=True)]


def test_a_pod_that_was_left_before_it_ends_waits_for_nodes_that_have_not_heard() -> None:
    book = DrainBook()
    book.lead("web-1", _leads("a"), 5)
    book.lead("web-1", NOBODY, 6)
    assert (book.waits, book.wanted) == (False, 0)
    _ends(book, "a")
    assert book.wanted == 6
    assert book.drain(5) == []
    assert book.drain(6) == [Drained("uid-a", "n1", was_led=True)]


def test_a_pod_that_is_led_to_again_has_not_been_left() -> None:
    book = DrainBook()
    book.lead("web-1", _leads("a"), 5)
    book.lead("web-1", NOBODY, 6)
    book.lead("web-1", _leads("a"), 7)
    _ends(book, "a")
    assert book.drain(ANY) == []


@pytest.mark.parametrize("pod_first", [False, True])
def test_a_master_that_starts_knows_by_its_slice_that_a_pod_was_led_to(pod_first: bool) -> None:
    book = DrainBook()
    if pod_first:
        _ends(book, "a")
    book.lead("web-1", _leads("b", once=("a",)), 5)
    if not pod_first:
        _ends(book, "a")
    assert book.wanted == 5
    assert book.drain(4) == []
    assert book.drain(5) == [Drained("uid-a", "n1", was_led=True)]
    book.lead("web-1", _leads("c", once=("a",)), 6)
    assert not book.waits, "that is no news"


def test_drained_pods_are_known_by_node_until_they_are_gone() -> None:
    book = DrainBook()
    book.lead("web-1", _leads("b"), 5)
    _ends(book, "a", "b")
    book.lead("web-1", NOBODY, 6)
    assert len(book.drain(6)) == 2
    assert book.drained_on("n1") == {"uid-a": False, "uid-b": True}
    assert book.drained_on("n2") == {}
    for name in ("a", "b"):
        book.pod_changed(_pod(name, ending=True), deleted=True)
    assert book.drained_on("n1") == {}


def test_nothing_is_kept_of_pods_that_are_gone() -> None:
    book = DrainBook()
    book.lead("web-1", _leads("forced", "left", "drains"), 5)
    book.pod_changed(_pod("forced"), deleted=True)
    book.lead("web-1", _leads("drains"), 6)
    book.pod_changed(_pod("left"), deleted=True)
    _ends(book, "drains")
    book.lead("web-1", NOBODY, 7)
    book.pod_changed(_pod("drains", ending=True), deleted=True)
    assert book.drain(ANY) == []
    kept = (book._slices, book._led, book._left, book._ending, book._since, book._gone, book._waiting, book._drained)
    assert not any(kept), kept


def test_a_thousand_pods_that_end_at_once_cost_little() -> None:
    book, names = DrainBook(), [f"p{number}" for number in range(1000)]
    book.lead("web-1", _leads(*names), 5)
    began = time.perf_counter()
    _ends(book, *names)
    book.lead("web-1", NOBODY, 6)
    assert len(book.drain(6)) == 1000
    assert time.perf_counter() - began < 0.2


@given(st.lists(st.sampled_from(["led", "left", "ends", "goes", "told"]), max_size=30))
def test_a_pod_is_never_drained_while_a_node_may_lead_to_it(events: list[str]) -> None:
    book, version, in_force = DrainBook(), 1, 0
    leads, may_lead_until, state = False, 0, "runs"
    for event in events:
        if event in ("led", "left"):
            version += 1
            may_lead_until = version if leads or event == "led" else may_lead_until
            leads = event == "led" and state == "runs"
            book.lead("web-1", _leads("a") if leads else NOBODY, version)
        elif event == "ends" and state == "runs":
            state = "ends"
            _ends(book, "a")
        elif event == "goes":
            state = "gone"
            book.pod_changed(_pod("a", ending=True), deleted=True)
        elif event == "told":
            in_force = version
        for drained in book.drain(in_force):
            assert drained.was_led == (may_lead_until > 0)
            assert (state, leads) == ("ends", False)
            assert in_force >= may_lead_until
    if state == "ends" and not leads:
        book.drain(ANY)
        assert book.drained_on("n1"), "it is drained in the end"


# ---------------------------------------------------------------- what services say


def _service(**spec: bool) -> Service:
    made = Service()
    made.metadata.namespace, made.metadata.name, made.spec.cluster_ip = "default", "web", "10.63.0.9"
    for name, value in spec.items():
        setattr(made.spec, name, value)
    return made


def _slice(ready: bool, terminating: bool) -> EndpointSlice:
    made = EndpointSlice(address_type="IPv4")
    made.metadata.namespace, made.metadata.name = "default", "web-1"
    made.metadata.labels["kubernetes.io/service-name"] = "web"
    endpoint = made.endpoints.add(addresses=["10.64.1.2"])
    endpoint.conditions.ready, endpoint.conditions.serving, endpoint.conditions.terminating = ready, True, terminating
    endpoint.target_ref.uid = "uid-a"
    return made


def _told(book: NetworkBook, told: Told) -> tuple[int, list[tuple[bool, bool]]]:
    """The sequence number that a node is asked by, and what it hears of the endpoint: ready, terminating."""
    update = book.news("n2", told)
    assert update is not None
    endpoints = [e for r in update.records if r.HasField("service") for s in r.service.slices for e in s.endpoints]
    return update.sequence, [(e.conditions.ready, e.conditions.terminating) for e in endpoints]


@pytest.mark.parametrize("publishes", [False, True])
def test_nodes_are_asked_only_when_a_pod_that_ends_is_left(publishes: bool) -> None:
    book, told = NetworkBook(), Told()
    book.service_changed(_service(publish_not_ready_addresses=publishes), deleted=False)
    book.slice_changed(_slice(True, False), deleted=False)
    assert _told(book, told) == (0, [(True, False)])
    book.pod_changed(_pod("a"), _pod("a", ending=True), deleted=False)
    book.news("n2", told)
    assert not book.drains.waits
    book.slice_changed(_slice(publishes, True), deleted=False)
    sequence, heard = _told(book, told)
    assert heard == [(publishes, True)]
    assert sequence > 0
    assert book.news("n2", told) is None, "it is asked once"
    assert [d.uid for d in book.drains.drain(sequence)] == ["uid-a"]


def test_a_service_that_is_gone_leads_nowhere() -> None:
    book = NetworkBook()
    book.slice_changed(_slice(True, False), deleted=False)
    book.service_changed(_service(), deleted=False)
    book.pod_changed(_pod("a"), _pod("a", ending=True), deleted=False)
    assert book.drains.drain(ANY) == []
    book.service_changed(_service(), deleted=True)
    assert [d.uid for d in book.drains.drain(ANY)] == ["uid-a"]


def test_a_slice_that_is_gone_leads_nowhere() -> None:
    book = NetworkBook()
    book.service_changed(_service(), deleted=False)
    book.slice_changed(_slice(True, False), deleted=False)
    book.pod_changed(_pod("a"), _pod("a", ending=True), deleted=False)
    book.slice_changed(_slice(True, False), deleted=True)
    assert [d.uid for d in book.drains.drain(ANY)] == ["uid-a"]


@pytest.mark.parametrize("publishes", [False, True])
def test_a_slice_that_was_written_before_the_pod_had_to_go_leads_nobody_to_it(publishes: bool) -> None:
    book, told = NetworkBook(), Told()
    book.service_changed(_service(publish_not_ready_addresses=publishes), deleted=False)
    book.pod_changed(_pod("a"), _pod("a", ending=True), deleted=False)
    assert [d.was_led for d in book.drains.drain(0)] == [False]
    book.slice_changed(_slice(True, False), deleted=False)
    assert _told(book, told)[1] == [(publishes, True)]
