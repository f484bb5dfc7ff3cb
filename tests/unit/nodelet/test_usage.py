"""Rates over samples: never negative, never of a counter that was reset, over the window and no longer."""

from __future__ import annotations

import dataclasses
import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodelet.metrics.cgroup import Reading
from nodelet.metrics.traffic import Traffic
from nodelet.metrics.usage import (
    MAX_GAP_SECONDS,
    MIN_GAP_SECONDS,
    WINDOW_SECONDS,
    ContainerSample,
    NodeSample,
    PodTraffic,
    Sample,
    Span,
    Target,
    remember,
    report,
    span,
)
from nodelet.runtime.protocol import PodIdentity
from podium.v1.node_session_pb2 import UsageReport

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SECOND = 1_000_000_000
IDLE = Reading(cpu_ns=0, memory=1 << 20, oom_kills=0, pids=1)


def container(id_: str, cpu_ns: int, *, pod: str = "web", name: str = "app", apart: bool = False) -> ContainerSample:
    identity = PodIdentity(namespace="default", name=pod, uid=f"uid-{pod}")
    target = Target(pod=identity, name=name, id=id_, sandbox_id="s", sandbox_pid="7")
    return ContainerSample(target=target, reading=dataclasses.replace(IDLE, cpu_ns=cpu_ns), apart=apart)


def sample(at: float, node_ns: int, *containers: ContainerSample) -> Sample:
    node = NodeSample(cpu_ns=node_ns, memory=1 << 30, memory_available=1 << 30, tasks=100)
    return Sample(at=at, node=node, containers={c.target.id: c for c in containers})


def told(before: Sample, after: Sample) -> UsageReport:
    made = report([before, after], node="n1", now=NOW)
    assert made is not None
    return made


counters = st.integers(0, 1 << 62)
steps = st.lists(st.tuples(st.floats(0.2, 100), st.integers(0, 1 << 40)), min_size=1, max_size=20)


@given(st.lists(st.tuples(st.floats(0, 100_000), st.none() | counters), max_size=20))
def test_a_span_never_goes_backwards(readings: list[tuple[float, int | None]]) -> None:
    newest_first = sorted(readings, key=lambda reading: -reading[0])
    found = span(newest_first)
    assert found is None or (found.amount >= 0 and found.seconds >= MIN_GAP_SECONDS)


@given(counters, steps)
def test_a_span_reaches_back_to_the_oldest_reading(start: int, grown: list[tuple[float, int]]) -> None:
    readings, at, value = [(0.0, start)], 0.0, start
    for seconds, amount in grown:
        at, value = at + seconds, value + amount
        readings.append((at, value))
    assert span(readings[::-1]) == Span(at, value - start)


@given(st.integers(0, 64_000), st.integers(1, 100), counters)
def test_a_steady_load_is_told_exactly(millicores: int, elapsed: int, start: int) -> None:
    found = span([(elapsed, start + millicores * 1_000_000 * elapsed), (0.0, start)])
    assert found is not None
    assert found.per_second == millicores * 1_000_000


@pytest.mark.parametrize(
    ("readings", "found"),
    [
        ([], None),
        ([(9.0, 5)], None),
        ([(9.0, None), (8.0, 5)], None),
        ([(9.0, 5), (9.0, 3)], None),
        ([(9.0, 5), (8.0, 3), (7.0, 9)], Span(1.0, 2)),
        ([(9.0, 5), (8.0, 3), (7.0, None), (6.0, 0)], Span(1.0, 2)),
        ([(9.0, 5), (8.0, 9), (7.0, 1)], None),
    ],
    ids=["none", "one", "gone", "at once", "was reset", "was away", "just reset"],
)
def test_where_a_span_ends(readings: list[tuple[float, int | None]], found: Span | None) -> None:
    assert span(readings) == found


@given(st.lists(st.floats(0.2, 60), max_size=40))
def test_what_is_remembered_spans_the_window_and_little_more(gaps: list[float]) -> None:
    history: tuple[Sample, ...] = ()
    at = 0.0
    for gap in gaps:
        at += gap
        history = remember(history, sample(at, 0))
        assert history[-1].at == at
        assert all(at - kept.at < WINDOW_SECONDS for kept in history[1:-1])
    if len(gaps) > 1:
        assert len(history) > 1
        assert at - history[0].at >= min(WINDOW_SECONDS, sum(gaps[1:])) - 1e-6


