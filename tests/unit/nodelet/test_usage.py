"""Rates between two samples: never negative, never of a counter that was reset, exact over any split."""

from __future__ import annotations

import datetime

from hypothesis import given
from hypothesis import strategies as st

from nodelet.metrics.cgroup import Reading
from nodelet.metrics.usage import (
    MAX_GAP_SECONDS,
    MIN_GAP_SECONDS,
    ContainerSample,
    NodeSample,
    Sample,
    Target,
    rate,
    report,
)
from nodelet.runtime.protocol import PodIdentity
from podium.v1.node_session_pb2 import UsageReport

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SECOND = 1_000_000_000


def container(id_: str, cpu_ns: int, *, pod: str = "web", name: str = "app", apart: bool = False) -> ContainerSample:
    identity = PodIdentity(namespace="default", name=pod, uid=f"uid-{pod}")
    target = Target(pod=identity, name=name, id=id_, sandbox_id="s", sandbox_pid="7")
    return ContainerSample(
        target=target, reading=Reading(cpu_ns=cpu_ns, memory=1 << 20, oom_kills=0, pids=1), apart=apart
    )


def sample(at: float, node_ns: int, *containers: ContainerSample) -> Sample:
    node = NodeSample(cpu_ns=node_ns, memory=1 << 30, memory_available=1 << 30, tasks=100)
    return Sample(at=at, node=node, containers={c.target.id: c for c in containers})


def told(before: Sample, after: Sample) -> UsageReport:
    made = report(before, after, node="n1", now=NOW)
    assert made is not None
    return made


counters = st.integers(0, 1 << 62)
seconds = st.floats(MIN_GAP_SECONDS, 100_000, allow_nan=False)


@given(counters, counters, st.floats(-10, 100_000, allow_nan=False))
def test_a_rate_is_none_or_not_negative(before: int, after: int, elapsed: float) -> None:
    found = rate(before, after, elapsed)
    assert (found is None) == (after < before or elapsed < MIN_GAP_SECONDS)
    assert found is None or found >= 0


@given(st.integers(0, 64_000), st.integers(1, 10_000), counters)
def test_a_steady_load_is_told_exactly(millicores: int, elapsed: int, start: int) -> None:
    assert rate(start, start + millicores * 1_000_000 * elapsed, elapsed) == millicores * 1_000_000


@given(counters, st.integers(0, SECOND * 1000), st.integers(0, SECOND * 1000), seconds, seconds)
def test_what_was_taken_adds_up_however_the_time_is_split(
    start: int, first: int, second: int, early: float, late: float
) -> None:
    parts = [rate(start, start + first, early), rate(start + first, start + first + second, late)]
    whole = rate(start, start + first + second, early + late)
    assert None not in (*parts, whole)
    told_ns = (parts[0] or 0) * early + (parts[1] or 0) * late
    assert abs(told_ns - (whole or 0) * (early + late)) <= 2 * (early + late) + 1e-6 * (first + second)


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
    assert report(sample(0, 0), sample(MAX_GAP_SECONDS + 1, SECOND), node="n1", now=NOW) is None
