"""Usage in the master: the newest only, told by pod while it is fresh, and asked for as often as somebody looks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.dispatcher.usage import CLOSE_REPORTS_PER_SECOND, REPORTS_PER_SECOND, STALE_SECONDS, UsageBook, pace
from podium.objects.kinds import Key
from podium.v1.cluster_service_pb2 import ContainerUsage, NodeUsage, PodUsage
from podium.v1.node_session_pb2 import UsageReport
from tests.support.clock import VirtualClock

ONE, OTHER = Key("HorizontalPodAutoscaler", "default", "one"), Key("HorizontalPodAutoscaler", "default", "other")


def report(cpu: int, *uids: str) -> UsageReport:
    pods = [PodUsage(namespace="default", name=u, uid=u, containers=[ContainerUsage(cpu_nanocores=cpu)]) for u in uids]
    return UsageReport(node=NodeUsage(name="liar", cpu_nanocores=cpu), pods=pods)


async def test_the_newest_counts_until_it_is_stale() -> None:
    clock = VirtualClock()
    book = UsageBook(clock)
    book.put("n1", report(1, "a"))
    book.put("n1", report(2, "a", "b"))
    assert [node.name for node in book.nodes()] == ["n1"]
    assert {uid: pod.containers[0].cpu_nanocores for uid, pod in book.of_node("n1").items()} == {"a": 2, "b": 2}
    assert not book.of_node("n2")
    await clock.advance(STALE_SECONDS + 1)
    assert not book.of_node("n1")
    assert not list(book.pods("default"))
    assert not book.nodes()
    book.put("n1", report(3, "a"))
    assert [(node, pod.name) for node, pod in book.pods("default")] == [("n1", "a")]
    book.forget("n1")
    assert not list(book.pods())


async def test_a_large_fleet_is_stale_later() -> None:
    clock = VirtualClock()
    book = UsageBook(clock)
    for number in range(5000):
        book.put(f"n{number}", report(1, "a"))
    book.watch(ONE, ["n0"])
    await clock.advance(STALE_SECONDS + 1)
    assert len(book.nodes()) == 5000
    assert book.of_node("n1")
    assert not book.of_node("n0"), "it should have said more by now"


@pytest.mark.parametrize(
    ("nodes", "watched", "close", "seconds"),
    [
        (3, 0, False, 2.0),
        (3, 1, True, 1.0),
        (3, 1, False, 2.0),
        (1000, 0, False, 5.0),
        (1000, 10, True, 1.0),
        (1000, 1000, True, 2.0),
        (5000, 5000, True, 10.0),
    ],
)
def test_how_often_nodes_report(nodes: int, watched: int, close: bool, seconds: float) -> None:
    assert pace(nodes, watched, close=close) == seconds


@given(st.integers(1, 20_000), st.data())
def test_reports_of_a_fleet_are_bounded(nodes: int, data: st.DataObject) -> None:
    watched = data.draw(st.integers(0, nodes))
    rate = (nodes - watched) / pace(nodes, watched, close=False) + watched / pace(nodes, watched, close=True)
    assert rate <= REPORTS_PER_SECOND + CLOSE_REPORTS_PER_SECOND + 1e-6


def test_a_node_is_looked_at_closely_for_as_long_as_anybody_does() -> None:
    book = UsageBook(VirtualClock())
    book.watch(ONE, ["n1", "n2"])
    book.watch(OTHER, ["n2"])
    assert [book.pace(node, 3) for node in ("n1", "n2", "n3")] == [1.0, 1.0, 2.0]
    book.watch(ONE, [])
    book.watch(ONE, [])
    assert [book.pace(node, 3) for node in ("n1", "n2", "n3")] == [2.0, 1.0, 2.0]