def test_node_and_containers_are_told() -> None:
    made = told(
        sample(0, 0, container("a", 0), container("b", SECOND, name="sidecar")),
        sample(5, 5 * SECOND, container("a", 2 * SECOND), container("b", SECOND, name="sidecar")),
    )
    assert (made.node.name, made.node.cpu_nanocores, made.node.memory_bytes) == ("n1", SECOND, 1 << 30)
    (pod,) = made.pods
    assert [(c.name, c.cpu_nanocores, c.memory_bytes) for c in pod.containers] == [
        ("app", 400_000_000, 1 << 20),
        ("sidecar", 0, 1 << 20),
    ]


def test_a_container_is_told_from_its_second_reading_on() -> None:
    assert not told(sample(0, 0), sample(5, SECOND, container("new", SECOND))).pods


def test_a_restarted_container_is_another_one() -> None:
    assert not told(sample(0, 0, container("old", 9 * SECOND)), sample(5, 0, container("new", SECOND))).pods


def test_a_counter_that_went_back_is_left_out_for_once() -> None:
    before, after = (
        sample(0, 0, container("a", 9), container("b", 9)),
        sample(5, 0, container("a", 3), container("b", 9)),
    )
    assert [len(pod.containers) for pod in told(before, after).pods] == [1]


def test_containers_beside_a_host_in_a_container_come_on_top() -> None:
    before = sample(0, 0, container("in", 0), container("out", 0, apart=True))
    after = sample(1, SECOND, container("in", SECOND), container("out", SECOND, apart=True))
    assert told(before, after).node.cpu_nanocores == 2 * SECOND


def test_a_long_gap_is_not_now() -> None:
    history = remember(remember((), sample(0, 0)), sample(MAX_GAP_SECONDS + 1, SECOND))
    assert report(history, node="n1", now=NOW) is None


def test_a_container_that_has_just_started_is_told_over_its_own_time() -> None:
    history = [
        sample(0, 0, container("old", 0)),
        sample(3, 0, container("old", 0), container("new", 0, name="new")),
        sample(4, 0, container("old", SECOND), container("new", SECOND, name="new")),
    ]
    made = report(history, node="n1", now=NOW)
    assert made is not None
    assert [(c.name, c.cpu_nanocores, c.window_milliseconds) for c in made.pods[0].containers] == [
        ("app", SECOND // 4, 4000),
        ("new", SECOND, 1000),
    ]


def test_traffic_is_told_by_the_second_and_of_one_sandbox() -> None:
    def at(seconds: float, sandbox: str, taken: int) -> Sample:
        moved = Traffic(taken=taken, given=taken * 2)
        pod = PodIdentity(namespace="default", name="web", uid="uid-web")
        busy = dataclasses.replace(container("a", 0), reading=dataclasses.replace(IDLE, disk=moved))
        return dataclasses.replace(
            sample(seconds, 0, busy),
            node=dataclasses.replace(sample(0, 0).node, network=moved, disk=moved),
            networks={"uid-web": PodTraffic(pod=pod, sandbox_id=sandbox, traffic=moved)},
        )

    made = report([at(0, "old", 0), at(2, "s", 1000), at(4, "s", 2000)], node="n1", now=NOW)
    assert made is not None
    (pod,) = made.pods
    assert (pod.network.receive_bytes_per_second, pod.network.transmit_bytes_per_second) == (500, 1000)
    disk = pod.containers[0].disk
    assert (disk.read_bytes_per_second, disk.write_bytes_per_second) == (500, 1000)
    assert made.node.network.receive_bytes_per_second == made.node.disk.read_bytes_per_second == 500
    assert (pod.uid, pod.containers[0].tasks, made.node.tasks) == ("uid-web", 1, 100)


def test_a_pod_on_its_hosts_network_has_no_traffic_of_its_own() -> None:
    assert not told(sample(0, 0, container("a", 0)), sample(1, 0, container("a", 0))).pods[0].HasField("network")
